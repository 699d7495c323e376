"""The table of a profile and its roofline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.benchmarks.layers.nodes import Node, Profile
from edgekd.benchmarks.layers.roofline import Point, Roofline
from edgekd.benchmarks.operators import Kind

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "not known"
PROFILER_COSTS = 1.1  # nodes longer than the whole call by so much: the profiler was a large part
BEYOND = 1.1  # of the limit: more than noise
_KINDS: dict[Kind, str] = {"int8": "INT8", "qdq": "Q/DQ", "layout": "layout", "other": "other"}


def profile_table(profile: Profile, roofline: Roofline | None = None, *, top: int = 10) -> Table:
    """Build the table of the most costly nodes, with the whole model below it.

    Args:
        profile: of a model.
        roofline: of the same profile; without it no limits are shown.
        top: how many nodes.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=_escape(caption(profile, roofline)),
        caption_justify="left",
    )
    table.add_column("node", overflow="fold")
    table.add_column("operator", overflow="fold")
    table.add_column("kind")
    for title in ("us", "share"):
        table.add_column(title, justify="right")
    points: list[Point | None] = [None] * len(profile.nodes)
    if roofline is not None:
        points = list(roofline.points)
        for title in ("MAC\nper byte", "GMAC/s", "of the\nlimit", "limited\nby"):
            table.add_column(title, justify="right")
    rows = sorted(zip(profile.nodes, points, strict=True), key=lambda row: -row[0].time_s)
    for node, point in rows[:top]:
        cells = _node(node, profile) + ([] if point is None else _point(point))
        table.add_row(*map(_escape, cells))
    return table


def _node(node: Node, profile: Profile) -> list[str]:
    kind = UNKNOWN if node.kind is None else _KINDS[node.kind]
    share = _percent(profile.share_of(node))
    return [node.name, node.operator or UNKNOWN, kind, f"{1e6 * node.time_s:,.1f}", share]


def _point(point: Point) -> list[str]:
    if point.macs is None:
        return ["", "", UNKNOWN, ""]
    return [
        "" if point.intensity is None else f"{point.intensity:,.2g}",
        "" if point.achieved is None else f"{point.achieved / 1e9:,.1f}",
        _percent(point.share) if point.limit_s != 0 else "",
        point.bound or "",
    ]


def caption(profile: Profile, roofline: Roofline | None) -> str:
    """Say where the time goes, how far the model is from its limit, and what is not known."""
    return "\n".join(
        [
            f"{profile.runtime}, {profile.calls} calls, median of each node; "
            + ", ".join(f"{title} {_percent(profile.share(k))}" for k, title in _KINDS.items()),
            *_totals(profile),
            *([] if roofline is None else _limits(roofline)),
        ]
    )


def _totals(profile: Profile) -> list[str]:
    total = f"all {len(profile.nodes)} nodes {1e6 * profile.total_s:,.0f} us"
    if profile.call_s is None:
        return [total]
    lines = [f"{total}; a whole call {1e6 * profile.call_s:,.0f} us without the profiler"]
    if profile.total_s > PROFILER_COSTS * profile.call_s:
        lines.append(
            "the profiler adds some us per node, so short nodes look slower than they are: trust "
            "the order of the long ones"
        )
    return lines


def _limits(roofline: Roofline) -> list[str]:
    peaks, threads = roofline.peaks, roofline.peaks.threads
    lines = [
        f"the nodes whose limit is known, {_percent(roofline.known_share)} of the time, run at "
        f"{_percent(roofline.share)} of it; a whole call at {_percent(roofline.call_share)} or "
        "more",
        f"limits: {peaks.fp32_macs_per_s / 1e9:.0f} GMAC/s in FP32, "
        f"{peaks.int8_macs_per_s / 1e9:.0f} in INT8, {roofline.bytes_per_s / 1e9:.0f} GB/s where "
        f"the model's working set fits, {peaks.memory_bytes_per_s / 1e9:.0f} GB/s from main "
        f"memory; measured, {threads} {'thread' if threads == 1 else 'threads'}",
    ]
    unknown = sorted({point.operator or point.name for point in roofline.unknown})
    if unknown:
        lines.append(f"work not known, so no limit: {', '.join(unknown)}")
    beyond = sorted({p.operator for p in roofline.points if p.share and p.share > BEYOND})
    if beyond:
        lines.append(
            f"beyond the limit: {', '.join(beyond)}; their data are in a faster cache than the "
            "model as a whole, or their kernel is better than those that measured the peak"
        )
    return lines


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f} %"


def _escape(text: str) -> str:
    return text.replace("[", "\\[")  # rich takes [ as markup
