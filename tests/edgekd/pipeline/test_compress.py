"""The main job on a tiny real task: the ladder, what ships, what a second run does again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgekd.artifact import Artifact, open_artifact
from edgekd.errors import DataError, NotKnownYet, RunFolderError
from edgekd.pipeline.compress import Result, compress
from edgekd.pipeline.export import Export
from edgekd.pipeline.preflight import forecast_networks
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.stage import run_step
from edgekd.progress import Silent
from edgekd.prune.step import Prune
from edgekd.recipe.recipe import load_recipe, parse_recipe
from edgekd.step import Context, Opened, Preview, Step
from edgekd.store import file_sha256


def again(job: Path, out: Path, *changes: str) -> Result:
    """Run the recipe in `out` once more, with changes."""
    recipe = load_recipe(job / "bars.toml", changes=changes)
    return compress(recipe, root=job, out=out, command="edgekd compress bars.toml")


def record(out: Path) -> dict[str, Any]:
    """What the run wrote down."""
    content: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf8"))
    return content


def own_files(rung: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was seen of the files that the stage itself made."""
    judged = {found["variant"] for found in rung["evidence"]["findings"]}
    files = rung["evidence"]["files"]
    return [file for file in files if file["variant"] in judged and not file["preview"]]


def stages(out: Path) -> dict[str, dict[str, str]]:
    """The hash of every file of every finished stage."""
    found = sorted((out / "stages").iterdir())
    return {folder.name: dict(open_artifact(folder).files) for folder in found}


def copy_of(finished: Path, tmp_path: Path) -> Path:
    """A run of one's own, to go on with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_ladder_has_a_rung_for_every_step(finished: Path) -> None:
    content = record(finished)
    assert [r["title"] for r in content["rungs"]] == ["teacher", "distill", "prune", "quantize"]
    for rung in content["rungs"]:
        (own,) = own_files(rung)
        assert own["latency_s"]["low"] <= own["latency_s"]["value"] <= own["latency_s"]["high"]
        assert own["peak_memory_bytes"] > 1e6
        assert own["facts"]["size_bytes"] > 0
        assert own["facts"]["macs"] > 0
        top1 = own["metrics"]["top-1"]
        assert top1["n"] == content["data"]["splits"]["validation"]
        assert 0 <= top1["low"] <= top1["value"] <= top1["high"] <= 100


def test_every_file_is_held_against_its_float_reference(finished: Path) -> None:
    """A float file against PyTorch, at the edges too; an INT8 file against its float file."""
    for rung in record(finished)["rungs"]:
        for file in rung["files"] if "files" in rung else rung["evidence"]["files"]:
            compared = {row["reference"] for row in file["fidelity"]}
            if file["variant"] == "fp32":
                assert compared == ({"PyTorch"} if rung["title"] != "quantize" else set())
                assert all(row["relative"] < 1e-4 for row in file["fidelity"] if not row["note"])
            else:
                assert compared == {"fp32"}
                assert all(row["snr_db"] > 0 for row in file["fidelity"])
    page = (finished / "report.html").read_text(encoding="utf8")
    assert "a batch of 7" in page
    assert "validation samples" in page


def test_what_ships_is_the_fastest_kept_file(finished: Path) -> None:
    content = record(finished)
    final = content["final"]
    kept = {r["title"] for r in content["rungs"] if r["outcome"] == "kept"}
    assert {f["title"] for f in final["files"]} == kept
    ships = final["files"][final["chosen"]]
    fastest = min(f["latency_s"]["value"] for f in final["files"])
    assert ships["latency_s"]["low"] <= fastest * 1.2


def test_every_verdict_follows_from_its_numbers(
    finished: Path, lawful: Callable[[Mapping[str, Any]], None]
) -> None:
    lawful(record(finished))


def test_every_stage_starts_from_the_last_that_was_kept(finished: Path) -> None:
    teacher, *others = record(finished)["rungs"]
    parameters = {r["title"]: own_files(r)[0]["facts"]["parameters"] for r in (teacher, *others)}
    before = teacher
    for rung in others:
        assert rung["history"][: len(before["history"])] == before["history"]
        added = [entry["name"] for entry in rung["history"][len(before["history"]) :]]
        assert added == [rung["title"], "export"][: 1 if rung["title"] == "quantize" else 2]
        if rung["title"] == "quantize":  # the same weights in 8 bits; pixels need no mean there
            assert parameters[before["title"]] - parameters["quantize"] in (0, 1)
        else:
            assert parameters[rung["title"]] < parameters[before["title"]]
        before = rung if rung["outcome"] == "kept" else before
    (quantized,) = own_files(others[-1])
    assert quantized["facts"]["int8_share"] > 0.9


def test_the_quantized_file_says_what_of_it_is_not_int8(finished: Path) -> None:
    """It runs whole in INT8 here, so that lint finds nothing of weight in it."""
    lint = record(finished)["rungs"][-1]["lint"]["int8"]
    assert (lint["runtime"], lint["run_here"]) == ("cpu", True)
    assert lint["int8_layers"] == lint["layers"] > 0
    assert {group["weight"] for group in lint["groups"]} <= {"note"}


def test_the_float_file_of_the_bundle_is_linted_at_the_stage_that_made_it(finished: Path) -> None:
    content = record(finished)
    ships = content["final"]["files"][content["final"]["chosen"]]["title"]
    (linted,) = (rung for rung in content["rungs"] if "fp32" in rung["lint"])
    assert linted["title"] == ("prune" if ships == "quantize" else ships)
    lint = linted["lint"]["fp32"]
    assert (lint["runtime"], lint["int8_layers"], lint["left"]) == ("cpu", 0, 0)
    assert lint["layers"] > 0


def test_splits_are_written_and_disjoint(finished: Path) -> None:
    splits = json.loads((finished / "splits.json").read_text(encoding="utf8"))
    parts = {k: set(splits[k]) for k in ("train", "validation", "test")}
    assert parts["train"] | parts["validation"] | parts["test"] == set(range(600))
    assert sum(len(p) for p in parts.values()) == 600
    assert set(splits["calibration"]) < parts["train"]


def test_a_finished_run_leaves_nothing_half(finished: Path) -> None:
    names = [p.name for p in finished.rglob("*")]
    assert not [n for n in names if "partial" in n or n == "work"]


def test_a_second_run_trains_nothing_and_gives_the_same(finished: Path, job: Path) -> None:
    before, record_before = stages(finished), record(finished)
    bundle = {p: file_sha256(p) for p in (finished / "bundle").rglob("*.onnx")}
    again(job, finished)
    assert stages(finished) == before
    assert record(finished) == record_before
    assert {p: file_sha256(p) for p in (finished / "bundle").rglob("*.onnx")} == bundle


def test_a_new_opset_trains_nothing_again(finished: Path, job: Path) -> None:
    """Other ONNX bytes change no key of a step that trains, and the opset is in the export's."""
    recipe = load_recipe(job / "bars.toml")
    bench = set_up(recipe, root=job, folder=finished, progress=Silent())
    student = next(
        open_artifact(f) for f in (finished / "stages").iterdir() if is_student_export(f)
    )
    other = Artifact(
        student.folder,
        {n: h[::-1] if n.endswith(".onnx") else h for n, h in student.files.items()},
    )
    prune, quantize = recipe.steps[1], recipe.steps[2]
    context, changed = bench.context(student), bench.context(other)
    assert prune.key(student, context) == prune.key(other, changed)
    assert recipe.steps[0].key(student, context) == recipe.steps[0].key(other, changed)
    assert quantize.key(student, context) != quantize.key(other, changed)
    assert Export(opset=20).key(student, context) != Export(opset=19).key(student, context)


