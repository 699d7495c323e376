"""Describe the files of a bundle beside the one that ships: other variants of the same network."""

from __future__ import annotations

from edgekd.artifact import FP32
from edgekd.evaluation.formatting import latency_text, ratio, size
from edgekd.evaluation.gate import describe_speed
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import Finalist


def describe_beside(record: Record) -> list[str]:
    """Return a line for each file that the bundle has beside the one that ships."""
    if record.quick:  # which has no bundle
        return []
    return [describe_one(record, file) for file in record.beside if file.variant != FP32]


def describe_one(record: Record, file: Finalist) -> str:
    """Return size and speed of a kept file; "not measured on" the device that it is for."""
    smaller = record.ships.size_bytes / file.size_bytes
    word = "smaller" if smaller >= 1 else "larger"
    than = f"{ratio(max(smaller, 1 / smaller))} {word} than what ships"
    line = f"{file.title} ({file.variant}): {size(file.size_bytes)}, {than}"
    if file.latency_s is not None:
        line += f"; on {record.devices[0]} {latency_text(file.latency_s)}"
        if file.speedup is not None:
            line += f", {describe_speed(file.speedup)} (against the teacher)"
    other = record.other_device(file)
    return f"{line}; not measured on {other}" if other else line


def describe_not_kept(record: Record) -> str:
    """Return which of the variants in `export.ship` were not kept, if none was; or ""."""
    absent = record.final.not_kept
    if not absent:
        return ""
    return (
        f"no {' or '.join(absent)} file was kept, as export.ship asks for: {record.ships.title} "
        f"({record.ships.variant}) ships instead"
    )


def describe_left_out(record: Record) -> str:
    """Return which kept files are of another network than the one that ships; or ""."""
    names = [
        f"{file.title} ({file.variant})"
        for i, file in enumerate(record.final.files)
        if i not in record.final.bundled and file.variant != FP32
    ]
    if not names or record.quick:
        return ""
    return (
        f"kept, but not in the bundle: {', '.join(names)}; to ship it name its variant first in "
        "export.ship"
    )
