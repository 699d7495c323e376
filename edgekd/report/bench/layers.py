"""The profile by operator for the page: the slowest nodes, and how far from the limits."""

from __future__ import annotations

from typing import Any

from edgekd.benchmarks.layers.nodes import Node, Profile
from edgekd.benchmarks.layers.roofline import Point, Roofline
from edgekd.benchmarks.layers.table import UNKNOWN, caption
from edgekd.evaluation.privacy import without_paths

MOST = 10  # nodes that are shown
KINDS = {"int8": "INT8", "qdq": "Q/DQ", "layout": "layout", "other": "other", None: UNKNOWN}


def shown(label: str, profile: Profile, roofline: Roofline) -> dict[str, Any]:
    """Return the costliest nodes of a profile as cells, and what is said of the whole model."""
    pairs = sorted(
        zip(profile.nodes, roofline.points, strict=True), key=lambda pair: -pair[0].time_s
    )
    longest_s = pairs[0][0].time_s if pairs else 0.0
    kinds = [
        {"kind": str(kind), "title": KINDS[kind], "share": share}
        for kind in ("int8", "other", "qdq", "layout")
        if (share := profile.share(kind)) is not None
    ]
    return {
        "label": without_paths(label),
        "rows": [_row(node, point, profile, longest_s) for node, point in pairs[:MOST]],
        "count": len(pairs),
        "kinds": kinds,
        "said": without_paths(caption(profile, roofline)).splitlines(),
    }


def _row(node: Node, point: Point, profile: Profile, longest_s: float) -> dict[str, Any]:
    return {
        "name": node.name,
        "operator": node.operator or UNKNOWN,
        "kind": KINDS[node.kind],
        "class": node.kind or "unknown",
        "time": f"{1e6 * node.time_s:,.1f}",
        "share": _percent(profile.share_of(node)),
        "bar": 100 * node.time_s / longest_s if longest_s else 0.0,
        "intensity": "" if point.intensity is None else f"{point.intensity:,.3g}",
        "achieved": "" if point.achieved is None else f"{point.achieved / 1e9:,.1f}",
        "of_limit": UNKNOWN if point.limit_s is None else _percent(point.share, missing=""),
        "reached": None if point.share is None else 100 * min(1.0, point.share),
        "bound": point.bound or "",
    }


def _percent(share: float | None, *, missing: str = UNKNOWN) -> str:
    return missing if share is None else f"{100 * share:.1f} %"
