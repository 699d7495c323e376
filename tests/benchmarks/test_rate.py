"""A fixed rate counts a stall for all frames that had to wait; a closed loop sees one call."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.measurement import Candidate, Timing
from edgekd.devices import open_device

RATE_HZ = 200.0
SECONDS = 2.0
STALL_S = 0.3


class Stall(threading.Thread):
    """Stops a process once, as a busy machine may; knows how long it really stood still."""

    def __init__(self, child: Child) -> None:
        super().__init__()
        self._pid = child.pid
        self.seconds = 0.0

    def run(self) -> None:
        time.sleep(0.5)
        start = time.monotonic()
        os.kill(self._pid, signal.SIGSTOP)
        time.sleep(STALL_S)
        os.kill(self._pid, signal.SIGCONT)
        self.seconds = time.monotonic() - start


@pytest.mark.timing
def test_a_stall_counts_for_all_that_waited(chain: Callable[..., Path], tmp_path: Path) -> None:
    feeds = tmp_path / "f.npz"
    np.savez(feeds, x=np.ones((2, 8, 128), np.float32))
    arguments = arguments_of(Candidate(chain("m.onnx", layers=48), feeds))
    found, stalls = [], []
    for command in ({"rate_hz": RATE_HZ}, {}):
        with Child(arguments, python=sys.executable, name="m", limit_s=60.0) as child:
            child.ask(ready=True)
            child.ask(load=True)
            child.ask(warm=0.05)
            stall = Stall(child)
            stall.start()
            times: list[float] = []
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                times += child.ask(run=SECONDS, **command)["block_s"]
            stall.join()
        found.append(np.array(times))
        stalls.append(stall.seconds)
    frames, calls = found
    # A process goes on some milliseconds after it is told to.
    assert frames.max() == pytest.approx(stalls[0], rel=0.1)
    assert calls.max() == pytest.approx(stalls[1], rel=0.1)
    # Frames queue up while it stands still and are then served one after the other: the k-th frame
    # that was due after the stop waits k periods less, and k calls more, than the first.
    above = 0.01 * len(frames)
    wanted = frames.max() - above * (1 / RATE_HZ - float(np.median(calls)))
    assert np.percentile(frames, 99) == pytest.approx(wanted, rel=0.05)
    assert np.percentile(calls, 99) < wanted / 10  # the same stall, seen by one call alone


@pytest.mark.timing
def test_a_rate_that_cannot_be_held_is_told(chain: Callable[..., Path]) -> None:
    model = chain("m.onnx", layers=16)
    quick = Timing(rounds=2, blocks=2, block_s=0.05, warmup_s=0.01)
    device = open_device("local")
    call_s = bench([model], device=device, timing=quick).rows[0].latency_s.value
    slow = Timing(rounds=2, blocks=2, block_s=0.05, warmup_s=0.01, rate_hz=2 / call_s)
    row = bench([model], device=device, timing=slow).rows[0]
    assert row.late_share is not None
    assert row.late_share > 0.5
    assert row.latency_s.value > 2 * call_s  # the queue grows
