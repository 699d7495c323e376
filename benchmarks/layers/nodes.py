"""A profile: the nodes of a model and their times. Shares are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Self

from edgekd.benchmarks.operators import KINDS, Kind

_BITS = {
    **{"bool": 8, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16},
    **{"int32": 32, "uint32": 32, "float": 32, "int64": 64, "uint64": 64, "double": 64},
    **{"int4": 4, "uint4": 4},
}


@dataclass(frozen=True)
class Tensor:
    """An array that a node reads or writes."""

    type: str  # of an element, as ONNX Runtime names it: "float", "uint8"
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> float | None:
        """None: elements of this type have no fixed size that is known here."""
        bits = _BITS.get(self.type)
        return None if bits is None else self.count * bits / 8

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value["type"], tuple(value["shape"]))


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of the graph that really runs, after all optimisations."""

    name: str
    operator: str  # what the runtime calls the kind of layer
    kind: Kind | None  # None: the file does not contain it
    time_s: float  # median over the calls
    provider: str = ""
    inputs: tuple[Tensor, ...] = ()  # with weights, if the runtime reports them
    outputs: tuple[Tensor, ...] = ()
    parameter_bytes: int | None = None  # of those inputs that are constants

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        tensors = {
            name: tuple(Tensor.from_json(tensor) for tensor in value[name])
            for name in ("inputs", "outputs")
        }
        return cls(**{**value, **tensors})


@dataclass(frozen=True, kw_only=True)
class Profile:
    """All nodes in the order in which they ran first."""

    nodes: tuple[Node, ...]
    calls: int  # that the medians are of
    runtime: str  # with its version where it is known
    threads: int | None
    profiled_call_s: float | None = None  # median of a whole call while the profiler watched
    call_s: float | None = None  # the same without the profiler

    @property
    def total_s(self) -> float:
        """Seconds of all nodes of one call; what a call takes beyond that is the runtime's own."""
        return sum(node.time_s for node in self.nodes)

    def share(self, kind: Kind) -> float | None:
        """Return the share of the nodes' time that nodes of a kind take, 0 to 1.

        None: some node took time whose kind is not known, or none took any.
        """
        if self.total_s == 0 or any(n.kind is None and n.time_s > 0 for n in self.nodes):
            return None
        return sum(node.time_s for node in self.nodes if node.kind == kind) / self.total_s

    def share_of(self, node: Node) -> float | None:
        """Return the share of the nodes' time that one takes; None: none took any."""
        return node.time_s / self.total_s if self.total_s else None

    def top(self, count: int = 10) -> tuple[Node, ...]:
        """Return the most costly nodes, the costliest first."""
        return tuple(sorted(self.nodes, key=lambda node: -node.time_s)[:count])

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `total_s` and `shares` are there for the reader's convenience."""
        shares = {kind: self.share(kind) for kind in KINDS}
        return {**asdict(self), "total_s": self.total_s, "shares": shares}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        kept = {key: item for key, item in value.items() if key not in ("total_s", "shares")}
        return cls(**{**kept, "nodes": tuple(Node.from_json(node) for node in value["nodes"])})
