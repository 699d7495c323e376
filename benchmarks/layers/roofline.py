"""The roofline: how far each node and the whole model are from the limits of this machine.

The roofline model (S. Williams, A. Waterman, D. Patterson, CACM 52(4), 2009): a node of M
multiply-accumulates that moves B bytes runs at min(peak, M / B x bandwidth) at best. Here the peak
is of the node's precision, and the bandwidth is that of the memory in which the model's whole
working set fits (as in A. Ilic, F. Pratas, L. Sousa, IEEE CAL 13(1), 2014): a model that is called
again and again finds its weights in the cache, if they fit, and would seem to beat a limit that was
drawn for main memory. All is measured, so noise may still lift a share a little above 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from edgekd.benchmarks.layers.nodes import Node, Profile
from edgekd.benchmarks.layers.peaks import Peaks
from edgekd.benchmarks.layers.work import macs, size_bytes

Bound = Literal["compute", "memory"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One node against its limit, in the order of the profile. None: unknown."""

    name: str
    operator: str
    time_s: float
    macs: int | None
    size_bytes: float | None
    limit_s: float | None
    """The least time that it could take; attainable and achieved rates have the same ratio."""
    bound: Bound | None  # by what it is limited

    @property
    def intensity(self) -> float | None:
        """Multiply-accumulates for each byte; None for nodes without products as well."""
        return self.macs / self.size_bytes if self.macs and self.size_bytes else None

    @property
    def attainable(self) -> float | None:
        """Multiply-accumulates per second, at most."""
        return self.macs / self.limit_s if self.macs and self.limit_s else None

    @property
    def achieved(self) -> float | None:
        """Multiply-accumulates per second."""
        return self.macs / self.time_s if self.macs and self.time_s else None

    @property
    def share(self) -> float | None:
        """Of what is attainable, 1 being the limit; None: not known, or it has no limit."""
        return self.limit_s / self.time_s if self.limit_s and self.time_s else None


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """A profile compared with the peaks of the machine on which it was taken."""

    points: tuple[Point, ...]
    peaks: Peaks
    working_set_bytes: float | None  # all weights and the greatest inputs and outputs of a node
    bytes_per_s: float  # the bandwidth that was taken
    call_s: float | None  # of the whole model, without the profiler

    @property
    def limit_s(self) -> float:
        """The least seconds of the nodes whose limit is known."""
        return sum(point.limit_s or 0.0 for point in self.points)

    @property
    def known_s(self) -> float:
        """The seconds that those nodes took."""
        return sum(point.time_s for point in self.points if point.limit_s is not None)

    @property
    def known_share(self) -> float | None:
        """The share of the nodes' time that they are."""
        total_s = sum(point.time_s for point in self.points)
        return self.known_s / total_s if total_s else None

    @property
    def share(self) -> float | None:
        """The achieved share of the limit, over nodes with a known limit: 1 is the limit."""
        return self.limit_s / self.known_s if self.known_s else None

    @property
    def call_share(self) -> float | None:
        """The same of a whole call without the profiler, at least: unknown limits count as 0 s."""
        return self.limit_s / self.call_s if self.call_s else None

    @property
    def unknown(self) -> tuple[Point, ...]:
        """Nodes whose multiply-accumulates or bytes are not known: no limit is drawn for them."""
        return tuple(point for point in self.points if point.limit_s is None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; all that is derived is there for the reader's convenience."""
        derived = ("limit_s", "known_share", "share", "call_share")
        rates = ("intensity", "attainable", "achieved", "share")
        points = [{**asdict(p), **{rate: getattr(p, rate) for rate in rates}} for p in self.points]
        return {
            "points": points,
            "peaks": self.peaks.to_json(),
            "working_set_bytes": self.working_set_bytes,
            "bytes_per_s": self.bytes_per_s,
            "call_s": self.call_s,
            **{name: getattr(self, name) for name in derived},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        names = Point.__dataclass_fields__
        points = ({name: point[name] for name in names} for point in value["points"])
        kept = ("working_set_bytes", "bytes_per_s", "call_s")
        return cls(
            points=tuple(Point(**point) for point in points),
            peaks=Peaks.from_json(value["peaks"]),
            **{name: value[name] for name in kept},
        )


def roofline(profile: Profile, peaks: Peaks) -> Roofline:
    """Hold a profile against the peaks of its machine, for as many threads as it ran with."""
    working_set = _working_set_bytes(profile.nodes)
    bytes_per_s = peaks.bandwidth(working_set)
    points = tuple(_point(node, peaks, bytes_per_s) for node in profile.nodes)
    return Roofline(
        points=points,
        peaks=peaks,
        working_set_bytes=working_set,
        bytes_per_s=bytes_per_s,
        call_s=profile.call_s,
    )


def _point(node: Node, peaks: Peaks, bytes_per_s: float) -> Point:
    work, moved, peak = macs(node), size_bytes(node), _peak(node, peaks)
    point = Point(
        name=node.name,
        operator=node.operator,
        time_s=node.time_s,
        macs=work,
        size_bytes=moved,
        limit_s=None,
        bound=None,
    )
    if work is None or moved is None or (work and peak is None):
        return point
    memory_s = moved / bytes_per_s
    compute_s = work / peak if work and peak else 0.0
    limits: tuple[tuple[float, Bound], ...] = ((compute_s, "compute"), (memory_s, "memory"))
    limit_s, bound = max(limits)
    return replace(point, limit_s=limit_s, bound=bound if limit_s else None)


def _peak(node: Node, peaks: Peaks) -> float | None:
    """Return the peak of a node's precision; None for half and double, which are not measured."""
    if node.kind == "int8":
        return peaks.int8_macs_per_s
    return peaks.fp32_macs_per_s if node.inputs and node.inputs[0].type == "float" else None


def _working_set_bytes(nodes: Sequence[Node]) -> float | None:
    """None: the size of some node's weights is not known."""
    weights = [node.parameter_bytes for node in nodes]
    if None in weights:
        return None
    tensors = [sum(t.size_bytes or 0.0 for t in (*n.inputs, *n.outputs)) for n in nodes]
    moving = [all_ - (w or 0) for all_, w in zip(tensors, weights, strict=True)]
    return sum(w or 0 for w in weights) + max(moving, default=0.0)
