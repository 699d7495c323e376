"""What was quantized: the record of one variant, as the report and the bundle read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekd.artifact import Variant

QUANTIZED = "quantized.json"
"""Of each variant: what was quantized, and what was left in float and why."""
LINT = "lint"
"""The key of each variant under which it has what is not INT8 in its runtime, and why."""
DROPPED = "dropped.json"
"""Variants that were made and failed before they were files, with the reason."""


@dataclass(frozen=True, kw_only=True)
class QuantizedFacts:
    """The quantized layers, the number of samples, and why other layers stayed float."""

    kind: str
    """The kind of graph, as the choice of nodes saw it: "convolutional" or "transformer"."""
    activations: str
    """Their type in the layers that were quantized."""
    weights: str
    """Likewise."""
    samples: int
    layers: int
    """Layers with weights that were quantized."""
    left: Mapping[str, str]
    """Layers that stayed float: name of the node, reason."""
    ranges: Mapping[str, str] = field(default_factory=dict)
    """Activations that are rounded to a fixed grid: name, how its range was made."""
    repairs: Sequence[Mapping[str, Any]] = ()
    """Each step that was taken for accuracy: what it gained in dB."""
    sensitivity: Sequence[Mapping[str, Any]] = ()
    """Layers in INT8, the one that errs most first: signal to noise where it alone is rounded."""

    repair_s: Sequence[float] = ()
    """Seconds that each of `repairs` took."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without what no two runs share."""
        return {name: value for name, value in asdict(self).items() if name != "repair_s"}


def read_dropped(folder: Path) -> tuple[str, ...]:
    """Return the variants of a stage that failed before they were files, each with its reason."""
    path = folder / DROPPED
    if not path.exists():
        return ()
    found: dict[Variant, str] = json.loads(path.read_text(encoding="utf8"))
    return tuple(f"{variant}: {reason}" for variant, reason in found.items())
