"""Why a stage was rolled back, and what to try next, as commands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from edgekd.evaluation.formatting import seconds
from edgekd.evaluation.gate import Fault
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import LayerTimes, OperatorTime, RungRecord

QDQ = ("QuantizeLinear", "DequantizeLinear")
LEAST_SHARE = 0.05  # of the time of the file before: a smaller change explains nothing
MOST_OPERATORS = 4
MORE_ROUNDS = 20


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
    if left:
        counts = " and ".join(f"{one.after_nodes} {one.operator}" for one in left)
        taken_s = sum(one.after_s for one in left)
        words.append(f"not fused: {counts}, taking {seconds(taken_s)} of it")
    if not slower and not left:
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
    found = [*_for_quality(record, faults, key, step), *_for_speed(record, faults, key, step)]
    if rung.evidence is not None:
        gate_off = _again(record, f"{key}.gate=false")
        found.append(("keep it for another device, whatever this one shows", gate_off))
    return found


def _for_quality(
    record: Record, faults: Set[Fault], key: str, step: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if "quality" in faults:
        for name in ("train", "recover"):
            epochs = (step.get(name) or {}).get("epochs")
            if epochs:
                yield "train longer", _again(record, f"{key}.{name}.epochs={2 * epochs}")
        for name, ratio in _ratios(step):
            yield "cut less", _again(record, f"{key}.{name}={round(ratio / 2, 3)}")
        splits = record.data.splits
        more = min(4 * step.get("samples", 0), splits["train"])
        if more > splits["calibration"]:
            yield (
                "calibrate with more samples",
                _again(record, f"data.calibration={more}", f"{key}.samples={more}"),
            )


def _for_speed(
    record: Record, faults: Set[Fault], key: str, step: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if "gain not shown" in faults:
        all_rounds = "measure.stop_when_decided=false"
        yield "measure longer", _again(record, f"measure.rounds={MORE_ROUNDS}", all_rounds)
        for name, ratio in _ratios(step):
            yield "cut more", _again(record, f"{key}.{name}={round(min(0.9, ratio * 1.5), 3)}")
    if "slower" in faults and step.get("name") == "quantize":
        variants = [v for v in ("int8", "int8-xnnpack") if v not in step.get("variants", ())]
        if variants:
            yield (
                "try another layout of INT8",
                _again(record, f"{key}.variants={json.dumps(variants[:1])}"),
            )


def _ratios(step: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the share of channels that a step removes, by its key: of its network or student."""
    if "ratio" in step:
        yield "ratio", step["ratio"]
    student = step.get("student") or {}
    if student.get("from") == "teacher":
        yield "student.ratio", student["ratio"]


def _again(record: Record, *changes: str) -> str:
    """Return the command of the run with keys changed; finished stages are reused."""
    command = record.command or f"edgekd compress {record.name}.toml"
    if command.startswith("edgekd."):  # a call in Python, with its changes last
        head, mark, own = command.rpartition(", changes=[")
        added = ", ".join(map(repr, changes))
        before = f"{head}{mark}{own.removesuffix('])')}, " if mark else f"{command[:-1]}, changes=["
        return f"{before}{added}])"
    quoted = (f"'{change}'" if set(change) & set('["( ') else change for change in changes)
    return " ".join([command, *(f"--set {change}" for change in quoted)])


def ci_commands(record: Record) -> list[str]:
    """Return the commands that guard the file that ships in a CI."""
    file = f"bundle/model.{record.ships.variant}.onnx"
    return [
        f"edgekd bench {file} --store {record.name}",
        f"edgekd bench {file} --baseline {record.name} --allow 3% --allow-size 0%",
    ]
