from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ModelError, NothingToDo
from edgekd.models import resnet8, text_encoder
from edgekd.models.efficientnet import MBConv
from edgekd.networks.blueprint import (
    Blueprint,
    build_network,
    load_network,
    parameters,
    save_network,
)
from edgekd.networks.channels.cut import FoundCut, find_cut
from edgekd.networks.copying import copy_network
from edgekd.networks.edits import apply_edit, zero_edit

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def cut(
    network: nn.Module, inputs: tuple[Tensor, ...], **options: Any
) -> tuple[nn.Module, Mapping[str, Any]]:
    """The network with fewer channels, and the edit."""
    found = find_cut(network, inputs, **options)
    return cut_out(network, found), found.edit


def cut_out(network: nn.Module, found: FoundCut) -> nn.Module:
    """The network with fewer channels."""
    return apply_edit(copy_network(network), found.edit)


def flattened() -> nn.Module:
    """Convolution, batch norm, then a Linear over pixels and channels together."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.PReLU(16),
        nn.Conv2d(16, 12, 3, stride=2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 9, 24),
        nn.ReLU(),
        nn.Linear(24, 5),
    )


def residual() -> nn.Module:
    return resnet8(widths=(8, 16, 24))


def separable() -> nn.Module:
    """Depthwise convolutions, with and without a shortcut, and a depthwise transposed one."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        MBConv(8, 16, kernel=3, stride=2, expansion=3),
        MBConv(16, 16, kernel=5, stride=1, expansion=2),
        nn.ConvTranspose2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 5, 1),
    )


class Concat(nn.Module):
    """Concatenated branches of unequal width, then a shortcut across both (as DenseNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(24)
        self.c = nn.Conv2d(24, 24, 1)
        self.fc = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.relu(self.a(x))
        y = functional.relu(self.norm(torch.cat([self.b(a), a], dim=1)))
        logits: Tensor = self.fc((y + self.c(y)).mean(dim=(2, 3)))
        return logits


class Gated(nn.Module):
    """Squeeze-and-excite over grouped convolutions, with two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.grouped = nn.Conv2d(16, 32, 3, groups=4)
        self.squeeze = nn.Linear(32, 8)
        self.excite = nn.Linear(8, 32)
        self.head = nn.Conv2d(32, 5, 1)
        self.other = nn.Linear(32, 12)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = functional.relu(self.grouped(functional.relu(self.stem(x))))
        gate = self.excite(functional.relu(self.squeeze(x.mean(dim=(2, 3)))))
        x = x * torch.sigmoid(gate)[:, :, None, None]
        return {"map": self.head(x), "vector": self.other(x.mean(dim=(2, 3)))}


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(3, 8, 5),
        nn.ReLU(),
        nn.ConvTranspose1d(8, 12, 4, stride=2),
        nn.InstanceNorm1d(12, affine=True),
        nn.ReLU(),
        nn.Conv1d(12, 3, 1),
    )


NETWORKS = [flattened, residual, separable, Concat, Gated, transposed]


