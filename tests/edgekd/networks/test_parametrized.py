from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from edgekd.errors import ModelError
from edgekd.networks.edits import apply_edit, is_lazy, run_edit
from edgekd.networks.parametrized import has_computed_weights, make_plain

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def stacked(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(wrap(nn.Conv2d(3, 8, 3)), nn.ReLU(), wrap(nn.Conv2d(8, 4, 3)))


@pytest.mark.parametrize(
    "wrap",
    [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_computed_weights_become_plain_ones_of_equal_values(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    torch.manual_seed(0)
    network = stacked(wrap)
    network(X)  # spectral norm learns its vectors in training mode
    with torch.no_grad():
        before = network.eval()(X)
    assert has_computed_weights(network)
    plain = make_plain(network)
    assert not has_computed_weights(plain)
    assert {"0.weight", "0.bias"} <= set(plain.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(plain)(X), before)


def test_the_edit_is_replayed_on_a_fresh_build() -> None:
    edit = {"op": "plain"}
    trained = apply_edit(stacked(parametrizations.weight_norm), edit)
    again = apply_edit(stacked(parametrizations.weight_norm), edit)
    again.load_state_dict(trained.state_dict())
    assert torch.equal(trained(X), again(X))


def test_a_network_without_computed_weights_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    assert not has_computed_weights(network)
    weight = network[0].weight
    assert make_plain(network)[0].weight is weight  # type: ignore[index]
    assert network.training


def test_lazy_layers_get_their_shapes_and_keep_them_in_a_replay() -> None:
    def build() -> nn.Module:
        layers = (nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))
        return nn.Sequential(*layers)

    edit = run_edit([torch.ones(2, 3, 4, 4)])
    real = apply_edit(build(), edit)
    assert is_lazy(build())
    assert not is_lazy(real)
    assert real.training
    again = apply_edit(build(), edit)
    again.load_state_dict(real.state_dict())
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(again.eval()(x), real.eval()(x))
    with pytest.raises(ModelError, match=r"lazy layers.*float32 \[2, 7\]"):
        apply_edit(build(), run_edit([torch.ones(2, 7)]))
