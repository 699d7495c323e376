"""Why a stage is not kept, what to try next, and where the time of a run went."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from edgekd.artifact import Variant
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.evidence import FileEvidence
from edgekd.evaluation.gate import Fault
from edgekd.evaluation.record import Record, from_json
from edgekd.evaluation.results import LayerTimes, OperatorTime, RungRecord
from edgekd.evaluation.spent_time import Spent
from edgekd.recipe.overrides import changed
from edgekd.report.run.own_sessions import explain_rows
from edgekd.report.run.spent import duration, spent_line
from edgekd.report.run.table import outcome
from edgekd.report.run.why import (
    ci_commands,
    explain,
    explain_stage,
    explain_variant,
    next_steps,
    unconfirmed,
)
from edgekd.report.run.write import page
from tests.edgekd.report.conftest import CONDITIONS

TIMES = LayerTimes(
    before="prune fp32",
    after="quantize int8",
    operators=(
        OperatorTime(operator="Conv", before_s=50e-6, after_s=80e-6, before_nodes=4, after_nodes=4),
        OperatorTime(
            operator="QuantizeLinear", before_s=0, after_s=9e-6, before_nodes=0, after_nodes=3
        ),
        OperatorTime(operator="Relu", before_s=1e-6, after_s=0, before_nodes=1, after_nodes=0),
    ),
)
STEPS = {
    "distill": {"train": {"epochs": 12}, "student": {"from": "teacher", "macs": 0.5}},
    "prune": {"ratio": 0.3, "recover": {"epochs": 6}},
    "quantize": {"samples": 512, "variants": ["int8"]},
}


@pytest.fixture
def record(content: dict[str, Any]) -> Record:
    """A run whose steps have their options."""
    for step in content["recipe"]["steps"]:
        step.update(STEPS[step["name"]])
    return from_json(content)


def faulty(record: Record, title: str, fault: Fault) -> RungRecord:
    """A stage of the record, with that against each of its variants."""
    rung = next(rung for rung in record.rungs if rung.title == title)
    rulings = tuple(replace(one, kept=False, faults=(fault,)) for one in rung.rulings)
    return replace(rung, outcome="rolled back", rulings=rulings)


def test_the_operators_that_became_slower_are_named() -> None:
    words = " ".join(explain(TIMES))
    assert "Conv 50 µs → 80 µs" in words
    assert "QuantizeLinear is new, 9 µs" in words
    assert "not fused: 3 QuantizeLinear, taking 9 µs" in words
    assert "Relu" not in words
    equal = replace(TIMES, operators=(TIMES.operators[2],))
    assert "no operator became slower" in " ".join(explain(equal))


def test_a_copy_that_takes_no_time_is_no_reason() -> None:
    few = replace(TIMES, operators=(replace(TIMES.operators[1], after_s=1e-6), TIMES.operators[2]))
    slow = OperatorTime(operator="GRU", before_s=4e-4, after_s=4e-4, before_nodes=1, after_nodes=1)
    words = " ".join(explain(replace(few, operators=(slow, *few.operators))))
    assert "not fused" not in words


def test_layers_that_stay_in_float_are_named_with_their_share(record: Record) -> None:
    rung = next(rung for rung in record.rungs if rung.outcome == "rolled back")
    assert rung.evidence is not None
    assert "float" not in " ".join(explain_stage(rung))
    shares = {"Conv": 0.004, "GRU": 0.9, "Gather": 0.06}

    def little(file: FileEvidence) -> FileEvidence:
        facts = replace(file.facts, int8_share=0.1, int8_bytes_share=0.03, float_weights=shares)
        return replace(file, facts=facts)

    evidence = replace(
        rung.evidence,
        files=tuple(map(little, rung.evidence.files)),
        findings=tuple(replace(one, shrink=1.01) for one in rung.evidence.findings),
    )
    told = replace(rung, evidence=evidence)
    assert explain_stage(told)[0].startswith(
        "recurrent layers (GRU) stay in float here and hold 90 % of the weights"
    )
    assert not any("gate=false" in command for _, command in next_steps(record, told))
    assert any("gate=false" in command for _, command in next_steps(record, rung))
    rungs = tuple(told if one is rung else one for one in record.rungs)
    shown = replace(record, rungs=rungs)
    for text in (" ".join(" ".join(outcome(shown)).split()), page(shown)):
        assert "ecurrent layers (GRU) stay in float" in text


@pytest.mark.parametrize(
    ("title", "fault", "wanted"),
    [
        ("distill", "quality", "steps.0.train.epochs=24"),
        ("distill", "quality", "steps.0.student.macs=0.75"),
        ("distill", "gain not shown", "steps.0.student.macs=0.3"),
        ("prune", "quality", "ratio=0.15"),
        ("prune", "gain not shown", "measure.rounds=20"),
        ("prune", "gain not shown", "ratio=0.45"),
        ("quantize", "quality", "samples=2048"),
        ("quantize", "slower", "gate=false"),
    ],
)
def test_every_fault_has_commands_that_work(
    record: Record, title: str, fault: Fault, wanted: str
) -> None:
    """What is offered can be put into the recipe."""
    commands = [command for _, command in next_steps(record, faulty(record, title, fault))]
    assert any(wanted in command for command in commands)
    for command in commands:
        words = command.replace("'", "").split(" --set ")[1:]
        table = changed(dict(record.recipe), words)
        assert table != dict(record.recipe)


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("edgekd compress --model net.py:net --data d", "--data d --student net.py:build"),
        ("edgekd compress r.toml", """--set 'steps.0.student={build="net.py:build"}'"""),
        ("edgekd.compress('r')", """changes=['steps.0.student={build="net.py:build"}'])"""),
    ],
)
def test_what_cannot_be_cut_further_is_not_cut_more(
    record: Record, command: str, wanted: str
) -> None:
    rung = faulty(replace(record, command=command), "distill", "gain not shown")
    assert rung.evidence is not None
    teacher = record.rungs[0].files[0].facts.parameters
    for kept, is_more in ((0.4, True), (0.957, False)):
        parameters = round(kept * teacher)
        files = tuple(
            replace(one, facts=replace(one.facts, parameters=parameters))
            for one in rung.evidence.files
        )
        told = replace(rung, evidence=replace(rung.evidence, files=files))
        offered = dict(next_steps(replace(record, command=command), told))
        assert ("cut more" in offered) == is_more
        assert is_more or offered["train a student of your own"].endswith(wanted)


@pytest.mark.parametrize("own", ["", ", changes=['effort=0.1']"])
def test_after_a_call_in_python_the_call_is_offered_again(record: Record, own: str) -> None:
    called = replace(record, command=f"edgekd.compress(model=net, data=data{own})")
    commands = [command for _, command in next_steps(called, faulty(called, "prune", "quality"))]
    assert len(commands) == 3
    for command in commands:
        call = ast.parse(command, mode="eval").body
        assert isinstance(call, ast.Call)
        changes = {word.arg: word.value for word in call.keywords}["changes"]
        listed = ast.literal_eval(changes)
        assert listed[:-1] == (["effort=0.1"] if own else [])
        assert changed(dict(record.recipe), listed) != dict(record.recipe)


def test_a_student_of_its_own_builder_is_not_cut(content: dict[str, Any]) -> None:
    """A recipe with every default has a share for it too, which means nothing."""
    student = {"build": "net.py:small", "macs": 0.5}
    for step in content["recipe"]["steps"]:
        step.update({"student": student} if step["name"] == "distill" else {})
    own = from_json(content)
    tries = next_steps(own, faulty(own, "distill", "quality"))
    assert tries
    assert not any("macs" in command for _, command in tries)


def test_more_samples_are_offered_where_there_are_more(record: Record) -> None:
    splits = {**record.data.splits, "train": 1500}
    for calibration, offered in ((1024, "samples=1500"), (1500, "")):
        data = replace(record.data, splits={**splits, "calibration": calibration})
        few = replace(record, data=data)
        text = " ".join(c for _, c in next_steps(few, faulty(few, "quantize", "quality")))
        assert offered in text
        assert ("samples=" in text) == bool(offered)


@pytest.mark.parametrize(
    ("provider", "offered"),
    [("CPUExecutionProvider", ""), ("XnnpackExecutionProvider", '["int8-xnnpack"]')],
)
def test_only_the_layout_that_the_runtime_needs_is_offered(
    record: Record, provider: str, offered: str
) -> None:
    final = replace(record.final, conditions=replace(CONDITIONS, provider=provider))
    here = replace(record, final=final)
    text = " ".join(c for _, c in next_steps(here, faulty(here, "quantize", "slower")))
    assert offered in text
    assert ("variants=" in text) == bool(offered)


@pytest.mark.parametrize(
    "command",
    [
        "edgekd compress r.toml --set measure.rounds=3 --set effort=0.1",
        "edgekd compress r.toml --set 'measure.rounds = 3' --set effort=0.1",
        "edgekd compress r.toml --set=measure.rounds=3 --set effort=0.1",
        "edgekd.compress('r', changes=['measure.rounds=3', 'effort=0.1'])",
    ],
)
def test_a_later_change_of_a_key_takes_the_earlier_ones_place(record: Record, command: str) -> None:
    again = replace(record, command=command)
    offered = dict(next_steps(again, faulty(again, "prune", "gain not shown")))["measure longer"]
    assert offered.count("measure.rounds") == 1
    assert "measure.rounds=20" in offered
    assert "effort=0.1" in offered


def test_what_the_last_session_does_not_confirm_is_said(record: Record) -> None:
    assert not unconfirmed(record)
    wide = replace(record.ships, speedup=Estimate(1.11, 0.57, 1.84, 6))
    files = tuple(wide if file is record.ships else file for file in record.final.files)
    doubted = replace(record, final=replace(record.final, files=files))
    said = unconfirmed(doubted)
    assert "does not confirm that: 1.11x [0.57, 1.84]. Trust the last session" in said
    assert "--set measure.rounds=20" in said
    assert said in outcome(doubted)
    assert "does not confirm that" in page(doubted)


def test_rows_that_contradict_their_ratio_are_explained(record: Record) -> None:
    assert not explain_rows(record)
    first, second, *rest = record.rungs
    assert first.evidence is not None
    assert second.evidence is not None
    slow = Estimate(0.92, 0.85, 0.98, 3)  # against a teacher that seems slower in the table
    assert first.judged[0][0].latency_s is not None
    faster = replace(first.judged[0][0].latency_s, value=0.99 * first.judged[0][0].latency_s.value)
    own = {id(file) for file, _, _ in second.judged}
    files = tuple(
        replace(file, latency_s=faster) if id(file) in own else file
        for file in second.evidence.files
    )
    findings = tuple(
        replace(one, speedup=slow, compared=(one.variant, "fp32"))
        for one in second.evidence.findings
    )
    evidence = replace(second.evidence, files=files, findings=findings)
    odd = replace(record, rungs=(first, replace(second, evidence=evidence), *rest))
    said = explain_rows(odd)
    assert "each from the session of its own stage" in said
    assert "the ratio is 0.92x [0.85, 0.98], and that decides" in said
    assert said in outcome(odd)
    assert "each from the session of its own stage" in page(odd).partition("<main>")[0]


def test_work_of_other_programs_stands_near_the_headline(record: Record) -> None:
    for used, said in ((0.3, False), (2.4, True)):
        conditions = replace(CONDITIONS, cores=2, other_cores=used)
        busy = replace(record, final=replace(record.final, conditions=conditions))
        for text in (" ".join(outcome(busy)), page(busy).partition("<main>")[0]):
            words = "programs used 2.0 of this machine's 2 cores while the last session"
            assert (words in unescape(text)) == said


def test_each_variant_is_explained_by_its_own_profile(record: Record) -> None:
    rung = next(rung for rung in record.rungs if rung.outcome == "rolled back")
    assert rung.evidence is not None
    file, ruling = rung.evidence.own[0], replace(rung.rulings[0], kept=False, reasons=("slower",))
    variants: tuple[Variant, ...] = ("fp32", "int8-weights", "int4")
    part = replace(file.facts, int8_share=0.9, int8_bytes_share=0.3, float_weights={"Gather": 0.7})
    whole = replace(part, int8_share=0.0, int8_bytes_share=0.9, float_weights={})
    files = [
        replace(file, label=variant, variant=variant, facts=part if variant == "fp32" else whole)
        for variant in variants
    ]
    several = replace(
        rung,
        outcome="rolled back",
        rulings=tuple(replace(ruling, variant=variant) for variant in variants),
        layers={"int4": TIMES},
        evidence=replace(
            rung.evidence,
            files=tuple(files),
            findings=tuple(replace(rung.evidence.findings[0], variant=v) for v in variants),
        ),
    )
    assert [len(explain_variant(several, variant)) for variant in variants] == [1, 0, 3]
    words = explain_stage(several)
    assert words[0].startswith("fp32: tables of embeddings (Gather) stay in float")
    assert all(text.startswith("int4: ") for text in words[1:])
    shown = page(
        replace(record, rungs=tuple(several if one is rung else one for one in record.rungs))
    )
    assert shown.count("Time per operator, before and after") == 1
    assert shown.count("tables of embeddings (Gather) stay") == 0  # it begins a sentence
    assert shown.count("Tables of embeddings (Gather) stay") == 1


def test_a_kept_stage_needs_no_advice(record: Record) -> None:
    assert all(not next_steps(record, rung) for rung in record.rungs if rung.kept)


def test_page_and_terminal_say_it(record: Record) -> None:
    rolled = next(rung for rung in record.rungs if rung.outcome == "rolled back")
    rungs = tuple(replace(r, layers={"fp32": TIMES}) if r is rolled else r for r in record.rungs)
    spent = (Spent("teacher", "train", 90.0), Spent("teacher", "measure", 30.0))
    told = replace(record, rungs=rungs, spent=spent, layers=TIMES)
    for text in (" ".join(outcome(told)), page(told)):
        assert "Conv 50 µs → 80 µs" in text
        assert "--set" in text
        assert "ime 2 min 00 s: training 75 %, measuring speed 25 %" in text
    assert all(command in page(told) for command in ci_commands(told))


def test_durations(make: Callable[..., dict[str, Any]]) -> None:
    values = [0.4, 59.4, 60, 185, 3600, 4200]
    words = ["0 s", "59 s", "1 min 00 s", "3 min 05 s", "1 h 00 min", "1 h 10 min"]
    assert [duration(value) for value in values] == words
    assert spent_line(from_json(make())) == ""
