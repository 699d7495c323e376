"""The table of parity: how near the outputs of each file are to those of its reference."""

from __future__ import annotations

from edgekd.evaluation.fidelity import Fidelity
from edgekd.evaluation.formatting import quality
from edgekd.evaluation.record import Record

HEAD = (
    "stage and file",
    "compared with",
    "on",
    "output",
    "signal-to-noise",
    "worst sample",
    "greatest difference",
    "same answer",
)
_EQUAL_DB = 150.0
"""Beyond it a difference lies below the rounding of float32."""


def parity_rows(record: Record) -> list[list[str]]:
    """Return the rows of the table below `HEAD`; none in records of files from elsewhere."""
    found = []
    for rung in record.rungs:
        for file in rung.files:
            seen: set[tuple[str, str]] = set()
            for one in file.fidelity:
                if (one.inputs, one.output) not in seen:
                    seen.add((one.inputs, one.output))
                    found.append([f"{rung.title} {file.shown_label}", *_cells(one)])
    return found


def _cells(one: Fidelity) -> list[str]:
    worst = "" if one.worst_db is None else f"{_decibel(one.worst_db)} (sample {one.worst_sample})"
    relative = "" if one.relative is None else f"{100 * one.relative:.2g} % of the scale"
    if one.note:
        relative = f"{relative}; {one.note}" if relative else one.note
    return [
        one.reference,
        one.inputs,
        one.output,
        "" if one.snr_db is None else _decibel(one.snr_db),
        worst,
        relative,
        "" if one.agreement is None else f"{quality(one.agreement)} %",
    ]


def _decibel(value: float) -> str:
    return "equal" if value >= _EQUAL_DB else f"{value:.1f} dB"