def is_student_export(folder: Path) -> bool:
    """Whether a stage folder is the exported student."""
    return [e["name"] for e in open_artifact(folder).history] == [
        "teacher",
        "export",
        "distill",
        "export",
    ]


def test_a_new_budget_measures_nothing_again(finished: Path, job: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    old = {p.name: file_sha256(p) for p in (out / "evidence").iterdir() if "final" not in p.name}
    stages_before = stages(out)
    result = again(job, out, "budget.max_latency='1 us'")
    assert stages(out) == stages_before
    new = {p.name: file_sha256(p) for p in (out / "evidence").iterdir() if "final" not in p.name}
    assert new == old
    assert result.over_budget is not None
    assert "1 us: missed by " in result.over_budget
    assert (out / "bundle" / "manifest.json").exists()  # kept, and marked


def test_the_budget_is_met_by_the_file_that_ships(
    finished: Path, job: Path, tmp_path: Path
) -> None:
    """A file that is small and not proven slower does not ship in place of one that is in time."""
    out = copy_of(finished, tmp_path)
    path = next(p for p in (out / "evidence").glob("final-*.json") if "session" not in p.name)
    final = json.loads(path.read_text(encoding="utf8"))
    fast = final["files"][-1]
    for i, file in enumerate(final["files"]):
        at = 1.0e-3 if file is fast else 1.2e-3
        file["latency_s"] = {"value": at, "low": at / 1.3, "high": at * 1.3, "n": 6}
        file.update(size_bytes=1000 + i, level=True)
    final["chosen"] = 0
    path.write_text(json.dumps(final), encoding="utf8")

    result = again(job, out, "budget.max_latency='1.1 ms'")
    assert result.over_budget is None
    assert result.record.ships.title == fast["title"]


def test_a_folder_of_another_recipe_is_refused(finished: Path, job: Path) -> None:
    with pytest.raises(RunFolderError, match="contains a run of the recipe 'bars', not of 'other'"):
        again(job, finished, "name=other")


def test_a_damaged_stage_is_named(finished: Path, job: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    victim = next((out / "stages").glob("prune-*")) / "model.pt"
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    with pytest.raises(RunFolderError, match=r"model.pt was changed after this run wrote it"):
        again(job, out)


def test_a_step_that_can_remove_nothing_is_skipped_and_the_job_goes_on(
    finished: Path, job: Path, tmp_path: Path
) -> None:
    out, change = copy_of(finished, tmp_path), "steps.1.multiple=64"  # more than any width
    first = again(job, out, change).record
    student, prune, quantize = first.rungs[1:]
    assert (prune.title, prune.outcome, prune.kept) == ("prune", "skipped", False)
    assert "removes nothing" in prune.reasons[0]
    assert quantize.outcome != "skipped"
    before = first.rungs[1 if student.kept else 0]
    assert [e["name"] for e in quantize.history] == [
        *(e["name"] for e in before.history),
        "quantize",
    ]
    assert (out / "bundle" / "manifest.json").exists()
    page = (out / "report.html").read_text(encoding="utf8")
    assert page.count('<span class="pill skipped">skipped</span>') == 1
    assert "removes nothing" in page
    assert again(job, out, change).record == first  # a resume replays it


def test_a_file_with_nothing_to_quantize_ships_as_it_is(job: Path, tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    plain (float[N, 1, 24, 24] x) => (float[N, 3] y)
    <int64[1] from = {0}, int64[1] to = {3}, int64[1] axis = {1}>
    { flat = Flatten(x)  y = Slice(flat, from, to, axis) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "plain.onnx")
    table = {
        **{"name": "plain", "allow_poor_teacher": True},
        "model": {"onnx": str(tmp_path / "plain.onnx"), "input": {"mean": 60.0, "std": 60.0}},
        "data": {"path": "bars.npz", "validation": 0.3, "test": 0.2, "calibration": 8},
        "budget": {"max_drop": 50.0},
        "measure": {"rounds": 3, "blocks": 2, "block_s": 0.001},
        "steps": [{"name": "quantize", "samples": 8}],
    }
    result = compress(parse_recipe(table, origin="test"), root=job, out=tmp_path / "run")
    teacher, quantize = result.record.rungs
    assert quantize.outcome == "skipped"
    assert "nothing in model.fp32.onnx can be quantized" in quantize.reasons[0]
    assert result.record.ships.title == teacher.title
    assert (result.bundle / "model.fp32.onnx").exists()


def test_what_is_skipped_is_known_before_any_work(finished: Path, job: Path) -> None:
    """All widths are the least multiple: nothing to cut, for a student or by pruning."""
    changes = ["model.options={width=8}", "steps.0.student={from='teacher'}"]
    recipe = load_recipe(job / "bars.toml", changes=changes)
    bench = set_up(recipe, root=job, folder=finished, progress=Silent(), export=False)
    networks = forecast_networks(recipe, bench.context(None))
    assert [n.title for n in networks] == ["teacher", "distill", "prune"]
    assert networks[0].parameters
    for network in networks[1:]:
        assert network.parameters is None
        assert network.note.startswith("skipped: ratio")


class Later(Prune):
    """Finds what to remove only when it runs."""

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        raise NotKnownYet("found by a search")


def test_what_follows_an_unknown_network_is_not_known_before_either(
    finished: Path, job: Path
) -> None:
    recipe = load_recipe(job / "bars.toml")
    student, prune, quantize = recipe.steps
    steps = (student, Later(), prune, quantize)
    bench = set_up(recipe, root=job, folder=finished, progress=Silent(), export=False)
    networks = forecast_networks(recipe.model_copy(update={"steps": steps}), bench.context(None))
    assert [n.note for n in networks] == ["", "", "found by a search", "known when prune has run"]


class Greedy(Step):
    """Reads the data without having declared that it needs it."""

    name: str = "greedy"

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        (folder / "count").write_text(str(context.data.count("train")))


def test_what_a_step_did_not_declare_is_withheld(finished: Path, tmp_path: Path) -> None:
    teacher = open_artifact(next((finished / "stages").glob("teacher-*")))
    bare: dict[str, Any] = dict.fromkeys(("task", "data", "device", "budget"))
    whole = Context(**bare, teachers=(), seed=0, root=tmp_path, identity={})
    with pytest.raises(AttributeError):
        run_step(Greedy(), teacher, whole, tmp_path)
    assert not [p for p in tmp_path.iterdir() if not p.name.endswith(".partial")]


def test_no_context_and_no_examiner_holds_the_test_split(finished: Path, job: Path) -> None:
    recipe = load_recipe(job / "bars.toml")
    bench = set_up(recipe, root=job, folder=finished, progress=Silent())
    held_out = set(bench.splits.test.tolist())
    for split in ("train", "calibration", "validation"):
        seen = [b.index for b in bench.context(None).data.batches(split, size=64)]
        assert not held_out & set(np.concatenate(seen).tolist())
    with pytest.raises(DataError, match="test"):
        bench.context(None).data.count("test")
