from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.children import Child
from edgekd.benchmarks.conductor import hire_process
from edgekd.benchmarks.measurement import Candidate, Conditions, Session, Setup, Timing
from edgekd.benchmarks.schedule import plan_schedule
from edgekd.benchmarks.session import conduct
from edgekd.benchmarks.stats import latency, noise_floor, speedup, steadiness
from edgekd.errors import MeasureError, ModelError

SMALL = Timing(rounds=3, blocks=4, block_s=0.005, warmup_s=0.01)


@pytest.fixture
def candidate(chain: Callable[..., Path], tmp_path: Path) -> Callable[..., Candidate]:
    def make(name: str, **options: object) -> Candidate:
        feeds = tmp_path / "feeds.npz"
        x = np.random.default_rng(0).standard_normal((3, 8, 128), dtype=np.float32)
        np.savez(feeds, x=x)
        return Candidate(chain(name, **options), feeds)

    return make


def measure(
    candidates: Sequence[Candidate],
    timing: Timing,
    *,
    conditions: Conditions,
    progress: Callable[[float], None] | None = None,
) -> Session:
    schedule = plan_schedule(candidates, timing)
    hire = partial(hire_process, schedule.to_json(), kind=Child)
    known = [conditions] * len(schedule.processes)
    return conduct(schedule, hire, conditions=known, progress=progress)


@pytest.mark.timing
def test_more_work_is_proven_slower_and_equal_work_is_not(
    candidate: Callable[..., Candidate], conditions: Conditions
) -> None:
    files = [
        candidate("a.onnx", layers=4),
        candidate("big.onnx", layers=32),
        candidate("b.onnx", layers=4, label="the same work, other bytes"),
    ]
    shares: list[float] = []
    session = measure(files, SMALL, conditions=conditions, progress=shares.append)
    a, big, b = session.measurements
    floor = noise_floor(session)
    slower = speedup(a, big, floor=floor)
    assert slower.high < 0.5
    assert speedup(big, a, floor=floor).low > 2
    same = speedup(a, b, floor=floor)
    assert same.low < 1 < same.high
    assert a.file_sha256 != b.file_sha256
    assert session.twin.file_sha256 == a.file_sha256
    assert 0.005 <= floor < 1
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for measurement in (a, big, b, session.twin):
        assert measurement.session == a.session
        assert [run.round for run in measurement.runs] == [0, 1, 2]
        assert all(len(run.blocks_s) == 4 for run in measurement.runs)
        assert all(len(block) >= 2 for run in measurement.runs for block in run.blocks_s)
        assert 1e-6 < latency(measurement).value < 0.1


@pytest.mark.timing
def test_the_time_limit_leaves_three_processes(
    candidate: Callable[..., Candidate], conditions: Conditions
) -> None:
    timing = Timing(rounds=9, blocks=5, block_s=0.001, warmup_s=0.001, time_limit_s=1e-3)
    session = measure([candidate("a.onnx")], timing, conditions=conditions)
    (measurement,) = session.measurements
    assert len(measurement.runs) == 3
    assert all(len(run.blocks_s) == 3 for run in measurement.runs)


@pytest.mark.timing
def test_two_processes_are_too_few_to_be_steady(
    candidate: Callable[..., Candidate], conditions: Conditions
) -> None:
    timing = Timing(rounds=2, blocks=3, block_s=0.001, warmup_s=0.001)
    one = candidate("a.onnx")
    pair = Candidate(one.file, one.feeds, Setup(threads=2))
    session = measure([pair], timing, conditions=conditions)
    assert not steadiness(session.measurements[0], floor=0.0).steady


def test_bad_input(
    candidate: Callable[..., Candidate], conditions: Conditions, tmp_path: Path
) -> None:
    good = candidate("a.onnx")
    with pytest.raises(ValueError, match="empty"):
        measure([], SMALL, conditions=conditions)
    nowhere = Candidate(tmp_path / "nowhere.onnx", good.feeds)
    with pytest.raises(ModelError, match=r"nowhere.onnx cannot be read"):
        measure([nowhere], SMALL, conditions=conditions)
    broken = Candidate(tmp_path / "broken.onnx", good.feeds)
    broken.file.write_bytes(good.file.read_bytes()[:1000])
    with pytest.raises(MeasureError, match=r"broken.onnx could not be run"):
        measure([good, broken], SMALL, conditions=conditions)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_child_outlives_a_failure(
    candidate: Callable[..., Candidate], conditions: Conditions, tmp_path: Path
) -> None:
    good = candidate("a.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    pair = [good, Candidate(broken, good.feeds)]
    with pytest.raises(MeasureError):
        measure(pair, SMALL, conditions=conditions)
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _text(p)]
    assert left == []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8", errors="replace")
    except OSError:
        return ""
