"""Compare the file that ships with the requested latency."""

from __future__ import annotations

from edgekd.evaluation.results import Finalist


def over_budget(ships: Finalist, *, max_latency_s: float | None, device: str) -> str | None:
    """Return why the file that ships misses the largest latency, or None."""
    if max_latency_s is None:
        return None
    asked, found = f"{max_latency_s * 1e3:g} ms at most were requested", ships.latency_s
    if found is None:
        return f"{device} did not measure latency, so max_latency cannot be checked"
    if found.value <= max_latency_s:
        return None
    return (
        f"{asked}; the file that ships, {ships.title} ({ships.label}), takes "
        f"{found.value * 1e3:.3g} ms [{found.low * 1e3:.3g}, {found.high * 1e3:.3g}]. "
        "Prune more, take a smaller student, or allow more with max_latency"
    )
