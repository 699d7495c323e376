"""Why a stage was rolled back, and what to try next, as commands."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from edgekd.artifact import Variant
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.operators import RECURRENT
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.forecast import MOST_KEPT
from edgekd.evaluation.formatting import seconds, times
from edgekd.evaluation.gate import Fault
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import Finalist, LayerTimes, OperatorTime, RungRecord
from edgekd.exporters.file_facts import OnnxFacts
from edgekd.exporters.variants import TABLE

QDQ = ("QuantizeLinear", "DequantizeLinear")
LEAST_SHARE = 0.05  # of the time of the file before: a smaller change explains nothing
MOST_OPERATORS = 4
MOST_BYTES = 0.5  # of the weights in INT8: below it, what stays in float is why it does not pay
LEAST_WEIGHTS = 0.1  # of the weights: layers with less are not named
LEAST_SHRINK = 1.05  # a file that is hardly smaller is no gain for another device either
LAYERS = {"Gather": "tables of embeddings (Gather)"} | {
    name: f"recurrent layers ({name})" for name in sorted(RECURRENT)
}
"""Operator -> the layers as users call them."""
MORE_ROUNDS = 20
INT8_LAYOUTS = ("int8", "int8-xnnpack")
"""That `quantize` makes."""


def explain_stage(rung: RungRecord) -> list[str]:
    """Return in words why files of a stage do not pay, each under its variant if it has several."""
    return [
        f"{ruling.variant}: {text}" if len(rung.rulings) > 1 else text
        for _, _, ruling in rung.judged
        if ruling.reasons
        for text in explain_variant(rung, ruling.variant)
    ]


def explain_variant(rung: RungRecord, variant: Variant | None) -> list[str]:
    """Return in words why one file does not pay: what stayed in float, and times by operator."""
    floats = [left_in_float(file.facts) for file, _, own in rung.judged if own.variant == variant]
    times = rung.layers.get(variant) if variant is not None else None
    return [*filter(None, floats), *([] if times is None else explain(times))]


def left_in_float(facts: OnnxFacts) -> str:
    """Return which layers keep most weights of a file that is in part INT8 in float; or ""."""
    if not facts.int8_share or (facts.int8_bytes_share or 0) >= MOST_BYTES:
        return ""
    shares = sorted(facts.float_weights.items(), key=lambda one: -one[1])
    large = [(name, share) for name, share in shares if share >= LEAST_WEIGHTS]
    if not large:
        return ""
    kinds = " and ".join(f"{LAYERS.get(name, name)}" for name, _ in large)
    held = sum(share for _, share in large)
    return (
        f"{kinds} stay in float here and hold {100 * held:.0f} % of the weights, so INT8 can make "
        "neither the file much smaller nor their work faster"
    )


def explain(times: LayerTimes) -> list[str]:
    """Return in words which operators became slower or faster, and what did not fuse."""
    total_s = times.before_s
    words = [
        f"layer by layer, {times.before} takes {seconds(total_s)} and {times.after} "
        f"{seconds(times.after_s)} in the profiler"
    ]
    slower = [one for one in times.operators if one.change_s > LEAST_SHARE * total_s]
    slower.sort(key=lambda one: -one.change_s)
    if slower:
        words.append(f"slower: {', '.join(map(_change, slower[:MOST_OPERATORS]))}")
    left = [one for one in times.operators if one.operator in QDQ and one.after_nodes]
    taken_s = sum(one.after_s for one in left)
    if taken_s > LEAST_SHARE * total_s:
        counts = " and ".join(f"{one.after_nodes} {one.operator}" for one in left)
        words.append(f"not fused: {counts}, taking {seconds(taken_s)} of it")
    if len(words) == 1:
        words.append("no operator became slower: the change is smaller than what can be shown")
    return words


def _change(one: OperatorTime) -> str:
    if not one.before_nodes:
        return f"{one.operator} is new, {seconds(one.after_s)}"
    return f"{one.operator} {seconds(one.before_s)} → {seconds(one.after_s)}"


def signed(value_s: float) -> str:
    """Return a change of seconds with its sign."""
    sign = "-" if value_s < 0 else "+"
    return f"{sign}{seconds(abs(value_s))}" if value_s else "0"


def next_steps(record: Record, rung: RungRecord) -> list[tuple[str, str]]:
    """Return what to try after a stage that is not kept: what for, and the command."""
    if rung.kept or rung is record.rungs[0]:
        return []
    number = [one.title for one in record.rungs].index(rung.title) - 1
    steps = record.recipe.get("steps", ())
    step: Mapping[str, Any] = steps[number] if number < len(steps) else {}
    faults, key = rung.faults, f"steps.{number}"
    found = [*_for_quality(record, faults, key, step), *_for_speed(record, rung, key, step)]
    if _helps_elsewhere(rung):
        gate_off = _again(record, f"{key}.gate=false")
        found.append(("keep it for another device, whatever this one shows", gate_off))
    return found


def _helps_elsewhere(rung: RungRecord) -> bool:
    """Whether a file of the stage is smaller, or much of its work is in INT8."""
    return any(
        findings.shrink >= LEAST_SHRINK or (file.facts.int8_share or 0) >= MOST_BYTES
        for file, findings, _ in rung.judged
    )


def _for_quality(
    record: Record, faults: Set[Fault], key: str, step: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if "quality" in faults:
        for name in ("train", "recover"):
            epochs = (step.get(name) or {}).get("epochs")
            if epochs:
                yield "train longer", _again(record, f"{key}.{name}.epochs={2 * epochs}")
        for name, less, _ in _cuts(step):
            yield "cut less", _again(record, f"{key}.{name}={less}")
        splits = record.data.splits
        more = min(4 * step.get("samples", 0), splits["train"])
        if more > splits["calibration"]:
            yield (
                "calibrate with more samples",
                _again(record, f"data.calibration={more}", f"{key}.samples={more}"),
            )


def _for_speed(
    record: Record, rung: RungRecord, key: str, step: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    faults = rung.faults
    if "gain not shown" in faults:
        yield "measure longer", _longer(record)
        for name, _, more in _cuts(step):
            if _kept_share(record, rung) <= MOST_KEPT:
                yield "cut more", _again(record, f"{key}.{name}={more}")
            elif name == "student.macs":  # the rest cannot be cut
                yield "train a student of your own", _with_student(record, key)
    if "slower" in faults and step.get("name") == "quantize":
        here = _variant_for(record.final.conditions)
        if here not in (None, *step.get("variants", ())):
            yield (
                "try the layout of INT8 that this runtime needs",
                _again(record, f"{key}.variants={json.dumps([here])}"),
            )


def _kept_share(record: Record, rung: RungRecord) -> float:
    """Return which share of the parameters of the stage before a stage kept."""
    titles = [one.title for one in record.rungs]
    earlier = [one for one in record.rungs[: titles.index(rung.title)] if one.kept]
    files = (earlier[-1].evidence, rung.evidence)
    before, after = (one.own[0].facts.parameters if one and one.own else 0 for one in files)
    return after / before if before else 0.0


def _with_student(record: Record, key: str) -> str:
    """Return the command with a network of the user's own in place of the cut one."""
    command = record.command or ""
    if command.startswith("edgekd compress -"):
        return f"{command} --student net.py:build"
    return _again(record, f'{key}.student={{build="net.py:build"}}')


