"""Where the time of a file goes, operator by operator, beside that of the file before it.

It explains a verdict and decides nothing: the profiler itself costs time, and the two files are
profiled one after the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import TypeAdapter

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.layers.nodes import Node
from edgekd.benchmarks.layers.profile import profile_nodes
from edgekd.benchmarks.measurement import Candidate, Setup
from edgekd.devices.local import LocalDevice
from edgekd.errors import EdgekdError, one_line
from edgekd.evaluation.evidence import File, files_of
from edgekd.evaluation.results import Final, LayerTimes, OperatorTime
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.final import Rung
from edgekd.store import digest, file_sha256, write_json

FORMS = re.compile(r"^(QLinear|Fused|Q(?=Gemm|Attention))|(IntegerToFloat|Integer)$")
"""What the runtime adds to the name of an operator that it fused or computes in INT8."""


def explain_rungs(bench: Bench, rungs: Sequence[Rung]) -> dict[str, dict[Variant, LayerTimes]]:
    """Return the layer times of each variant that did not pay for its speed, by title of stage."""
    best, found = rungs[0], dict[str, dict[Variant, LayerTimes]]()
    for rung in rungs[1:]:
        judged = rung.evidence.findings if rung.evidence is not None else ()
        for findings, ruling in zip(judged, rung.verdict.rulings, strict=True):
            if {"slower", "gain not shown"} & set(ruling.faults):
                after, before = findings.compared
                times = _compare(bench, (best, before), (rung, after))
                if times is not None:
                    found.setdefault(rung.title, {})[ruling.variant] = times
        best = rung if rung.verdict.kept else best
    return found


def explain_shipped(bench: Bench, rungs: Sequence[Rung], final: Final) -> LayerTimes | None:
    """Return the layer times of what ships beside the teacher's; None where that is the same."""
    ships = final.ships
    rung = next(rung for rung in rungs if rung.title == ships.title)
    if ships.only_for or (rung is rungs[0] and ships.variant == FP32):
        return None
    return _compare(bench, (rungs[0], FP32), (rung, ships.label))


def _compare(bench: Bench, before: tuple[Rung, str], after: tuple[Rung, str]) -> LayerTimes | None:
    """Profile two files; None where the device cannot, or one of them is not there."""
    runs_here = isinstance(bench.device, LocalDevice) and bench.setup.runtime == Setup().runtime
    if not runs_here or bench.device.conditions(bench.setup).emulated:
        return None
    files = [_file(bench, *side) for side in (before, after)]
    if None in files:
        return None
    paths = [file.path for file in files if file is not None]
    key = digest([file_sha256(path) for path in paths], bench.device.fingerprint(bench.setup))
    cache = bench.folder / "evidence" / f"layers-{key[:16]}.json"
    if cache.exists():
        stored = json.loads(cache.read_text(encoding="utf8"))
        return TypeAdapter(LayerTimes).validate_python(stored)
    examiner = bench.examiner(before[0].artifact)
    try:
        nodes = [
            profile_nodes(Candidate(path, examiner.feeds(rung.artifact), bench.setup))
            for path, (rung, _) in zip(paths, (before, after), strict=True)
        ]
    except EdgekdError as error:  # an explanation is not worth the run
        bench.progress.say(f"the report has no times per operator: {one_line(error)}")
        return None
    found = LayerTimes(
        before=f"{before[0].title} {before[1]}",
        after=f"{after[0].title} {after[1]}",
        operators=compare_operators(*nodes),
    )
    write_json(cache, TypeAdapter(LayerTimes).dump_python(found, mode="json"))
    return found


def _file(bench: Bench, rung: Rung, label: str) -> File | None:
    files = files_of(rung.artifact, bench.recipe.permitted)
    return next((file for file in files if file.label == label), None)


def compare_operators(before: Sequence[Node], after: Sequence[Node]) -> tuple[OperatorTime, ...]:
    """Return the time of each operator in both files, those that take most first."""
    names = dict.fromkeys(_plain(node) for node in (*before, *after))
    found = [
        OperatorTime(
            operator=name,
            before_s=sum(node.time_s for node in before if _plain(node) == name),
            after_s=sum(node.time_s for node in after if _plain(node) == name),
            before_nodes=sum(_plain(node) == name for node in before),
            after_nodes=sum(_plain(node) == name for node in after),
        )
        for name in names
    ]
    return tuple(sorted(found, key=lambda one: -max(one.before_s, one.after_s)))


def _plain(node: Node) -> str:
    """Return the operator as the model names it: QLinearConv and FusedConv are both Conv."""
    return FORMS.sub("", node.operator)
