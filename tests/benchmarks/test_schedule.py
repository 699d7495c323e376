from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekd.benchmarks.conductor import IDLE_S, carry_out
from edgekd.benchmarks.measurement import Candidate, Conditions, Sample, Setup, Timing
from edgekd.benchmarks.schedule import Schedule, pack_schedule, plan_schedule, read_schedule
from edgekd.benchmarks.session import assemble, read_session
from edgekd.errors import CandidateError, MeasureError, ModelError

SMALL = Timing(rounds=3, blocks=4, block_s=0.002, warmup_s=0.001)
Call = tuple[int, int, str]


@pytest.fixture
def pair(chain: Callable[..., Path], tmp_path: Path) -> list[Candidate]:
    x = np.random.default_rng(0).standard_normal((3, 8, 128), dtype=np.float32)
    np.savez(tmp_path / "feeds.npz", x=x)
    files = (chain("a.onnx", layers=1), chain("b.onnx", layers=2))
    return [Candidate(file, tmp_path / "feeds.npz") for file in files]


class Recorder:
    """A worker in memory that answers at once and writes down who was asked for what."""

    def __init__(self, index: int, calls: list[Call], energy_j: float | None) -> None:
        self.index, self.calls, self.energy_j = index, calls, energy_j

    def start(self) -> None:
        self.calls.append((len(self.calls), self.index, "start"))

    def ask(self, **command: float) -> dict[str, Any]:
        self.calls.append((len(self.calls), self.index, next(iter(command))))
        sample = {"at_s": 1.0, "own_s": 0.5, "energy_j": self.energy_j}
        return {
            **{"load_s": 0.1, "first_s": 0.1, "harness_s": 1e-7, "sample": sample},
            **{"block_s": [float(self.index)] * 2, "elapsed_s": 2.0, "cpu_s": 2.0},
            **{"parts_s": {"engine": [1.0]}, "peak_memory_bytes": 1000},
        }

    def close(self) -> None:
        self.calls.append((len(self.calls), self.index, "close"))


def record(
    schedule: Schedule, energy_j: float | None = None, **options: Any
) -> tuple[list[Call], list[dict[str, Any]]]:
    """Who was asked for what in which order, and the answers."""
    calls: list[Call] = []
    hire = lambda index: Recorder(index, calls, energy_j)  # noqa: E731
    answers = list(carry_out(schedule.to_json(), hire, **options))
    return calls, answers


def test_a_schedule_read_back_from_json_gives_the_same_calls(pair: list[Candidate]) -> None:
    pair[1] = replace(pair[1], setup=Setup(options=(("a", "1"),)), pipeline=Path("app.py"))
    schedule = plan_schedule(pair, replace(SMALL, rate_hz=30.0, parts=True), seed=7)
    back = Schedule.from_json(json.loads(json.dumps(schedule.to_json(), allow_nan=False)))
    assert back == schedule
    calls, answers = record(schedule)
    assert record(back) == (calls, answers)
    assert [call for _, _, call in calls[:6]] == ["start"] * 3 + ["ready"] * 3


def test_equal_seeds_give_equal_orders_and_others_do_not(pair: list[Candidate]) -> None:
    first, same, other = (plan_schedule(pair, SMALL, seed=seed) for seed in (7, 7, 8))
    assert first.rounds == same.rounds != other.rounds
    assert first.session != same.session
    drawn = {plan_schedule(pair, SMALL).seed for _ in range(4)}
    assert len(drawn) == 4


def test_the_order_is_drawn_as_it_was_when_it_was_drawn_on_the_way(pair: list[Candidate]) -> None:
    """Loading, warming, then each sweep; round after round, from one generator."""
    schedule = plan_schedule(pair, SMALL, seed=7)
    random.seed(7)
    drawn = [[random.sample(range(3), 3) for _ in range(2 + SMALL.blocks)] for _ in range(3)]
    for round_, (load, warm, *sweeps) in zip(schedule.rounds, drawn, strict=True):
        assert [list(round_.load), list(round_.warm)] == [load, warm]
        assert [list(sweep) for sweep in round_.sweeps] == sweeps
    calls, _ = record(schedule)
    asked = [(index, call) for _, index, call in calls if call in ("load", "warm", "run")]
    first = drawn[0]
    wanted = [(i, "load") for i in first[0]] + [(i, "warm") for i in first[1]]
    wanted += [(i, "run") for sweep in first[2:] for i in sweep]
    assert asked[: len(wanted)] == wanted


def test_the_last_process_is_the_twin_of_the_first(pair: list[Candidate]) -> None:
    schedule = plan_schedule(pair, SMALL)
    first, second, twin = schedule.processes
    assert twin == first != second
    assert first.sha256 != second.sha256


def test_pools_of_threads_get_fewer_and_longer_blocks(pair: list[Candidate]) -> None:
    timing = replace(SMALL, blocks=40)
    alone = plan_schedule(pair, timing)
    pooled = plan_schedule([pair[0], replace(pair[1], setup=Setup(threads=2))], timing)
    assert (len(alone.rounds[0].sweeps), alone.block_s) == (40, 0.002)
    assert (len(pooled.rounds[0].sweeps), pooled.block_s) == (10, 0.008)


def test_rounds_go_on_until_they_are_precise(pair: list[Candidate]) -> None:
    schedule = plan_schedule(pair, replace(SMALL, precision=0.01))
    asked: list[None] = []

    def is_precise() -> bool:
        asked.append(None)
        return len(asked) == 3

    _, answers = record(schedule, is_precise=is_precise)
    assert len(answers) == 3 + 2
    assert len(record(schedule)[1]) == 3  # alone a device cannot tell


