"""The audit of a teacher as a page and a terminal show it: words and figures, nothing computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgekd.evaluation.audit import Audit, Mistake, TeacherQuality
from edgekd.evaluation.formatting import change, interval, quality
from edgekd.report.run.examples import safe_image

__all__ = ["cards", "figures", "headline", "inputs", "quality", "shown", "standing"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measure of every teacher, and of the student where it has one."""

    title: str
    note: str
    cells: tuple[str, ...]
    columns: tuple[str, ...]
    """The names above the cells."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A contradicted sample as it is shown; its image is a PNG in the page or none."""

    of: Mistake
    image: str
    note: str


def headline(audit: Audit) -> str:
    """Return the first sentence: how the teacher stands."""
    if audit.standing == "not judged":
        return f"{audit.first.name} cannot be judged: {audit.standing_why[:1].lower()}" + (
            f"{audit.standing_why[1:]}."
        )
    return f"{audit.first.name} is {audit.standing} as a teacher."


def standing(audit: Audit) -> str:
    """Return why it stands as it does, and what is known of training samples."""
    found = f"{audit.standing_why}."
    if audit.on_training is not None:
        unit = f" {audit.metric.unit}".rstrip()
        found += (
            f" On {audit.on_training.n:,} training samples {audit.metric.name} is "
            f"{quality(audit.on_training)}{unit}."
        )
    return found


def figures(audit: Audit) -> list[Row]:
    """Return the table of measures: a column for each teacher, and one for the student."""
    teachers, student = audit.teachers, audit.student
    columns = (*(t.name for t in teachers), *(("student",) if student else ()))
    found: list[Row] = []

    def add(title: str, cells: Sequence[str], own: str = "", note: str = "") -> None:
        if any(cells):
            every = (*(cell or "not known" for cell in cells), *((own,) if student else ()))
            found.append(Row(title=title, note=note, cells=every, columns=columns))

    first = audit.metric.name
    for name in sorted(teachers[0].metrics, key=lambda name: (name != first, name)):
        unit = audit.metric.unit if name == audit.metric.name else _unit(name)
        cells = [quality(t.metrics[name]) if name in t.metrics else "" for t in teachers]
        add(f"{name}{', ' + unit if unit else ''}", cells, "not trained yet")
    add("temperature that fits the labels", [_temperature(t) for t in teachers])
    add(
        "calibration error with it, %",
        [f"{t.temperature.error_after:.1f}" if t.temperature else "" for t in teachers],
    )
    add(
        "evenness of the classes not chosen",
        [f"{t.wrong.evenness:.2f}" if t.wrong else "" for t in teachers],
        note="0: one of them has all; 1: all alike",
    )
    add(
        "their spread, share of the answer's lead",
        [f"{t.wrong.spread:.2f}" if t.wrong else "" for t in teachers],
    )
    add("label smoothing", [_smoothing(t) for t in teachers])
    own = ("", "")
    if student is not None:
        own = (_count(student.parameters), _count(student.macs))
    add("parameters", [_count(t.parameters) for t in teachers], own[0])
    add("multiplications of a sample", [_count(t.macs) for t in teachers], own[1])
    return found


def _unit(name: str) -> str:
    return "%" if name in ("worst class", "calibration error", "F1", "label accuracy") else ""


def _temperature(teacher: TeacherQuality) -> str:
    return interval(teacher.temperature.value, of="{:.2f}".format) if teacher.temperature else ""


def _smoothing(teacher: TeacherQuality) -> str:
    if teacher.wrong is None:
        return ""
    found = teacher.wrong.smoothing
    return "no sign" if found is None else f"about {found:.2f}"


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def inputs(audit: Audit) -> str:
    """Return whether teacher and student read the same."""
    student = audit.student
    if student is None:
        return ""
    if not student.differences:
        return "Teacher and student read samples in the same way."
    listed = "; ".join(f"{d.what} {d.teacher} and {d.student}" for d in student.differences)
    return (
        f"Teacher and student read samples otherwise: {listed}. Both see the same view of a "
        "sample, each in its own form."
    )


