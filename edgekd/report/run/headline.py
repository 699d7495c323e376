"""The headline of the page of a run: the result in one sentence, tiles, and warnings.

Figures carry their 95 % interval, and no more digits than it deserves.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.beside import describe_beside, describe_left_out, describe_not_kept
from edgekd.evaluation.formatting import (
    NOT_MEASURED,
    change,
    difference,
    latency_text,
    per_sample,
    quality,
    ratio,
    size,
    times,
)
from edgekd.evaluation.gate import FLOOR_METRICS, describe_floor
from edgekd.evaluation.other_work import describe_session
from edgekd.evaluation.record import QUICK_REMARK, Record
from edgekd.evaluation.results import MetricInfo
from edgekd.options import Budget
from edgekd.report.run.own_sessions import explain_rows
from edgekd.report.run.why import unconfirmed


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of the sentence at the top: plain text, then a figure shown large, then small."""

    text: str = ""
    figure: str = ""
    small: str = ""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A quantity of the teacher and of what ships."""

    what: str
    was: str
    """"" where nothing is compared."""
    now: str
    note: str = ""


def headline(record: Record) -> list[Piece]:
    """Return the sentence at the top in pieces."""
    if record.teacher_ships:
        return [Piece(text=_nothing_paid(record))]
    base, ships = record.final.files[0], record.ships
    smaller = base.size_bytes / ships.size_bytes
    word = "smaller" if smaller >= 1 else "larger"
    pieces = [
        Piece(text=f"{ships.title} ({record.shown_label(ships)}) is "),
        Piece(figure=f"{ratio(max(smaller, 1 / smaller))} {word}"),
        *_speed_pieces(ships.speedup),
    ]
    tested = record.tested(ships)
    if tested is not None and record.is_against_teacher:
        value = tested.metrics[record.metric.name]
        unit = f" {record.metric.unit}".rstrip()
        pieces += [
            Piece(text=f", with {record.metric.name} "),
            _figure(quality(value), unit),
            Piece(text=" against the teacher's outputs on the test split"),
        ]
    elif tested is not None:
        pieces += _quality_pieces(record.metric, tested.gain)
    return [*pieces, Piece(text=".")]


def below(record: Record) -> list[str]:
    """Return the sentences below the headline: a budget that is met, what else the bundle has."""
    found = [f"Also in the bundle: {line}." for line in describe_beside(record)]
    if record.budget.max_latency is not None and not record.over_budget:
        found.insert(0, f"Latency budget {record.latency_against_budget}.")
    conditions = describe_session(record.final.conditions)
    return [*filter(None, [explain_rows(record), unconfirmed(record), conditions]), *found]


def _nothing_paid(record: Record) -> str:
    stages = record.rungs[1:]
    if not stages:
        return "The recipe has no steps: the teacher ships unchanged."
    kept = [rung.title for rung in stages if rung.kept]
    if not kept:
        return "No stage paid on this device: the teacher ships unchanged."
    of = f"of the files that were kept ({', '.join(kept)})"
    base, *others = record.final.files
    if all(file.only_for for file in others):
        return (
            f"On this device the teacher ships unchanged. What was kept ({', '.join(kept)}) is for "
            "other runtimes and was not measured here."
        )
    if all(file.size_bytes >= base.size_bytes for file in others):
        found = "none is proven faster than the teacher and none is smaller"
    elif any(file.speedup is not None and file.speedup.low > 1 for file in others):
        found = "none was chosen"  # by `ship`, or by the budget
    else:
        found = "none is proven faster than the teacher"
    return f"The teacher ships unchanged: {of}, {found}."


def _speed_pieces(speed: Estimate | None) -> list[Piece]:
    if speed is None:
        return [Piece(text=" than the teacher, its speed was not measured")]
    than = Piece(text=" than the teacher")
    if speed.low > 1:
        return [Piece(text=" and "), _figure(times(speed), " faster"), than]
    if speed.high < 1:
        turned = Estimate(1 / speed.value, 1 / speed.high, 1 / speed.low, speed.n)
        return [Piece(text=" and "), _figure(times(turned), " slower"), than]
    if speed.low == speed.high:
        return [Piece(text=" than the teacher, and as fast")]
    return [
        Piece(
            text=" than the teacher, with no difference in speed shown ", small=f"({times(speed)})"
        )
    ]


def _figure(text: str, word: str) -> Piece:
    value, _, low_high = text.partition(" [")
    return Piece(figure=value + word, small=f"[{low_high}" if low_high else "")


def _quality_pieces(metric: MetricInfo, gain: Estimate) -> list[Piece]:
    unit = metric.points() if metric.unit else ""
    of = Piece(text=f" of {metric.name} on the test split")
    if gain.low == gain.value == gain.high == 0:
        lost = Estimate(0.0, -gain.high, -gain.low, gain.n)
        small = difference(lost).partition(" ")[2]
        none = f"no {unit}" if unit else "nothing"
        return [Piece(text=", and loses "), Piece(figure=none, small=small), of]
    if gain.low <= 0 <= gain.high:
        small = f"({change(gain)} {unit}".rstrip() + ")"
        return [
            Piece(
                text=f", with no difference in {metric.name} shown on the test split ", small=small
            )
        ]
    sign = -1 if gain.value < 0 else 1
    low, high = sorted((sign * gain.low, sign * gain.high))
    text = difference(Estimate(abs(gain.value), low, high, gain.n))
    verb = ", and loses " if sign < 0 else ", and gains "
    return [Piece(text=verb), _figure(text, f" {unit}".rstrip()), of]


def tiles(record: Record) -> list[Tile]:
    """Return size, latency and quality as from -> to, with the intervals."""
    base, ships, metric = record.final.files[0], record.ships, record.metric
    each = per_sample(ships.latency_s, record.samples_per_call)
    found = [
        _tile(record, "Size", size(base.size_bytes), size(ships.size_bytes), _parameters(record)),
        _tile(
            record,
            "Median latency",
            latency_text(base.latency_s),
            latency_text(ships.latency_s),
            (f"speed-up {times(ships.speedup)}{each}" if ships.speedup else each.lstrip(", ")),
        ),
    ]
    was, now = record.tested(base), record.tested(ships)
    if now is not None and record.is_against_teacher and not record.teacher_ships:
        note = f"against the teacher's outputs, {record.test.samples:,} samples"
        value = quality(now.metrics[metric.name])
        found.append(Tile(what=f"Test {metric.title}", was="", now=value, note=note))
    elif was is not None and now is not None and not record.is_against_teacher:
        found.append(
            _tile(
                record,
                f"Test {metric.title}",
                quality(was.metrics[metric.name]),
                quality(now.metrics[metric.name]),
                f"change {change(now.gain)}, {record.test.samples:,} samples",
            )
        )
    return found


def _tile(record: Record, what: str, was: str, now: str, note: str) -> Tile:
    if record.teacher_ships or was == now == NOT_MEASURED:
        return Tile(what=what, was="", now=now)
    return Tile(what=what, was=was, now=now, note=note)


def _parameters(record: Record) -> str:
    """Return the parameters of the teacher and of what ships."""
    before, after = (
        rung.files[0].facts.parameters for rung in (record.rungs[0], record.rung_of(record.ships))
    )
    return f"{before:,} → {after:,} parameters"


def budget(record: Record) -> str:
    """Return what the recipe allows, as a sentence."""
    asked = record.budget
    if record.is_against_teacher:
        floors = " and ".join(describe_floor(key, value) for key, value in asked.floors.items())
        return (
            "There are no labels: quality is the closeness of the outputs to those of the model "
            f"itself. The budget: at least {floors}{_latency(asked)}."
        )
    unit = record.metric.points(asked.max_drop)
    return f"The budget: {asked.max_drop:g} {unit} lost at most{_latency(asked)}."


def _latency(asked: Budget) -> str:
    return "" if asked.max_latency is None else f", and {asked.max_latency} a call"


def warnings(record: Record) -> list[str]:
    """Return what must not be overlooked: a missed budget, an emulated device."""
    if record.quick:
        return [f"This is {QUICK_REMARK}. For verdicts run it in full."]
    found = list(record.remarks)
    if record.over_budget:
        found.append(f"Latency budget missed: {record.over_budget}.")
    found += [
        f"{t[0].upper()}{t[1:]}."
        for t in (describe_not_kept(record), describe_left_out(record))
        if t
    ]
    allowed, tested = record.budget.max_drop, record.tested(record.ships)
    if tested is not None and record.is_against_teacher:
        found += [
            f"Quality budget missed on the test split: {describe_floor(key, value)}, at least "
            f"{least:g} required. Decisions use the validation split; the test split changes none."
            for key, least in record.budget.floors.items()
            for value in [tested.metrics[FLOOR_METRICS[key]].value]
            if value < least
        ]
    elif tested is not None and -tested.gain.value > allowed:
        found.append(
            f"Quality budget missed on the test split: {-tested.gain.value:.2f} "
            f"{record.metric.points()} lost, {allowed:g} allowed. Decisions use the validation "
            "split, where the loss was within the budget or the gate was off; the test split is "
            "used only for this report and changes no decision."
        )
    if record.final.conditions.emulated:
        found.append(
            "This device is emulated: it shows that files run and compute the right "
            "numbers, not how fast."
        )
    return found
