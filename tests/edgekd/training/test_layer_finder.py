"""Inner layers that are found: stages, transformer blocks, and what is inside of attentions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ModelError
from edgekd.models import convnet, efficientnet_lite0, resnet20
from edgekd.training.layer_finder import FoundLayers, find_layers
from edgekd.training.signals import Signals
from edgekd.training.trainee import tap_layers

QKV = ("query", "key", "value")


class Answering(nn.Module):
    """What `find_layers` runs: a network from named inputs to named outputs."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: Mapping[str, Tensor]) -> Signals:
        return Signals({"logits": self.body(*inputs.values())})


def look(body: nn.Module, x: Tensor) -> FoundLayers:
    found = find_layers(Answering(body), body, {"x": x})
    assert not any(layer._forward_hooks for layer in body.modules())
    return found


def test_the_last_layer_of_each_size_of_the_maps_ends_a_stage() -> None:
    stages = look(resnet20(classes=10), torch.zeros(2, 3, 32, 32)).stages
    assert stages == ("stages.0", "stages.1", "stages.2")
    stages = look(convnet((4, 6), 3), torch.zeros(2, 1, 8, 8)).stages
    assert stages == ("features.5", "features")


def test_a_stage_ends_before_the_block_that_halves_the_maps() -> None:
    """Blocks of mobile networks widen the maps first, and halve them then."""
    stages = look(efficientnet_lite0(classes=3), torch.zeros(2, 3, 64, 64)).stages
    assert stages == ("_blocks.0", "_blocks.2", "_blocks.4", "_blocks.10", "_relu6")


class Fused(nn.Module):
    """Attention with one layer for queries, keys and values; it returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        weights = torch.softmax(query @ key.transpose(1, 2), dim=-1)
        return weights @ value, weights


class Block(nn.Module):
    """A block that returns a tuple, as those of many libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.output = Fused(), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.output(x + self.attention(x)[0]), None


class Blocks(nn.Module):
    def __init__(self, block: type[nn.Module], count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([block() for _ in range(count)])
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)[0]
        out: Tensor = self.fc(x.mean(dim=1))
        return out


def test_the_last_layer_of_a_block_stands_for_a_block_that_returns_no_tensor() -> None:
    found = look(Blocks(Block, 2), torch.zeros(2, 5, 8))
    assert found.blocks == ("layers.0.output", "layers.1.output")
    assert found.attentions == ("layers.0.attention", "layers.1.attention")
    assert found.stages == ()


def test_a_plain_network_has_none_of_them() -> None:
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert look(body, torch.zeros(2, 4)) == FoundLayers()


def test_a_fused_layer_is_cut_into_three() -> None:
    body, x = Blocks(Block, 1), torch.randn(2, 5, 8)
    with tap_layers(body, [f"layers.0.attention:{part}" for part in QKV]) as seen:
        body(x)
    whole = torch.cat([seen[f"layers.0.attention:{part}"] for part in QKV], dim=-1)
    layer = body.get_submodule("layers.0.attention.qkv")
    torch.testing.assert_close(whole, layer(x))


@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_own_attention_gives_what_it_computes_with_in_evaluation_too(
    batch_first: bool,
) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    body, x = (
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(),
        torch.randn(3, 5, 8),
    )
    with torch.no_grad():
        plain = body(x)
        with tap_layers(body, [f"layers.0.self_attn:{part}" for part in QKV]) as seen:
            tapped = body(x)
    torch.testing.assert_close(tapped, plain, rtol=1e-4, atol=1e-5)
    attention = body.get_submodule("layers.0.self_attn")
    assert isinstance(attention, nn.MultiheadAttention)
    given = x if batch_first else x.transpose(0, 1)
    expected = functional.linear(given, attention.in_proj_weight, attention.in_proj_bias)
    whole = torch.cat([seen[f"layers.0.self_attn:{part}"] for part in QKV], dim=-1)
    torch.testing.assert_close(whole, expected)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_layer_that_is_no_attention_is_refused() -> None:
    body = Blocks(Block, 1)
    refused = pytest.raises(ModelError, match="is no attention whose queries")
    with refused, tap_layers(body, ["layers.0.output:query"]):
        pass
