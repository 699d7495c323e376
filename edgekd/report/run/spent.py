"""What a run took: where its time went, and its memory, in words and as rows."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.evaluation.formatting import size
from edgekd.evaluation.record import Record
from edgekd.evaluation.spent_time import Work

TITLES: dict[Work, str] = {
    "prepare": "data and checks",
    "train": "training",
    "export": "export",
    "quantize": "quantization",
    "measure": "measuring speed",
    "evaluate": "judging quality",
}


@dataclass(frozen=True)
class SpentRow:
    """One stage, with its seconds by kind of work."""

    stage: str
    parts: tuple[tuple[Work, float], ...]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(value for _, value in self.parts)


def spent_rows(record: Record) -> list[SpentRow]:
    """Return one row for each stage, in the order of the run."""
    stages = dict.fromkeys(part.stage for part in record.spent)
    return [
        SpentRow(stage, tuple((p.work, p.seconds) for p in record.spent if p.stage == stage))
        for stage in stages
    ]


def shares(record: Record) -> list[tuple[str, float, float]]:
    """Return each kind of work with its seconds and its share, the largest first."""
    total = sum(part.seconds for part in record.spent)
    sums = {
        TITLES[work]: sum(part.seconds for part in record.spent if part.work == work)
        for work in TITLES
    }
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    return [(title, value, value / total) for title, value in ordered if value > 0]


def duration(value: float) -> str:
    """Return seconds as people say them: 42 s, 3 min 05 s, 1 h 10 min."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def describe_memory(record: Record) -> str:
    """Return the memory of the job's process beside the size of its model; "" if not known."""
    if not record.peak_bytes:
        return ""
    model = record.rungs[0].files[0].facts
    return (
        f"{size(record.peak_bytes)} at its most, the whole process, which had "
        f"{size(record.held_bytes)} before; the model itself has {size(model.size_bytes)}"
    )


def spent_line(record: Record) -> str:
    """Return the time of the run in one line; "" where nothing was logged."""
    found = shares(record)
    if not found:
        return ""
    total = duration(sum(value for _, value, _ in found))
    return f"time {total}: {', '.join(f'{title} {100 * share:.0f} %' for title, _, share in found)}"
