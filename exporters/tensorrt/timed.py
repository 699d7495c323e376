"""Build and time the files of a network with this machine's trtexec, or read what a board wrote."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekd.benchmarks.trtexec.failure import explain_failure
from edgekd.benchmarks.trtexec.output import percentile, read_output
from edgekd.benchmarks.trtexec.shapes import free_shapes
from edgekd.devices.engines import build_with_package, keep_engine
from edgekd.devices.trtexec import (
    Timed,
    Trtexec,
    TrtexecBuilder,
    read_timed,
)
from edgekd.errors import MeasureError
from edgekd.exporters.target import Source
from edgekd.exporters.tensorrt.script import BoardFile

LEAST_GAIN = 1.05
"""Processes that run one after the other differ by a few percent by themselves."""
_RIVALS = ("fp16", "fp16-chosen", "fp32")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One engine, as trtexec timed it in a process of its own."""

    label: str
    """int8, fp16, fp16-chosen or fp32."""
    file: str
    median_s: float
    p99_s: float
    queries: int
    int8_share: float | None
    """Of the time in layers; None: the engine does not tell."""
    build_s: float | None
    """None: it was built before, or is not told."""
    version: str
    gpu: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "warnings": list(self.warnings)}


@dataclass(frozen=True, kw_only=True)
class Results:
    """The engines of a network that could be timed, and why others could not."""

    rows: tuple[Row, ...]
    failed: Mapping[str, str]
    """Label -> reason."""
    plans: Mapping[str, Path] = field(default_factory=dict)
    """Label -> engine that was built here."""


def build_and_time(trtexec: Trtexec, files: Sequence[BoardFile], source: Source) -> Results:
    """Build an engine of each file, or take it from the cache, and time it.

    Raises:
        MeasureError: none could be built and timed; the message has the reason.
    """
    plans: dict[str, Path] = {}

    def work(file: BoardFile) -> Row:
        builder = TrtexecBuilder(
            trtexec=trtexec,
            file=_path(source, file),
            precision=file.precision,
            shapes=free_shapes(file.inputs, batch=source.batch, lengths=source.lengths),
        )
        plans[file.label] = keep_engine(builder)
        return _row(file, trtexec.time(builder.engine(plans[file.label])), None)

    return replace(_results(files, work), plans=plans)


def build_alone(files: Sequence[BoardFile], source: Source, *, fingerprint: str) -> Results:
    """Build an engine of each file with TensorRT's Python package; nothing is timed.

    Raises:
        MeasureError: none could be built; the message has the reason.
    """
    plans, failed = {}, {}
    for file in files:
        shapes = free_shapes(file.inputs, batch=source.batch, lengths=source.lengths)
        try:
            plans[file.label] = build_with_package(
                _path(source, file), shapes, fingerprint=fingerprint
            )
        except MeasureError as error:
            failed[file.label] = str(error)
    if not plans:
        raise MeasureError("; ".join(dict.fromkeys(failed.values())))
    return Results(rows=(), failed=failed, plans=plans)


def _path(source: Source, file: BoardFile) -> Path:
    return (source.path if source.path.is_dir() else source.path.parent) / file.name


def read_results(folder: Path, files: Sequence[BoardFile], *, target: str) -> Results:
    """Read the folder that the script for a target filled on a device.

    Raises:
        MeasureError: nothing was timed there, or all files are damaged or contradict each other.
    """
    if not any((folder / f"build-{file.label}.txt").is_file() for file in files):
        raise MeasureError(
            f"{folder} has no build-*.txt; give the folder that the script of `edgekd export` "
            "filled on the device"
        )

    def work(file: BoardFile) -> Row:
        outputs = []
        for part in ("build", "time"):
            text = _printed(folder / f"{part}-{file.label}.txt")
            outputs.append(read_output(text))
            if not outputs[-1].passed:
                raise MeasureError(explain_failure(text, target=target))
        built, output = outputs
        timed = read_timed(output, folder=folder, label=file.label)
        return _row(file, timed, built.build_s)

    return _results(files, work)


def _results(files: Sequence[BoardFile], work: Callable[[BoardFile], Row]) -> Results:
    rows, failed = [], {}
    for file in files:
        try:
            rows.append(work(file))
        except MeasureError as error:
            failed[file.label] = str(error)
    if not rows:
        raise MeasureError("; ".join(dict.fromkeys(failed.values())))
    return Results(rows=tuple(rows), failed=failed)


def _printed(path: Path) -> str:
    try:
        return path.read_text("utf8", errors="replace")
    except OSError as error:
        raise MeasureError(f"{path} cannot be read: {error.strerror}") from error


def _row(file: BoardFile, timed: Timed, build_s: float | None) -> Row:
    computed = timed.times.compute_s
    return Row(
        label=file.label,
        file=file.name,
        median_s=statistics.median(computed),
        p99_s=percentile(computed, 99),
        queries=len(computed),
        int8_share=None if timed.profile is None else timed.profile.share("int8"),
        build_s=build_s,
        version=timed.output.version or "unknown",
        gpu=timed.output.gpu or "unknown",
        warnings=timed.output.warnings,
    )


def table(results: Results) -> str:
    """Return the rows for a terminal, with what INT8 gains over its rival."""
    rows = results.rows
    head = ("engine", "file", "median GPU time", "p99", "of it in INT8 layers", "queries")
    cells = [
        (
            row.label,
            row.file,
            f"{row.median_s * 1e3:.4g} ms",
            f"{row.p99_s * 1e3:.4g} ms",
            "not told" if row.int8_share is None else f"{row.int8_share:.0%}",
            f"{row.queries}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *cells)
    ]
    about = sorted({f"TensorRT {row.version} on {row.gpu}" for row in rows})
    failed = [f"{label}: {reason}" for label, reason in results.failed.items()]
    return "\n".join([*about, *lines, *failed, *_gain(rows), *_doubts(rows), ""])


def gain(rows: Sequence[Row]) -> tuple[str, float] | None:
    """Return the rival of INT8 and how many times as fast INT8 was; None: one was not timed."""
    medians: Mapping[str, float] = {row.label: row.median_s for row in rows}
    rival = next((label for label in _RIVALS if label in medians), None)
    if rival is None or not medians.get("int8"):
        return None
    return rival, medians[rival] / medians["int8"]


def _gain(rows: Sequence[Row]) -> list[str]:
    found = gain(rows)
    if found is None:
        return []
    rival, times = found
    lines = [f"speed of INT8 over {rival}: {times:.3f}x, by medians of processes one after another"]
    if rival == "fp32":
        lines.append(
            "FP16 was not timed, and it is the rival: this version needs a file with float16 "
            'weights for it, variants = [..., "fp16"]'
        )
    elif times < LEAST_GAIN:
        lines.append(
            f"a gain of less than {LEAST_GAIN - 1:.0%} is not shown by that: ship {rival}, which "
            "loses less to rounding"
        )
    return lines


def _doubts(rows: Sequence[Row]) -> list[str]:
    return [f"{row.label}: {words}" for row in rows for words in row.warnings]