def test_a_session_ends_at_a_look_where_it_is_decided(pair: list[Candidate]) -> None:
    schedule = plan_schedule(pair, replace(SMALL, rounds=8, looks=(3, 5)))
    asked: list[None] = []

    def is_decided() -> bool:
        asked.append(None)
        return len(asked) == 2

    assert len(record(schedule, is_decided=is_decided)[1]) == 5  # at the second look
    assert len(asked) == 2
    assert len(record(schedule)[1]) == 8  # alone a device does every round


def test_the_machine_rests_once_where_energy_is_counted(
    pair: list[Candidate], conditions: Conditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    schedule = plan_schedule(pair, SMALL, seed=7)
    _, answers = record(schedule, energy_j=2.0)
    assert slept == [IDLE_S]
    session = assemble(schedule, answers, [conditions] * 3)
    sample = Sample(at_s=1.0, own_s=0.5, energy_j=2.0)
    assert session.idle == (sample, sample)
    assert session.seed == 7
    assert session.twin.runs[2].blocks_s == ((2.0, 2.0),) * 4


def carry_out_alone(schedule: Path) -> tuple[int, Path]:
    """In a process without edgekd, from the packed folder alone."""
    words = ["conductor.py", schedule.name, "answers.jsonl"]
    done = subprocess.run(
        [sys.executable, "-S", *words],
        cwd=schedule.parent,
        env={"PYTHONPATH": _packages()},
        check=False,
        timeout=60,
    )
    return done.returncode, schedule.with_name("answers.jsonl")


def _packages() -> str:
    """Where numpy and onnxruntime are; without site's start-up edgekd is not found there."""
    return str(Path(np.__file__).parent.parent)


@pytest.mark.timing
def test_another_process_carries_a_packed_schedule_out(
    pair: list[Candidate], conditions: Conditions, tmp_path: Path
) -> None:
    model = onnx.load(pair[1].file)
    onnx.save(model, pair[1].file, save_as_external_data=True, location="w.data", size_threshold=0)
    schedule = plan_schedule(pair[1:], replace(SMALL, rounds=2), seed=7)
    packed = pack_schedule(schedule, tmp_path / "packed")
    moved = shutil.move(packed.parent, tmp_path / "board")
    for path in tmp_path.glob("*.*"):
        path.unlink()  # the folder needs nothing of where it came from
    code, answers = carry_out_alone(Path(moved) / packed.name)
    assert code == 0
    session = read_session(schedule, answers, [conditions] * 2)
    assert session.measurements[0].file_sha256 == schedule.processes[0].sha256
    for measurement in (*session.measurements, session.twin):
        assert [run.round for run in measurement.runs] == [0, 1]
        assert all(len(run.blocks_s) == 4 for run in measurement.runs)
        assert all(len(run.samples) == 5 for run in measurement.runs)
    here = read_schedule(Path(moved) / packed.name)
    assert here.rounds == schedule.rounds
    assert all(process.file.is_file() for process in here.processes)


def test_what_does_not_load_there_is_named(
    pair: list[Candidate], conditions: Conditions, tmp_path: Path
) -> None:
    schedule = plan_schedule(pair, SMALL)
    packed = pack_schedule(schedule, tmp_path / "packed")
    (broken,) = packed.parent.glob("files/*/b.onnx")
    broken.write_bytes(b"no model")
    code, answers = carry_out_alone(packed)
    assert code == 1
    with pytest.raises(CandidateError, match=r"b\.onnx could not be run") as caught:
        read_session(schedule, answers, [conditions] * 3)
    assert caught.value.index == 1
    answers.write_text("", encoding="utf8")
    with pytest.raises(MeasureError, match="after 0 rounds: the device has not finished"):
        read_session(schedule, answers, [conditions] * 3)


def test_what_cannot_be_planned(pair: list[Candidate], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        plan_schedule([], SMALL)
    with pytest.raises(ModelError, match=r"nowhere.onnx cannot be read"):
        plan_schedule([replace(pair[0], file=tmp_path / "nowhere.onnx")], SMALL)


def test_a_packed_model_has_all_its_parts(pair: list[Candidate], tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("ir.xml", "ir.bin", "app.py"):
        (folder / name).write_text(name, encoding="utf8")
    pair[0] = replace(pair[0], file=folder / "ir.xml", pipeline=folder / "app.py")
    pair[1] = replace(pair[1], file=pair[1].file.rename(folder / "no_suffix"))
    schedule = plan_schedule(pair, SMALL)
    packed = read_schedule(pack_schedule(schedule, tmp_path / "packed"))
    ir, unnamed, twin = packed.processes
    assert ir.file.with_suffix(".bin").read_text(encoding="utf8") == "ir.bin"
    assert ir.pipeline is not None
    assert ir.pipeline.read_text(encoding="utf8") == "app.py"
    assert unnamed.file.read_bytes() == pair[1].file.read_bytes()
    assert twin == ir
    assert len({ir.feeds, unnamed.feeds}) == 1  # each file is sent once


@pytest.mark.parametrize("content", [None, "no JSON"])
def test_a_schedule_that_cannot_be_read_is_a_malformed_call(
    tmp_path: Path, content: str | None
) -> None:
    schedule = tmp_path / "schedule.json"
    if content is not None:
        schedule.write_text(content, encoding="utf8")
    command = [sys.executable, "-m", "edgekd.benchmarks.conductor", str(schedule), "answers.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "schedule.json is not a schedule that can be read" in done.stderr
    assert "Traceback" not in done.stderr
