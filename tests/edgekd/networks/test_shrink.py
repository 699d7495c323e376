"""The search for channels ends, whatever the network."""

from __future__ import annotations

import sys
import time
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import NothingToDo
from edgekd.networks.blueprint import Blueprint
from edgekd.networks.bounded import GIB, Bounds
from edgekd.networks.channels.cut import find_cut
from edgekd.networks.shrink import find_in_bounds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks under torch")
SHORT = Bounds(cpu_s=1, wall_s=600, memory_bytes=GIB)


class Loop(nn.Module):
    """A recurrent network in a loop of Python: its graph has an operator for every turn."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.turns = turns
        self.enter, self.again, self.out = nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 64)
        for _ in range(self.turns):
            state = torch.tanh(self.enter(x) + self.again(state))
        return self.out(state)  # type: ignore[no-any-return]


def test_a_trace_without_end_is_ended_and_not_tried_again() -> None:
    work = partial(find_cut, Loop(10**7), (torch.randn(2, 4),), ratio=0.5)
    blueprint = Blueprint("net.py:loop", {})
    with pytest.raises(
        NothingToDo, match=r"more than 1 s of processor time.*your own can be the student"
    ):
        find_in_bounds(work, blueprint, bounds=SHORT)
    start = time.process_time()
    with pytest.raises(NothingToDo, match="more than 1 s"):
        find_in_bounds(work, blueprint, bounds=SHORT)
    assert time.process_time() - start < 0.5


def test_within_the_bounds_the_same_is_found_as_without() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    work = partial(find_cut, network, (torch.randn(2, 4),), ratio=0.5)
    assert find_in_bounds(work, Blueprint("net.py:mlp", {})) == work()