def seasoned(network: nn.Module) -> nn.Module:
    """Give every tensor a value of its own, as training does, and activations a size near 1."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        noise = torch.rand(tensor.shape, generator=generator)
        if "running_var" in name:
            tensor.copy_(noise + 0.5)
        elif tensor.ndim > 1:
            tensor.copy_((noise - 0.5) * 3 / tensor[0].numel() ** 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(noise - 0.3)
    return network.eval()


def outputs(network: nn.Module, *inputs: Tensor) -> list[Tensor]:
    with torch.no_grad():
        result = network(*inputs)
    return list(result.values()) if isinstance(result, dict) else [result]


def refusal(network: nn.Module, *inputs: Tensor, **options: object) -> str:
    with pytest.raises(ModelError) as caught:
        cut(network, inputs or (IMAGES,), **({"ratio": 0.5, "multiple": 4} | options))
    return str(caught.value)


# --- the law


@pytest.mark.parametrize("ratio", [0.3, 0.75])
@pytest.mark.parametrize("make", NETWORKS)
def test_thinned_equals_the_original_with_those_channels_zeroed(
    make: type[nn.Module], ratio: float
) -> None:
    network = seasoned(make())
    thinned, edit = cut(network, (IMAGES,), ratio=ratio, multiple=4)
    zeroed = copy.deepcopy(network)
    modules = dict(zeroed.named_modules())
    for name, dims in edit["tensors"].items():
        module, leaf = modules[name.rpartition(".")[0]], name.rpartition(".")[2]
        ways_out = {0} if not isinstance(module, nn.ConvTranspose1d) or leaf == "bias" else {1}
        for dim in ways_out & {int(text) for text in dims}:  # what reads them stays as it was
            tensor = zeroed.state_dict()[name].transpose(0, dim)
            gone = sorted(set(range(len(tensor))) - set(dims[str(dim)]))
            tensor[gone] = 1.0 if leaf == "running_var" else 0.0
    assert parameters(thinned) < parameters(network)
    for one, other in zip(outputs(thinned, IMAGES), outputs(zeroed, IMAGES), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert one.std() > 0.01  # there is something to compare


@pytest.mark.parametrize("make", NETWORKS)
def test_the_replayed_edit_gives_the_thinned_network_bit_for_bit(make: type[nn.Module]) -> None:
    network = seasoned(make())
    thinned, edit = cut(network, (IMAGES,), ratio=0.5, multiple=4)
    again = apply_edit(copy.deepcopy(network), json.loads(json.dumps(edit)))
    one, other = thinned.state_dict(), again.state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert repr(thinned) == repr(again)  # the attributes too
    before = network.state_dict()
    changed = {name for name in before if before[name].shape != one[name].shape}
    assert set(edit["tensors"]) == changed


def test_layer_norm_then_works_over_the_kept_channels() -> None:
    first, norm, last = nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 3)
    network, x = seasoned(nn.Sequential(first, norm, last)), torch.randn(5, 6)
    thinned, edit = cut(network, (x,), ratio=0.5, multiple=4)
    kept = edit["tensors"]["1.weight"]["0"]
    h = first(x)[:, kept]
    h = (h - h.mean(1, keepdim=True)) / torch.sqrt(h.var(1, correction=0, keepdim=True) + 1e-5)
    h = h * norm.weight[kept] + norm.bias[kept]
    expected = h @ last.weight[:, kept].T + last.bias
    torch.testing.assert_close(thinned(x), expected, rtol=0, atol=1e-5)


def test_group_norm_then_works_over_the_kept_channels() -> None:
    first, norm, last = nn.Linear(6, 16), nn.GroupNorm(2, 16), nn.Linear(16, 3)
    network, x = seasoned(nn.Sequential(first, norm, last)), torch.randn(5, 6)
    thinned, edit = cut(network, (x,), ratio=0.5, multiple=4)
    kept = edit["tensors"]["1.weight"]["0"]
    assert [index + 8 for index in kept[:4]] == kept[4:]  # both groups keep the same places
    h = functional.group_norm(first(x)[:, kept], 2, norm.weight[kept], norm.bias[kept])
    expected = h @ last.weight[:, kept].T + last.bias
    torch.testing.assert_close(thinned(x), expected, rtol=0, atol=1e-5)


# --- what is removed


@pytest.mark.parametrize(
    ("width", "ratio", "multiple", "left"),
    [
        (64, 0.5, 16, 32),
        (80, 0.3, 16, 64),  # 56 lies in the middle: halves round up
        (40, 0.5, 16, 16),
        (20, 0.9, 16, 16),  # never below one multiple
        (24, 0.5, 5, 10),
        (7, 0.5, 1, 4),
    ],
)
def test_kept_widths_are_multiples(width: int, ratio: float, multiple: int, left: int) -> None:
    network = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))
    thinned, _ = cut(network, (torch.randn(2, 3),), ratio=ratio, multiple=multiple)
    assert [tuple(p.shape) for p in thinned.parameters()][:3] == [(left, 3), (left,), (2, left)]


def test_each_branch_of_a_concatenation_keeps_a_multiple_of_its_own() -> None:
    thinned, _ = cut(seasoned(Concat()), (IMAGES,), ratio=0.5, multiple=4)
    shapes = {name: tuple(tensor.shape)[:2] for name, tensor in thinned.state_dict().items()}
    assert shapes["a.weight"] == (4, 3)
    assert shapes["b.weight"] == (8, 4)
    assert shapes["c.weight"] == (12, 12)


def test_the_weakest_channels_go_by_all_that_touches_them() -> None:
    first, last = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([3.0, 1.0, 1.0, 2.0])[:, None].expand(4, 3))
        last.weight.copy_(torch.tensor([0.0, 9.0, 1.0, 2.0]).expand(2, 4))
    _, edit = cut(nn.Sequential(first, last), (torch.randn(2, 3),), ratio=0.5, multiple=1)
    # summed squares: 27 + 0, 3 + 162, 3 + 2, 12 + 8
    assert edit == {"op": "keep", "tensors": {"0.weight": {"0": [0, 1]}, "1.weight": {"1": [0, 1]}}}


def test_kept_names_keep_their_outputs_and_all_coupled_to_them() -> None:
    network = residual()
    whole, _ = cut(network, (IMAGES,), ratio=0.5, multiple=4)
    assert whole.get_parameter("stages.1.0.conv2.weight").shape[:2] == (8, 8)
    thinned, edit = cut(network, (IMAGES,), ratio=0.5, multiple=4, keep=["stages.1"])
    assert thinned.get_parameter("stages.1.0.conv2.weight").shape[:2] == (16, 16)
    assert thinned.get_parameter("stages.2.0.conv1.weight").shape[:2] == (12, 16)
    assert "stages.1.0.shortcut.1.running_var" not in edit["tensors"]


def test_an_output_that_others_read_as_well_keeps_its_width() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            embedding = self.b(torch.relu(self.a(x)))
            return self.c(embedding), embedding

    _, edit = cut(Two(), (torch.randn(2, 3),), ratio=0.5, multiple=4)
    assert set(edit["tensors"]) == {"a.weight", "a.bias", "b.weight"}
    assert set(edit["tensors"]["b.weight"]) == {"1"}


def test_a_transformers_inner_neurons_go_where_the_rest_is_kept() -> None:
    tokens = torch.randint(2, 20, (3, 7))
    network = text_encoder(20, 3, width=8, heads=2)
    keep = ["token", "layers.0.attention", "layers.1.attention"]
    _, edit = cut(network, (tokens, torch.ones_like(tokens)), ratio=0.5, multiple=4, keep=keep)
    assert set(edit["tensors"]) == {
        f"layers.{i}.{name}"
        for i in (0, 1)
        for name in ("expand.weight", "expand.bias", "project.weight")
    }


# --- what is left alone


def test_the_network_given_is_not_touched() -> None:
    network = residual()
    network.get_parameter("conv1.weight").requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    thinned, first = cut(network, (IMAGES,), ratio=0.5, multiple=4)
    assert network.training
    assert thinned.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    frozen = [name for name, p in thinned.named_parameters() if not p.requires_grad]
    assert frozen == ["conv1.weight"]
    thinned(IMAGES).sum().backward()  # and it trains on
    with torch.no_grad():  # whatever the caller has switched off
        assert cut(network, (IMAGES,), ratio=0.5, multiple=4)[1] == first


def test_a_thinned_network_can_be_saved_thinned_again_and_rebuilt(tmp_path: Path) -> None:
    blueprint = Blueprint("edgekd.models:resnet8", {"widths": [8, 16, 24]})
    network = build_network(blueprint, root=tmp_path)
    once, first = cut(network, (IMAGES,), ratio=0.3, multiple=4)
    twice, second = cut(once, (IMAGES,), ratio=0.3, multiple=4)
    assert parameters(twice) < parameters(once)
    edited = Blueprint(blueprint.build, blueprint.options, (first, second))
    save_network(twice, edited, tmp_path / "model.pt")
    again, read = load_network(tmp_path / "model.pt", root=tmp_path)
    assert read == edited
    assert torch.equal(again.eval()(IMAGES), twice.eval()(IMAGES))


# --- refusals


@pytest.mark.parametrize("options", [{"ratio": 0.0}, {"ratio": 1.0}, {"multiple": 0}])
def test_options_without_sense_are_refused(options: dict[str, float]) -> None:
    assert "between 0 and 1" in refusal(residual(), **options)


def test_nothing_to_remove_is_said() -> None:
    said = r"ratio 0\.5 removes nothing: .* at or below multiple \(32\)"
    with pytest.raises(NothingToDo, match=said + r".*; cut less$"):
        cut(residual(), (IMAGES,), ratio=0.5, multiple=32, advice="cut less")


def test_an_unknown_name_to_keep_is_refused_with_close_ones() -> None:
    message = refusal(residual(), keep=["stage.1"])
    assert "'stage.1'" in message
    assert "stages.1" in message


class Shuffle(nn.Module):
    """Mixes its channels by a reshape, as ShuffleNet does; any even width runs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1, groups=2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        logits: Tensor = self.fc(torch.relu(self.b(x)).mean(dim=(2, 3)))
        return logits


