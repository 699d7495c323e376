"""The sections of the page of a run, in words and figures, from the record.

Everything here is plain text; the template escapes and arranges it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgekd.artifact import FP32, Variant
from edgekd.evaluation.evidence import FileEvidence
from edgekd.evaluation.formatting import (
    NOT_MEASURED,
    change,
    int8_share,
    latency_text,
    quality,
    seconds,
    size,
    times,
)
from edgekd.evaluation.gate import FLOOR_METRICS, Findings, Ruling, name_pair
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import ChangedSample, ClassChange, Elsewhere, RungRecord
from edgekd.exporters.file_facts import Kernels
from edgekd.report.run.examples import safe_image
from edgekd.report.run.spent import describe_memory

MOST_CLASSES = 20
"""More classes than this are cut to those that changed most; the rest is folded away."""
_OUTCOMES = ("lost", "won", "both wrong")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the ladder: a stage's own file, a preview of it, or a skipped stage."""

    title: str
    own: bool
    kept: bool
    state: str
    label: str = ""
    ships: bool = False
    quality: str = ""
    gain: str = ""
    size: str = ""
    bytes: int = 0
    latency: str = ""
    speedup: str = ""
    step: str = ""
    compared: str = ""
    reasons: tuple[str, ...] = ()


def rows(record: Record) -> list[Row]:
    """Return the ladder: every stage's own file, and previews below it."""
    found = []
    for rung in record.rungs:
        if rung.evidence is None:
            skipped = Row(
                title=rung.title, own=True, kept=False, state=rung.outcome, reasons=rung.reasons
            )
            found.append(skipped)
        else:
            found += [_own_row(record, rung, *judged) for judged in rung.judged]
            found += [
                _row(record, rung, file, kept=rung.kept) for file in rung.files if file.preview
            ]
    return found


def _own_row(
    record: Record, rung: RungRecord, file: FileEvidence, findings: Findings, ruling: Ruling
) -> Row:
    first, step = rung is record.rungs[0], findings.speedup
    return replace(
        _row(record, rung, file, kept=ruling.kept),
        own=True,
        ships=record.is_shipped(rung, file),
        quality=""
        if first and record.is_against_teacher
        else quality(file.metrics[record.metric.name]),
        gain="" if first or record.is_against_teacher else change(file.gain),
        step="" if first else times(step),
        compared="" if step is None else name_pair(findings.compared) or f"both {FP32}",
        state=_state(rung, ruling, first=first),
        reasons=ruling.reasons,
    )


def _row(record: Record, rung: RungRecord, file: FileEvidence, *, kept: bool) -> Row:
    speedup = times(file.speedup) if file.speedup else ""
    return Row(
        title=rung.title,
        label=file.shown_label,
        own=False,
        kept=kept,
        quality=quality(file.metrics[record.metric.name]),
        gain="" if record.is_against_teacher else change(file.gain),
        size=size(file.facts.size_bytes),
        bytes=file.facts.size_bytes,
        latency=latency_text(file.latency_s),
        speedup=NOT_MEASURED if file.latency_s is None else speedup,
        state="preview",
    )


def _state(rung: RungRecord, ruling: Ruling, *, first: bool) -> str:
    if first:
        return "reference"
    if rung.kept and not ruling.kept:
        return "dropped"
    if ruling.kept and ruling.not_measured_on:
        return f"kept, not measured on {ruling.not_measured_on}"
    return "kept, gate off" if ruling.kept and ruling.reasons else rung.outcome


