"""The ladder as a table in a terminal, from the record."""

from __future__ import annotations

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.beside import describe_beside, describe_left_out, describe_not_kept
from edgekd.evaluation.formatting import interval, latency_text, per_sample, quality, size
from edgekd.evaluation.gate import (
    NO_DIFFERENCE,
    Ruling,
    describe_speed,
    is_undecided,
)
from edgekd.evaluation.other_work import describe_session
from edgekd.evaluation.record import QUICK_REMARK, Record
from edgekd.evaluation.results import Elsewhere, Finalist, RungRecord
from edgekd.report.run.own_sessions import explain_rows
from edgekd.report.run.spent import describe_memory, spent_line
from edgekd.report.run.why import explain_stage, next_steps, unconfirmed

SHOWN_STEPS = 2
"""Of what to try next; the page shows all."""
SHOWN_METRICS = 4
"""Of a model with many outputs the first are shown: those over all outputs."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A file that a stage made, or a stage that was skipped."""

    cells: tuple[str, str, str, str]
    """Name, quality, size and latency."""
    kept: bool
    ruling: Ruling | None
    """None where the step was skipped."""
    speedup: Estimate | None = None
    """Against the stage before."""
    compared: str = ""
    """Which files it is of, where these are not its own and FP32."""


def lines(record: Record, rung: RungRecord) -> list[Line]:
    """Return a line for each file that the stage itself made."""
    is_reference = record.is_against_teacher and rung is record.rungs[0]
    if rung.evidence is None:
        return [Line(cells=(rung.title, "", "", ""), kept=False, ruling=None)]
    return [
        Line(
            cells=(
                f"{rung.title} {file.shown_label}",
                "" if is_reference else interval(file.metrics[record.metric.name]),
                size(file.facts.size_bytes),
                latency_text(file.latency_s),
            ),
            kept=ruling.kept,
            ruling=ruling,
            speedup=findings.speedup,
            compared=findings.unusual_pair,
        )
        for file, findings, ruling in rung.judged
    ]


def ladder(record: Record) -> Table:
    """Return the ladder of stages; a stage that did not pay stays in it, struck through."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column(record.metric.title, no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("latency", no_wrap=True)
    table.add_column("against before", no_wrap=True)
    for rung in record.rungs:
        for row in lines(record, rung):
            style = "" if row.kept else "strike dim"
            texts = (Text(cell, style=style) for cell in row.cells)
            table.add_row(*texts, _verdict(rung, row, first=rung is record.rungs[0]))
    return table


def _verdict(rung: RungRecord, row: Line, *, first: bool) -> Text:
    if first:
        return Text("reference")
    if not row.kept:  # the reason is below the table
        word = "dropped" if rung.kept else rung.outcome
        return Text(word, style="red" if row.ruling else "yellow")
    absent = row.ruling.not_measured_on if row.ruling else ""
    if absent:
        return Text.assemble(("kept", "green"), f", not measured on {absent}")
    return Text.assemble(_against(row), ("kept", "green"))


def _against(row: Line) -> str:
    """Return the speed-up that the verdict rests on, as it is claimed there."""
    speed = row.speedup
    if speed is None:
        return ""
    pair = f" ({row.compared})" if row.compared else ""
    if speed.low == speed.high:
        return "equally fast, "
    if speed.low <= 1 <= speed.high:
        return f"no difference shown{pair}, "
    if speed.high < 1:
        return f"{1 / speed.value:.2f}x slower{pair}, "
    return f"{speed.value:.2f}x{pair} "


def outcome(record: Record) -> list[str]:
    """Return the closing lines: what did not pay, what ships, the test split, the budget."""
    ships, metric = record.ships, record.metric
    found = [line for rung in record.rungs if rung.reasons for line in _not_kept(record, rung)]
    faster = f", {describe_speed(ships.speedup)} against the teacher" if ships.speedup else ""
    verb = "would ship" if record.quick else "ships"
    found.append(
        f"{verb} {ships.title} ({record.shown_label(ships)}): {size(ships.size_bytes)}, "
        f"{_speed_of(record, ships)}{faster}"
        f"{per_sample(ships.latency_s, record.samples_per_call)}"
    )
    conditions = describe_session(record.final.conditions)
    found += filter(None, [explain_rows(record), unconfirmed(record), conditions])
    found += [f"also in the bundle: {line}" for line in describe_beside(record)]
    found += [line for line in (describe_not_kept(record), describe_left_out(record)) if line]
    found += [_on(device, record.final.chosen) for device in record.final.elsewhere]
    tested = record.tested(ships)
    if tested is not None and record.is_against_teacher and not record.teacher_ships:
        figures = ", ".join(
            f"{m.name} {quality(tested.metrics[m.name])} {m.unit}".rstrip()
            for m in record.task.metrics[:SHOWN_METRICS]
        )
        found.append(
            f"test split, once ({record.test.samples} samples), against the teacher: {figures}"
        )
    if tested is not None and not record.is_against_teacher:
        gain = interval(tested.gain, of="{:+.2f}".format)
        found.append(
            f"test split, once ({record.test.samples} samples): "
            f"{interval(tested.metrics[metric.name])} {metric.unit}, {gain} relative to the teacher"
            f"{NO_DIFFERENCE if not record.teacher_ships and is_undecided(tested.gain) else ''}"
        )
    if memory := describe_memory(record):
        found.append(f"memory of the job: {memory}")
    found += filter(None, [spent_line(record)])
    if record.over_budget:
        found.append(f"✗ budget: {record.over_budget}")
    elif record.budget.max_latency is not None:
        found.append(f"✓ budget: {record.latency_against_budget}")
    if record.quick:
        found.append(f"this was {QUICK_REMARK}; for verdicts run it in full")
    return found


def _not_kept(record: Record, rung: RungRecord) -> list[str]:
    """Return why a stage, or a variant of it, is not kept, and what to try next."""
    words = explain_stage(rung)
    tries = next_steps(record, rung)[:SHOWN_STEPS]
    return [
        f"{rung.title} {rung.outcome}: {rung.verdict}",
        *(f"  {text}" for text in words),
        *(f"  to {what}: {command}" for what, command in tries),
    ]


def _speed_of(record: Record, file: Finalist) -> str:
    other = record.other_device(file)
    if file.latency_s is None and other:
        return f"not measured on {other}"
    return latency_text(file.latency_s)


def _on(found: Elsewhere, chosen: int) -> str:
    """Return how fast what ships is on a further device, and what would ship there."""
    ships = found.files[chosen]
    line = f"on {found.device} it takes {latency_text(ships.latency_s)}"
    if ships.latency_s is None:
        why = f"it does not run ({ships.refused})" if ships.refused else "it is not measured"
        line = f"on {found.device} {why}"
    if found.best is None or found.best == chosen:
        return line
    best = found.files[found.best]
    return f"{line}; {best.title} ({best.variant}) would ship there: {latency_text(best.latency_s)}"