class Fixed(Shuffle):
    """Splits at a width written into the code."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.a(x).split([8, 8], dim=1)
        logits: Tensor = self.fc(torch.cat([one, other], dim=1).mean(dim=(2, 3)))
        return logits


class Bare(Shuffle):
    """Scales by a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc((self.a(x) * self.scale).mean(dim=(2, 3)))
        return logits


class Padded(Shuffle):
    """Joins unequal widths by zeros, as the first ResNets did."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = torch.cat([x, x], dim=1) + functional.pad(x, (0, 0, 0, 0, 0, 16))
        logits: Tensor = self.fc(y[:, :16].mean(dim=(2, 3)))
        return logits


@pytest.mark.parametrize(
    ("make", "layer", "words"),
    [
        (Fixed, "a", "without these channels, it fails: RuntimeError"),
        (Bare, "a", "hard is a Bare"),
        (Padded, "a", "pad works along it"),
    ],
)
def test_what_cannot_be_followed_stays_and_is_named(
    make: type[nn.Module], layer: str, words: str
) -> None:
    """The rest of the network is cut: here a branch beside it."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hard, self.easy = make(), residual()

        def forward(self, x: Tensor) -> Tensor:
            both: Tensor = self.hard(x) + self.easy(x)[:, :5]
            return both

    network = seasoned(Beside())
    found = find_cut(network, (IMAGES,), ratio=0.5, multiple=4)
    thinned = cut_out(network, found)
    assert words in found.left[f"hard.{layer}"]
    assert thinned.get_parameter("hard.a.weight").shape[0] == 16
    small, whole = (n.get_submodule("easy") for n in (thinned, network))
    assert parameters(small) < 0.5 * parameters(whole)