def together(audit: Audit) -> list[str]:
    """Return how often several teachers agree, and what their mean is worth."""
    found = audit.together
    if found is None:
        return []
    lines = [
        f"{one.first} and {one.second} give the same answer in {quality(one.value)} %"
        for one in found.agreements
    ]
    if found.quality is not None and found.gain is not None:
        unit = f" {audit.metric.unit}".rstrip()
        lines.append(
            f"the mean of all: {audit.metric.name} {quality(found.quality)}{unit}, "
            f"{change(found.gain)} {audit.metric.points()} from {found.best} alone"
        )
    return lines


def count_of_bins(audit: Audit) -> str:
    """Return how many answers the bins hold."""
    count = sum(one.samples for one in audit.bins)
    return f"{count:,} answers"


def worst_title(audit: Audit) -> str:
    """Return what the table of the worst contains."""
    worst = audit.worst
    if worst is None:
        return ""
    what = {"accuracy": "classes", "average precision": "labels"}.get(worst.measure, "numbers")
    shown = len(worst.rows)
    return f"The worst {shown} of {worst.of} {what}" if shown < worst.of else f"All {what}"


def mistakes_title(audit: Audit) -> str:
    """Return what the shown samples are."""
    found = audit.mistakes
    if found is not None and found.unit != "%":
        return "Samples whose number is far from the teacher's"
    return "Samples whose label the teacher contradicts"


def mistakes(audit: Audit) -> str:
    """Return how many there are, and what to look for in them."""
    found = audit.mistakes
    if found is None:
        return ""
    shown = f" The {len(found.shown)} first are shown." if len(found.shown) < found.total else ""
    if found.unit != "%" and found.total:
        return (
            f"{found.total} of {found.sure_of:,} validation samples are off by more than "
            f"{found.from_confidence:.2g} {found.unit}: look whether their numbers are right."
            f"{shown}"
        )
    if not found.total:
        return f"None of {audit.samples:,} validation samples."
    return (
        f"{found.total:,} of {audit.samples:,} validation samples, the surest first. {found.sure} "
        f"of them are among the half that the teacher is surest of (red edge), "
        f"{quality(found.sure_rate)} % of it: look whether these labels are right. All of them are "
        f"in mistakes.csv.{shown}"
    )


def cards(audit: Audit) -> list[Card]:
    """Return the shown samples."""
    found = audit.mistakes
    if found is None:
        return []
    return [
        Card(of=one, image=safe_image(one.thing.image), note=_note(one, found.unit))
        for one in found.shown
    ]


def _note(one: Mistake, unit: str) -> str:
    where = one.file or f"sample {one.thing.index}"
    if one.of_label is None:
        return f"{where}: off by {one.confidence:.3g} {unit}"
    return f"{where}: {one.confidence:.1f} %, of the label {one.of_label:.1f} %"


def shown(audit: Audit) -> Group:
    """Return it for a terminal."""
    table = Table(box=None, pad_edge=False)
    rows = figures(audit)
    table.add_column("")
    for column in rows[0].columns if rows else ():
        table.add_column(Text(column), justify="right")
    for row in rows:
        table.add_row(Text(row.title), *(Text(cell) for cell in row.cells))
    lines = [headline(audit), standing(audit), *audit.remarks]
    below = [*together(audit), inputs(audit), mistakes(audit)]
    below += [f"{one.what}: not said, {one.why}" for one in audit.skipped]
    advice = [f"{i}. {one.do} {one.why}" for i, one in enumerate(audit.advice, 1)]
    lines_of_recipe = [f"    {line}" for line in audit.recipe_lines]
    return Group(
        *(Text(line) for line in lines),
        table,
        *(Text(line) for line in below if line),
        *([Text("advice for the step distill:", style="bold")] if advice else []),
        *(Text(line) for line in [*advice, *lines_of_recipe]),
    )