def _variant_for(found: Conditions) -> str | None:
    """Return the variant of INT8 that a runtime needs; None where there is none."""
    return next(
        (
            row.variant
            for row in TABLE
            if row.runtime == found.runtime.split(" ")[0] and row.provider == found.provider
            if row.variant in INT8_LAYOUTS
        ),
        None,
    )


def unconfirmed(record: Record) -> str:
    """Return what the session of a stage showed and the last session could not; "" if nothing.

    Both measured the same files against the teacher's.
    """
    files = record.final.files[1:] if record.teacher_ships else (record.ships,)
    for file in files:
        rung = record.rung_of(file)
        shown, last = _shown(record, rung, file), file.speedup
        if record.quick or shown is None or last is None or shown.low <= 1 or last.low > 1:
            continue
        return (
            f"{rung.title} was {times(shown)} faster than the teacher in its own session, and the "
            f"last session does not confirm that: {times(last)}. Trust the last session, which "
            "times all kept files side by side and decides what ships: a gain is possible, and not "
            f"shown. To measure longer: {_longer(record)}"
        )
    return ""


def _shown(record: Record, rung: RungRecord, file: Finalist) -> Estimate | None:
    """Return the speed-up against the teacher in the session of the stage."""
    earlier = [one for one in record.rungs[: record.rungs.index(rung)] if one.kept]
    for own, findings, _ in rung.judged:
        if own.label == file.label and own.speedup is not None and rung.evidence is not None:
            if len(earlier) == 1 and not findings.unusual_pair:
                return findings.speedup  # the pair that the verdict rests on
            return own.speedup if own.speedup.low > 1 + (rung.evidence.floor or 0) else None
    return None


def _longer(record: Record) -> str:
    return _again(record, f"measure.rounds={MORE_ROUNDS}", "measure.stop_when_decided=false")


def _cuts(step: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield the key that says how much a step removes, and its values to remove less and more."""
    if "ratio" in step:  # the share that goes
        yield "ratio", round(step["ratio"] / 2, 3), round(min(0.9, step["ratio"] * 1.5), 3)
    student = step.get("student") or {}
    if student.get("from") == "teacher" and not student.get("layers"):  # the share that stays
        macs = student["macs"]
        yield "student.macs", round((1 + macs) / 2, 3), round(macs * 0.6, 3)


def _again(record: Record, *changes: str) -> str:
    """Return the command of the run with keys changed; finished stages are reused."""
    command = record.command or f"edgekd compress {record.name}.toml"
    if command.startswith("edgekd."):  # a call in Python, with its changes last
        head, mark, own = command.rpartition(", changes=[")
        earlier = ast.literal_eval(f"[{own[:-1]}") if mark else []
        new = {change.partition("=")[0].strip() for change in changes}
        kept = [one for one in earlier if one.partition("=")[0].strip() not in new]
        return f"{head if mark else command[:-1]}, changes={[*kept, *changes]!r})"
    for change in changes:  # the later one wins: the earlier is not shown
        name = re.escape(change.partition("=")[0])
        command = re.sub(rf" --set[ =](?:'{name} ?=[^']*'|{name}=[^\s']*)(?=\s|$)", "", command)
    quoted = (f"'{change}'" if set(change) & set('["( ') else change for change in changes)
    return " ".join([command, *(f"--set {change}" for change in quoted)])


def ci_commands(record: Record) -> list[str]:
    """Return the commands that guard the file that ships in a CI."""
    file = f"bundle/model.{record.ships.variant}.onnx"
    return [
        f"edgekd bench {file} --store {record.name}",
        f"edgekd bench {file} --baseline {record.name} --allow 3% --allow-size 0%",
    ]
