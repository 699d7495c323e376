"""The memory of a job: estimated from a batch, refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.networks.bounded import Peak
from edgekd.options import Training
from edgekd.pipeline.memory import Kept, check_need, count_kept, keep_peak, training_need

TRAINING = Training(batch_size=64, optimizer="adamw")
CPU = torch.device("cpu")


def kept(network: nn.Module, samples: int) -> Kept:
    with count_kept(network, samples) as found:
        network.train()(torch.randn(samples, 8))
    return found


def test_what_is_kept_for_the_way_back_is_counted_by_hand() -> None:
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    found = kept(network, 4)
    # the input of the first layer (8 numbers a sample), and what ReLU gives (32), once; no weights
    assert found.total_bytes == 4 * 4 * (8 + 32)
    assert found.largest_bytes == 4 * 4 * 32
    need = training_need([found, kept(network, 2)], 1000, TRAINING)
    assert need.sample_bytes == 4 * (8 + 32) + 2 * 4 * 32
    assert need.fixed_bytes == 7 * 1000  # weights, gradients, two states, and three in a checkpoint


def test_what_does_not_grow_with_the_batch_is_not_multiplied() -> None:
    class Tabled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(100, 100))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (self.table.exp() ** 2).sum()  # two tables are kept, whatever x

    need = training_need([kept(Tabled(), 4), kept(Tabled(), 2)], 0, TRAINING)
    assert need.fixed_bytes >= 40_000
    assert need.sample_bytes < 40_000


def test_a_training_that_does_not_fit_is_refused_with_a_batch_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgekd.pipeline.memory.free_bytes", lambda: 4_000)
    need = training_need([kept(nn.Linear(8, 8), n) for n in (4, 2)], 16, TRAINING)
    with pytest.raises(ModelError, match=r"batches of 64 needs about .* 4 kB are free") as caught:
        check_need(need, TRAINING, name="model net.py:build", path="model.train", device=CPU)
    fits = int(str(caught.value).partition("batch_size = ")[2].split()[0])
    assert need.of(fits) <= 3_200 < need.of(2 * fits)
    monkeypatch.setattr("edgekd.pipeline.memory.free_bytes", lambda: 100)
    with pytest.raises(ModelError, match="not even two samples fit: take smaller inputs"):
        check_need(need, TRAINING, name="model net.py:build", path="model.train", device=CPU)


def test_the_peak_of_a_run_is_that_of_all_its_starts(tmp_path: Path) -> None:
    """A start that is only repeated gives the same figure, whatever its process held before."""
    first, again, more = Peak(5000, 5000), Peak(3 * 10**9, 3 * 10**9 - 1000), Peak(2 * 10**9, 10**9)
    assert [keep_peak(tmp_path, found) for found in (first, again, more)] == [first, first, more]
