"""The table of what runs in INT8 in which runtime, of each file in the bundle."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.artifact import FP32, Variant
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import RungRecord
from edgekd.exporters.lint.finding import Brief, BriefGroup, listed

_NAMES = {
    "cpu": "ONNX Runtime on this CPU",
    "xnnpack": "XNNPACK in ONNX Runtime",
    "cuda": "CUDA in ONNX Runtime",
    "tensorrt-10.3": "TensorRT 10.3",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file of the bundle and the runtime that it is for."""

    title: str
    variant: str
    runtime: str
    layers: str
    left: str
    findings: tuple[str, ...]


def rows(record: Record) -> list[Row]:
    """Return the files of the bundle, the one that ships first."""
    quantized = [file for file in (record.ships, *record.beside) if file.variant != FP32]
    found = [(record.rung_of(file), file.variant) for file in quantized]
    found += [(rung, FP32) for rung in record.rungs]  # it is always there
    found.sort(key=lambda one: (one[0].title, one[1]) != (record.ships.title, record.ships.variant))
    return [_row(rung, v, rung.lint[v]) for rung, v in found if v in rung.lint]


def _row(rung: RungRecord, variant: Variant, lint: Brief) -> Row:
    only = ", weights only" if variant in ("int8-weights", "int4") else ""
    source = "" if lint.run_here else " (read from the file)"
    return Row(
        title=rung.title,
        variant=next((f.shown_label for f in rung.files if f.label == variant), variant),
        runtime=f"{_NAMES.get(lint.runtime, lint.runtime)}{source}",
        layers="none"
        if variant in (FP32, "fp16")
        else f"{lint.int8_layers} of {lint.layers}{only}",
        left="not asked" if lint.left is None else str(lint.left),
        findings=tuple(_words(group) for group in lint.groups if group.weight != "note"),
    )


def _words(group: BriefGroup) -> str:
    where = f" ({group.count}: {listed(group.nodes)})" if group.nodes else ""
    fix = f". Fix: {group.fix}" if group.fix else ""
    return f"{group.weight}{where}: {group.reason}{fix}"