def figures(record: Record) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of everything known of each file of each stage."""
    metrics = record.task.metrics
    head = ["stage and file", *(metric.title for metric in metrics)]
    head += (
        []
        if record.is_against_teacher
        else ["relative to the teacher", "relative to the stage before"]
    )
    head += ["size", "parameters", "multiply-accumulates", "in INT8"]
    head += ["layers that run in INT8", "layers left as they were", "ranges of activations"]
    head += ["opset", "median latency", "p90", "load", "first call", "peak memory"]
    head += ["against the teacher", "sha256", "verdict on the stage"]
    found = []
    for rung in record.rungs:
        for file in rung.files:
            cells = [f"{rung.title} {file.shown_label}"]
            is_reference = record.is_against_teacher and rung is record.rungs[0]
            cells += [
                "reference" if is_reference else quality(file.metrics[metric.name])
                for metric in metrics
            ]
            if not record.is_against_teacher:
                cells += [change(file.gain), change(file.step_gain)]
            cells += [*_facts(file, rung), *_speed(file), file.sha256[:16]]
            found.append([*cells, rung.verdict])
    return head, found


def _facts(file: FileEvidence, rung: RungRecord) -> list[str]:
    facts, left = file.facts, {} if file.preview else rung.left.get(file.variant, {})
    return [
        f"{facts.size_bytes:,} bytes",
        f"{facts.parameters:,}",
        "not known" if facts.macs is None else f"{facts.macs:,}",
        int8_share(facts) or "not known",
        _kernels(file.kernels),
        "; ".join(f"{layer}: {why}" for layer, why in left.items()) or "none",
        _ranges(file, rung),
        str(facts.opset),
    ]


def _ranges(file: FileEvidence, rung: RungRecord) -> str:
    """Return how many activations got their range by each method."""
    found = None if file.preview else rung.calibration.get(file.variant)
    methods = sorted(found.ranges.items()) if found else []
    return ", ".join(f"{count} by {method}" for method, count in methods) or "none"


def _kernels(found: Kernels | None) -> str:
    """Return what ONNX Runtime made of a file: a Q/DQ that did not fuse costs time."""
    if found is None:
        return "none"
    layers = found.int8_layers + found.fp32_layers
    left = found.quantize_left + found.dequantize_left
    return f"{found.int8_layers} of {layers}, {left} Q/DQ left"


def _speed(file: FileEvidence) -> list[str]:
    if file.latency_s is None:
        return [NOT_MEASURED] * 6
    return [
        latency_text(file.latency_s),
        latency_text(file.p90_s),
        NOT_MEASURED if file.load_s is None else seconds(file.load_s),
        NOT_MEASURED if file.first_s is None else seconds(file.first_s),
        NOT_MEASURED if file.peak_memory_bytes is None else size(file.peak_memory_bytes),
        times(file.speedup) if file.speedup else "reference",
    ]


def conditions(record: Record) -> list[tuple[str, str]]:
    """Return where and how speed was measured, as name and value."""
    timing, found, floor = record.timing, record.final.conditions, record.final.floor
    load, others = found.load_average, found.other_cores
    return [
        ("device", found.device),
        ("CPU", found.cpu),
        ("runtime", f"{found.runtime}, {found.provider}"),
        ("threads", str(found.threads)),
        ("governor", found.governor or "not readable"),
        ("system", f"{found.os}, Python {found.python}"),
        ("emulated", "yes: speed is not measured" if found.emulated else "no"),
        ("load before", "not readable" if load is None else f"{load:.2f} in the last minute"),
        ("other programs", NOT_MEASURED if others is None else f"{others:g} cores, while timed"),
        ("A/A floor", NOT_MEASURED if floor is None else f"{100 * floor:.1f} %"),
        (
            "processes",
            f"{'at most ' * bool(timing.looks)}{timing.rounds} fresh ones per file, interleaved",
        ),
        ("blocks", f"{timing.blocks} per process, each {timing.block_s:g} s or longer"),
        ("warm-up", f"{timing.warmup_s:g} s per process, untimed"),
        ("memory of the job", describe_memory(record) or NOT_MEASURED),
    ]


def files_elsewhere(record: Record, found: Elsewhere) -> list[tuple[str, str, str, str]]:
    """Return every kept file on a further device: name, latency, 90th percentile, speed-up."""
    return [
        (
            f"{file.title} {record.shown_label(file)}",
            "does not run" if file.refused else latency_text(file.latency_s),
            latency_text(file.p90_s),
            "reference" if file.latency_s and file is found.files[0] else times(file.speedup),
        )
        for file in found.files
    ]


@dataclass(frozen=True, kw_only=True)
class NotKept:
    """A stage or variant that was rolled back, dropped or skipped, with its reasons."""

    title: str
    rung: RungRecord
    reasons: tuple[str, ...]
    facts: list[tuple[str, str]] = field(default_factory=list)
    variant: Variant | None = None
    last: bool = True
    """Whether it is the last of its stage: what to try next follows it."""


def not_kept(record: Record) -> list[NotKept]:
    """Return every stage that was rolled back or skipped, and every variant that was dropped."""
    before, found = "", []
    for rung in record.rungs:
        if rung.evidence is None:
            found.append(NotKept(title=rung.title, rung=rung, reasons=rung.reasons))
        for file, findings, ruling in rung.judged:
            if not ruling.kept:
                facts = _findings(record, file, findings, before)
                title = rung.name_of(file)
                last = ruling is rung.rulings[-1]
                found.append(
                    NotKept(
                        title=title,
                        rung=rung,
                        reasons=ruling.reasons,
                        facts=facts,
                        variant=ruling.variant,
                        last=last,
                    )
                )
        before = rung.title if rung.kept else before
    return found


def _findings(
    record: Record, file: FileEvidence, findings: Findings, before: str
) -> list[tuple[str, str]]:
    metric = record.metric.name
    near = [
        (f"{name} against the teacher", quality(file.metrics[name]))
        for name in (FLOOR_METRICS[key] for key in findings.floored)
    ]
    lost = [
        (f"{metric} relative to the teacher", change(findings.gain)),
        (f"{metric} relative to the stage before", change(findings.step_gain)),
    ]
    speed, pair = times(findings.speedup), name_pair(findings.compared)
    return [
        (f"speed against {before}", f"{speed}, {pair}" if findings.speedup and pair else speed),
        *(near or lost),
        (f"bytes of {before} / bytes now", f"{findings.shrink:.2f}"),
        ("steady while timed", "yes" if findings.steady else "no"),
    ]


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class as it is drawn: `start` and `end` are percent of the rail."""

    of: ClassChange
    change: float
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Per-class change: those to show, and those to fold away."""

    shown: list[ClassRow]
    folded: list[ClassRow]
    floor: int
    """Percent at which the rails start."""


def classes(every: Sequence[ClassChange]) -> Classes:
    """Return all classes, or those that changed most with all of them folded away."""
    low = min((min(c.teacher, c.shipped) for c in every), default=0.0)
    floor = 10 * math.floor(min(low, 90) / 10)
    drawn = [
        ClassRow(
            of=c,
            change=c.shipped - c.teacher,
            start=100 * (c.teacher - floor) / (100 - floor),
            end=100 * (c.shipped - floor) / (100 - floor),
        )
        for c in every
    ]
    if len(drawn) <= MOST_CLASSES:
        return Classes(shown=drawn, folded=[], floor=floor)
    order = sorted(drawn, key=lambda c: c.change)
    half = MOST_CLASSES // 2
    return Classes(shown=order[:half] + order[-half:], folded=drawn, floor=floor)


@dataclass(frozen=True, kw_only=True)
class SampleCard:
    """A changed sample as it is shown; an image is a PNG in the page or none."""

    of: ChangedSample
    outcome: str
    image: str


def samples(changed: Sequence[ChangedSample]) -> list[SampleCard]:
    """Return the changed samples, lost answers first."""
    found = []
    for sample in changed:
        before, after = sample.teacher == sample.label, sample.shipped == sample.label
        outcome = "lost" if before else "won" if after else "both wrong"
        found.append(SampleCard(of=sample, outcome=outcome, image=safe_image(sample.image)))
    return sorted(found, key=lambda card: _OUTCOMES.index(card.outcome))
