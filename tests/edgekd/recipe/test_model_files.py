"""A file of weights that was given as the model is called what it is, without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.recipe.model_files import refuse_weights


@pytest.mark.parametrize("new", [True, False])
def test_a_pickled_network_is_told_from_weights(tmp_path: Path, *, new: bool) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    whole, weights = str(tmp_path / "whole.pt"), str(tmp_path / "weights.pt")
    torch.save(network, whole, _use_new_zipfile_serialization=new)
    torch.save(network.state_dict(), weights, _use_new_zipfile_serialization=new)
    said = refuse_weights(whole)
    assert "only weights" not in said
    assert "is a pickled network" in said
    assert "network.state_dict()" in said
    assert "contains only weights" in refuse_weights(weights)
    assert "contains only weights" in refuse_weights(str(tmp_path / "absent.pt"))
