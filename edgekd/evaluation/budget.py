"""Compare the file that ships with the requested latency."""

from __future__ import annotations

from edgekd.evaluation.results import Finalist
from edgekd.options import Budget


def over_budget(ships: Finalist, budget: Budget, *, device: str) -> str | None:
    """Return why the file that ships misses the largest latency, or None."""
    asked, found = budget.latency, ships.latency_s
    if asked is None or (found is not None and found.value <= asked.seconds):
        return None
    if found is None:
        return f"{device} did not measure latency, so max_latency cannot be checked"
    return (
        f"{describe_latency(ships, budget, device=device)}; the file that ships is {ships.title} "
        f"({ships.label}). Prune more, take a smaller student, or allow more with max_latency"
    )


def describe_latency(ships: Finalist, budget: Budget, *, device: str) -> str:
    """Return whether the largest latency is met, and by how much it is missed, in its unit.

    The median decides. Where its interval reaches beyond the budget, that is said; "" if no
    latency was asked for.
    """
    asked, found = budget.latency, ships.latency_s
    if asked is None:
        return ""
    if found is None:
        return f"{asked}: not measured on {device}"
    value, low, high = map(asked.in_unit, (found.value, found.low, found.high))
    takes = f"{value} {asked.unit} [{low}, {high}]"
    if found.value <= asked.seconds:
        doubt = ", whose interval reaches beyond it" if found.high > asked.seconds else ""
        return f"{asked}: met, it takes {takes}{doubt}"
    over = asked.in_unit(found.value - asked.seconds)
    doubt = "; the interval includes the budget" if found.low <= asked.seconds else ""
    return f"{asked}: missed by {over} {asked.unit}, it takes {takes}{doubt}"