def test_a_shuffle_loses_equal_channels_of_every_group() -> None:
    network = seasoned(Shuffle())
    thinned, edit = cut(network, (IMAGES,), ratio=0.5, multiple=4)
    kept = edit["tensors"]["a.weight"]["0"]
    assert len(kept) == 8
    assert sum(index < 8 for index in kept) == 4
    torch.testing.assert_close(
        thinned(IMAGES), zero_edit(copy.deepcopy(network), edit)(IMAGES), rtol=0, atol=1e-5
    )


def test_a_table_of_words_is_cut_where_nothing_counts_its_columns() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.fc = nn.Embedding(20, 16), nn.Linear(16, 3)

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.fc(self.table(tokens).mean(dim=1))
            return logits

    tokens = torch.randint(0, 20, (3, 7))
    thinned, _ = cut(seasoned(Words()), (tokens,), ratio=0.5, multiple=4)
    assert thinned.get_parameter("table.weight").shape == (20, 8)
    assert thinned(tokens).shape == (3, 3)


def test_a_network_that_does_not_run_is_left_with_its_error() -> None:
    with pytest.raises(NothingToDo, match=r"expected input\[2, 4, 8, 8\] to have 3 channels"):
        find_cut(residual(), (torch.randn(2, 4, 8, 8),), ratio=0.5, multiple=4)


def test_outputs_that_do_not_count_hold_no_channels() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            features = functional.relu(self.body(x))
            return {"logits": self.head(features), "features": features}

    x = (torch.randn(4, 8),)
    with pytest.raises(NothingToDo, match=r"the network gives it.*\); give your own$"):
        find_cut(Two(), x, ratio=0.5, advice="cut more", way_out="give your own")
    found = find_cut(Two(), x, ratio=0.5, select=lambda result: result["logits"])
    assert len(found.edit["tensors"]["body.weight"]["0"]) == 16


def test_a_network_that_keeps_results_of_its_last_run_is_cut() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)
            self.seen: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            self.seen["features"] = functional.relu(self.body(x))
            return self.head(self.seen["features"])  # type: ignore[no-any-return]

    network, x = Keeps(), torch.randn(4, 8)
    network(x)  # what it keeps now has a way back, which torch does not copy
    assert parameters(cut(network, (x,), ratio=0.5)[0]) < parameters(network)
