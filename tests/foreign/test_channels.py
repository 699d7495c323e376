"""Half of the channels of strangers' networks: what is cut, what stays, and that it still runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import NothingToDo
from edgekd.networks.blueprint import parameters
from edgekd.networks.channels.cut import find_cut
from edgekd.networks.edits import apply_edit, zero_edit
from edgekd.networks.outputs import list_tensors
from edgekd.networks.parametrized import make_plain
from tests.foreign.networks import INPUTS, NETWORKS

FEW = ("mbv2", "shufflev2", "unet", "tenc", "vggfix")
"""Of unlike kinds; the rest is in `make test-foreign`."""
GONE = {
    "mbv2": 70,
    "mbv3": 65,
    "dense": 70,
    "shufflev2": 65,
    "shufflev1": 40,
    "shuffle40": 65,
    "resnext": 70,
    "unet": 70,
    "espcn": 70,
    "vggview": 70,
    "vggfix": 50,
    "ae": 60,
    "vit": 30,
    "tenc": 25,
    "convgru": 20,
    "convlstm": 20,
    "mixer": 65,
    "convnext": 35,
    "cbam": 60,
    "spectral": 70,
    "siamese": 70,
    "twice": 70,
    "glu": 65,
    "optA": 30,
    "incep": 65,
    "ghost": 60,
    "twoio": 70,
    "half": 70,
    "mlp": 65,
    "narrow": 45,
    "tcn": 5,
    "einsum": 40,
    "wstd": 40,
    "effnet": 60,
    "swin": 30,
    "repvgg": 60,
    "fpn": 60,
    "lazy": 40,
    "auxhead": 65,
    "frozen": 65,
    "ownswish": 65,
    "bert": 20,
    "bilstm": 10,
    "res2net": 60,
    "video": 65,
    "preact": 45,
    "tabular": 60,
    "crnn": 8,
    "unshuffle": 60,
    "tied": 60,
}
"""Percent of the parameters that go at least, at a ratio of a half and widths in multiples of 8."""


def seasoned(name: str) -> tuple[nn.Module, Any]:
    """A network whose norms have something to say, in single precision, with its inputs."""
    torch.manual_seed(0)
    network, inputs = NETWORKS[name](), INPUTS[name]()
    network(*inputs)  # makes lazy layers real
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            module.running_mean.normal_()
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    inputs = tuple(x.float() if x.is_floating_point() else x for x in inputs)
    return make_plain(network).float().eval(), inputs


@pytest.mark.parametrize(
    "name", [n if n in FEW else pytest.param(n, marks=pytest.mark.foreign) for n in GONE]
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_half_of_the_channels_go_or_stay_for_a_reason(name: str) -> None:
    network, inputs = seasoned(name)
    found = find_cut(network, inputs, ratio=0.5, multiple=8)
    small = apply_edit(copy.deepcopy(network), found.edit)
    gone = 100 * (1 - parameters(small) / parameters(network))
    assert gone >= GONE[name], found.left
    with torch.no_grad():
        got = list_tensors(small.eval()(*inputs))
        expected = list_tensors(zero_edit(copy.deepcopy(network), found.edit)(*inputs))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))
    assert all(reason for reason in found.left.values())


def test_every_network_has_its_share() -> None:
    assert set(GONE) | {"branchy"} == set(NETWORKS)
    assert len(NETWORKS) >= 30


def test_a_network_that_no_graph_can_describe_is_left_as_it_is() -> None:
    network, inputs = seasoned("branchy")
    with pytest.raises(NothingToDo, match="cannot be followed"):
        find_cut(network, inputs, ratio=0.5)


def test_a_network_without_channels_is_left_as_it_is() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=1)

    with pytest.raises(NothingToDo, match="no layers with channels"):
        find_cut(Constant(), (torch.ones(2, 3),), ratio=0.5)
