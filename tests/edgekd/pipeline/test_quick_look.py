"""A quick look: the whole ladder in short, no bundle, and it says that it decides nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.evaluation.record import QUICK_REMARK, read_record
from edgekd.evaluation.spent_time import TimeLog, read_spent
from edgekd.recipe.recipe import QUICK_EPOCHS, parse_recipe

SMALL = {
    "name": "small",
    "data": {"path": "bars.npz"},
    "model": {"build": "nets.py:teacher", "train": {"epochs": 50}},
    "steps": [{"name": "quantize", "samples": 512}],
}


@pytest.fixture(scope="module")
def looked(job: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run folder of `edgekd compress --quick`, and what was printed."""
    said = subprocess.run(
        [sys.executable, "-m", "edgekd", "compress", "bars.toml", "--quick"],
        cwd=job,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return job / "runs" / "bars-quick", said.stdout


def test_it_shows_every_stage_and_decides_nothing(looked: tuple[Path, str]) -> None:
    folder, printed = looked
    record = read_record(folder)
    assert record.quick
    assert {rung.outcome for rung in record.rungs} == {"kept"}
    assert record.timing.rounds == 3
    assert [len(rung.losses) for rung in record.rungs[:1]] == [QUICK_EPOCHS]
    assert record.rungs[-1].losses == ()  # quantizing trains nothing
    assert (folder / "report.html").read_text(encoding="utf8").count('class="curve"') >= 1
    assert not (folder / "bundle").exists()
    assert QUICK_REMARK in " ".join(printed.split())
    assert QUICK_REMARK in (folder / "report.html").read_text(encoding="utf8")


def test_the_time_of_every_part_is_kept(looked: tuple[Path, str]) -> None:
    record = read_record(looked[0])
    works = {(part.stage, part.work) for part in record.spent}
    assert {(rung.title, "measure") for rung in record.rungs} <= works
    assert ("teacher", "train") in works
    assert all(part.seconds > 0 for part in record.spent)


def test_trainings_and_calibration_are_cut() -> None:
    recipe = parse_recipe({**SMALL, "quick": True}, origin="test")
    training = recipe.working_teacher.training
    assert training is not None
    assert training.epochs == QUICK_EPOCHS
    assert [step.calibration_samples for step in recipe.working_steps] == [128]
    assert [step.calibration_samples for step in recipe.early] == [128]
    assert recipe.timing.rounds < parse_recipe(SMALL, origin="test").timing.rounds


def test_time_inside_of_a_part_is_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    log = TimeLog(tmp_path, stage="prune")
    with log.spend("evaluate"), log.spend("measure"):
        pass
    log.add("measure", 0.001)  # read from disk: no work
    with (tmp_path / "time.jsonl").open("a") as file:
        file.write('{"stage": "cut o')  # a crash
    assert [(s.work, s.seconds) for s in read_spent(tmp_path)] == [
        ("measure", 3.0),
        ("evaluate", 7.0),
    ]
