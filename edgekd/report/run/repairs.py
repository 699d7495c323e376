"""How the accuracy of quantized files was kept: what was tried, and which layers err most."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.evaluation.record import Record
from edgekd.evaluation.results import LayerNoise, RepairStep

_MOST_LAYERS = 10
_NAMES = {
    "plain": "plain",
    "bias-correction": "bias correction",
    "equalize": "cross-layer equalization",
    "smooth": "SmoothQuant",
    "rounding": "adaptive rounding",
    "layers-in-float": "layers in float",
}


@dataclass(frozen=True)
class Repairs:
    """Those of one quantized file."""

    title: str
    steps: tuple[RepairStep, ...]
    layers: tuple[LayerNoise, ...]
    """Those that err most."""
    more: int
    """Layers that are not shown."""


def repairs(record: Record) -> list[Repairs]:
    """Return what was done for each quantized file, in the order of the stages."""
    return [
        Repairs(
            title=f"{rung.title} {variant}",
            steps=found.repairs,
            layers=found.sensitivity[:_MOST_LAYERS],
            more=max(0, len(found.sensitivity) - _MOST_LAYERS),
        )
        for rung in record.rungs
        for variant, found in rung.calibration.items()
        if found.repairs
    ]


def method(step: RepairStep) -> str:
    """Return a step in words."""
    return _NAMES.get(step.method, step.method)


def decibel(value: float | None, *, sign: bool = False) -> str:
    """Return a ratio in dB, "none" where there is none."""
    return "none" if value is None else f"{value:{'+' if sign else ''}.1f} dB"


def outcome(step: RepairStep) -> str:
    """Return what became of a step."""
    if step.note:
        return step.note
    if step.method == "plain":
        return "the start"
    return "kept" if step.kept else "not kept: no gain"
