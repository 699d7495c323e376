"""What work in a child may take, and what is known of memory."""

from __future__ import annotations

import sys
import time

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.networks.bounded import (
    GIB,
    Bounds,
    OutOfBounds,
    free_bytes,
    held_bytes,
    run_bounded,
    watch_peak,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks under torch")
ROOM = Bounds(cpu_s=20, wall_s=600, memory_bytes=GIB)


def test_the_result_of_a_child_comes_back_and_its_errors_too() -> None:
    square = torch.ones(64, 64)
    square @ square  # the threads of this process are running when it forks
    assert run_bounded(lambda: float((square @ square).sum()), ROOM) == 64**3

    def refuse() -> None:
        raise ModelError("one paragraph")

    with pytest.raises(ModelError, match=r"^one paragraph$"):
        run_bounded(refuse, ROOM)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_bounded(lambda: 1 / 0, ROOM)


def test_a_child_is_ended_at_each_of_its_bounds() -> None:
    def grow() -> None:
        kept = []
        while True:
            kept.append(b"x" * (1 << 24))
            time.sleep(0.01)

    def spin() -> None:
        while True:
            pass

    with pytest.raises(OutOfBounds, match=r"more than 0\.2 GB of memory"):
        run_bounded(grow, Bounds(cpu_s=20, wall_s=600, memory_bytes=GIB // 4))
    with pytest.raises(OutOfBounds, match=r"more than 0\.3 s$"):
        run_bounded(lambda: time.sleep(60), Bounds(cpu_s=20, wall_s=0.3, memory_bytes=GIB))
    with pytest.raises(OutOfBounds, match="more than 1 s of processor time"):
        run_bounded(spin, Bounds(cpu_s=1, wall_s=600, memory_bytes=GIB))


def test_memory_is_known_here() -> None:
    free, held = free_bytes(), held_bytes()
    assert free is not None
    assert 0 < free < 1 << 46
    assert 10 << 20 < held < 1 << 46
    with watch_peak() as peak:
        assert len(b"x" * (200 << 20)) > 0
        assert peak().held_bytes == pytest.approx(held, abs=50 << 20)
        assert 190 << 20 < peak().most_bytes - peak().held_bytes < 400 << 20
        assert held_bytes() < held + (150 << 20)  # and given back since
