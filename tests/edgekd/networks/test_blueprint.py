from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess
from edgekd.errors import ModelError
from edgekd.networks.blueprint import (
    Blueprint,
    Deployed,
    build_network,
    load_network,
    load_weights,
    named,
    parameters,
    save_network,
)
from edgekd.networks.edits import apply_edit

SOURCE = """
from torch import nn

def net(width=4, classes=3):
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 4, classes)
    )

def nothing():
    return [1, 2]

def fails():
    return nn.Linear(2, 3).weight.reshape(7)
"""
EDIT = {
    "op": "keep",
    "tensors": {
        "0.weight": {"0": [1, 3]},
        "0.bias": {"0": [1, 3]},
        **{
            f"1.{name}": {"0": [1, 3]} for name in ("weight", "bias", "running_mean", "running_var")
        },
        "3.weight": {"1": [4, 5, 6, 7, 12, 13, 14, 15]},
    },
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf8")
    return tmp_path


def net(root: Path, edits: tuple[dict[str, Any], ...] = (), **options: int) -> nn.Module:
    torch.manual_seed(0)
    return build_network(Blueprint("mine.py:net", options, edits), root=root)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        act()
    return str(caught.value)


# --- build


@pytest.mark.parametrize(
    ("build", "options", "words"),
    [
        ("mine.py:nothing", {}, ["returned list", "torch.nn.Module"]),
        ("mine.py:fails", {}, ["mine.py:13", "RuntimeError", "shape '[7]'"]),
        ("mine.py:net", {"depth": 3}, ["'depth'", "(width=4, classes=3)"]),
        ("mine.py:net", {"width": -1}, ["mine.py:6", "RuntimeError"]),
    ],
)
def test_a_builder_that_fails_is_told_with_its_line(
    build: str, options: dict[str, int], words: list[str], root: Path
) -> None:
    message = refusal(lambda: build_network(Blueprint(build, options), root=root))
    assert [word for word in words if word not in message] == []


# --- save and load


def test_equal_networks_give_equal_bytes_in_any_folder(root: Path) -> None:
    network, blueprint = net(root, (EDIT,)), Blueprint("mine.py:net", {}, (EDIT,))
    (root / "a").mkdir()
    (root / "b").mkdir()
    save_network(network, blueprint, root / "a/model.pt")
    again, read = load_network(root / "a/model.pt", root=root)
    save_network(again.to(memory_format=torch.channels_last), read, root / "b/model.pt")  # type: ignore[call-overload]
    one, other = ((root / f).read_bytes() for f in ("a/model.pt", "b/model.pt"))
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(other).hexdigest()
    with torch.no_grad():
        again.get_parameter("3.bias")[0] += 1
    save_network(again, read, root / "b/model.pt")
    assert (root / "b/model.pt").read_bytes() != one


def test_a_loaded_network_computes_the_same(root: Path) -> None:
    network, x = net(root, (EDIT,), classes=5), torch.randn(2, 3, 4, 4)
    network(x)  # moves the running statistics
    save_network(network, Blueprint("mine.py:net", {"classes": 5}, (EDIT,)), root / "model.pt")
    again, blueprint = load_network(root / "model.pt", root=root)
    assert blueprint == Blueprint("mine.py:net", {"classes": 5}, (EDIT,))
    assert torch.equal(again.eval()(x), network.eval()(x))


def test_a_view_brings_nothing_of_its_storage_along(root: Path) -> None:
    network = nn.Linear(2, 3)
    network.weight = nn.Parameter(torch.zeros(1000, 1000)[:3, :2])
    save_network(network, Blueprint("mine.py:net", {}), root / "model.pt")
    assert (root / "model.pt").stat().st_size < 10_000


def test_options_that_json_cannot_hold_are_refused(root: Path) -> None:
    blueprint = Blueprint("mine.py:net", {"width": torch.tensor(3)})
    message = refusal(lambda: save_network(net(root), blueprint, root / "model.pt"))
    assert "numbers, texts, lists" in message


def test_a_model_file_of_changed_code_is_refused(root: Path) -> None:
    save_network(net(root), Blueprint("mine.py:net", {}), root / "model.pt")
    (root / "mine.py").write_text(SOURCE.replace("width=4", "width=8"), encoding="utf8")
    message = refusal(lambda: load_network(root / "model.pt", root=root))
    assert "0.weight (4, 3, 3, 3) for (8, 3, 3, 3)" in message
    assert "restore that version" in message


def test_bare_weights_are_no_model_file(root: Path) -> None:
    torch.save(net(root).state_dict(), root / "model.pt")
    assert "`weights`" in refusal(lambda: load_network(root / "model.pt", root=root))


# --- weights


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "ema_state"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.backbone."])
def test_weights_load_from_nests_and_prefixes(nest: str | None, prefix: str, root: Path) -> None:
    source, target = net(root), net(root)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({nest: state, "epoch": 3} if nest else state, root / "w.pth")
    said = load_weights(target, root / "w.pth")
    assert all(map(torch.equal, source.state_dict().values(), target.state_dict().values()))
    assert ("" if nest is None else repr(nest)) in said
    assert ("" if not prefix else repr(prefix)) in said
    assert bool(said) == bool(nest or prefix)


def test_a_checkpoint_holds_more_than_the_weights(root: Path) -> None:
    """Weights before their moving average, and a loss with weights of its own beside them."""
    source, target = net(root), net(root)
    nn.init.ones_(source.get_parameter("0.weight"))
    plain = {f"net.{name}": tensor for name, tensor in source.state_dict().items()}
    average = {name: tensor * 0 for name, tensor in plain.items()}
    torch.save(
        {
            "epoch": 7,
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
            "state_dict": {**plain, "loss.weight": torch.ones(3)},
            "ema": average,
        },
        root / "last.ckpt",
    )
    load_weights(target, root / "last.ckpt")
    assert torch.equal(target.get_parameter("0.weight"), source.get_parameter("0.weight"))


def test_lazy_layers_take_the_shapes_of_the_weights(root: Path) -> None:
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5))
    torch.save(source.state_dict(), root / "w.pt")
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))
    load_weights(lazy, root / "w.pt")
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(lazy(x), source(x))


def test_weights_load_from_safetensors(root: Path) -> None:
    source, target = net(root), net(root)
    nn.init.ones_(source.get_parameter("0.weight"))
    save_file(source.state_dict(), root / "w.safetensors")
    load_weights(target, root / "w.safetensors")
    assert torch.equal(target.get_parameter("0.weight"), source.get_parameter("0.weight"))
    (root / "w.safetensors").write_bytes(b"no such thing")
    assert "cannot be read" in refusal(lambda: load_weights(target, root / "w.safetensors"))


def test_pickled_objects_are_refused_unread(root: Path) -> None:
    torch.save(net(root), root / "whole.pt")
    message = refusal(lambda: load_weights(net(root), root / "whole.pt"))
    assert "torch.save(network.state_dict(), path)" in message


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_a_damaged_or_missing_file_is_refused(content: bytes, root: Path) -> None:
    assert "none.pt" in refusal(lambda: load_weights(net(root), root / "none.pt"))
    (root / "w.pt").write_bytes(content)
    assert "w.pt" in refusal(lambda: load_weights(net(root), root / "w.pt"))


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(root: Path) -> None:
    network = net(root)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state: dict[str, Tensor] = {f"extra{i}": torch.zeros(1) for i in range(7)}
    state["0.weight"] = torch.zeros(5, 3, 3, 3)
    state["0.bias"] = torch.zeros(4)
    torch.save(state, root / "w.pt")
    message = refusal(lambda: load_weights(network, root / "w.pt"))
    assert "lacks 1.weight, 1.bias, 1.running_mean, 1.running_var, 3.weight and 1 more" in message
    assert "extra4 and 2 more" in message
    assert "0.weight (5, 3, 3, 3) for (4, 3, 3, 3)" in message
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_replace_head_spares_the_last_layer_and_no_other(root: Path) -> None:
    torch.save(net(root, classes=7).state_dict(), root / "w.pt")
    network = net(root)
    fresh = network.get_parameter("3.weight").clone()
    nn.init.zeros_(network.get_parameter("0.weight"))
    assert "3.bias (7,) for (3,)" in refusal(lambda: load_weights(network, root / "w.pt"))
    load_weights(network, root / "w.pt", replace_head=True)
    assert torch.equal(network.get_parameter("3.weight"), fresh)
    assert network.get_parameter("0.weight").any()
    torch.save(net(root, width=5).state_dict(), root / "w.pt")
    message = refusal(lambda: load_weights(network, root / "w.pt", replace_head=True))
    assert "0.weight" in message
    assert "3.weight" not in message


# --- edits


@pytest.mark.parametrize(
    ("layer", "tensors", "attributes"),
    [
        (nn.Conv2d(6, 4, 3), {"weight": {"0": [3], "1": [0, 5]}}, {"in_channels": 2}),
        (nn.Conv1d(6, 6, 3, groups=6), {"weight": {"0": [1, 2]}}, {"groups": 2, "in_channels": 2}),
        (nn.Conv2d(6, 6, 3, groups=2), {"weight": {"1": [1, 2]}}, {"groups": 2, "in_channels": 4}),
        (nn.ConvTranspose2d(6, 4, 3), {"weight": {"0": [1], "1": [0, 2]}}, {"out_channels": 2}),
        (nn.Linear(6, 4), {"weight": {"0": [3], "1": [0, 5]}}, {"in_features": 2}),
        (nn.BatchNorm1d(6, affine=False), {"running_mean": {"0": [1]}}, {"num_features": 1}),
        (nn.LayerNorm(6), {"weight": {"0": [1, 4]}}, {"normalized_shape": (2,)}),
        (nn.GroupNorm(2, 6), {"weight": {"0": [1, 4]}}, {"num_channels": 2}),
        (nn.PReLU(6), {"weight": {"0": [1, 4]}}, {"num_parameters": 2}),
    ],
)
def test_an_edit_fixes_the_layers_attributes(
    layer: nn.Module, tensors: dict[str, dict[str, list[int]]], attributes: dict[str, Any]
) -> None:
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    apply_edit(layer, {"op": "keep", "tensors": tensors})
    assert {key: getattr(layer, key) for key in attributes} == attributes
    for name, dims in tensors.items():
        expected = before[name]
        for dim, indices in dims.items():
            expected = expected.index_select(int(dim), torch.tensor(indices))
        assert torch.equal(layer.state_dict()[name], expected)
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"op": "drop"}, "newer edgekd"),
        ({"op": "keep", "tensors": {"9.weight": {"0": [1]}}}, "9.weight"),
        ({"op": "keep", "tensors": {"0.weight": {"0": [1, 4]}}}, "up to 4 of dimension 0"),
        ({"op": "keep", "tensors": {"0.weight": {"0": []}}}, "keeps 0 indices"),
        ({"op": "keep", "tensors": {"0.weight": {"4": [0]}}}, "of dimension 4"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit: dict[str, Any], words: str, root: Path) -> None:
    assert words in refusal(lambda: apply_edit(net(root), edit))


def test_an_unknown_layer_is_named_and_not_cut() -> None:
    layer = nn.Bilinear(5, 4, 3)
    edit = {"op": "keep", "tensors": {"weight": {"1": [0]}}}
    assert "Bilinear" in refusal(lambda: apply_edit(layer, edit))
    assert layer.weight.shape == (3, 5, 4)


def test_weights_of_half_precision_become_single(root: Path) -> None:
    (root / "half.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Linear(3, 2).half()\n"
    )
    network = build_network(Blueprint("half.py:net", {}), root=root)
    assert network(torch.ones(1, 3)).dtype == torch.float32


# --- deployed


def images(*, in_graph: bool) -> ImagePreprocess:
    return ImagePreprocess(
        height=2, width=2, channels=3, mean=(10, 20, 30), std=(2, 4, 8), in_graph=in_graph
    )


def test_pixels_are_normalised_inside_the_graph() -> None:
    deployed = Deployed(nn.Identity(), images(in_graph=True), ("y",))
    pixels = torch.randint(0, 256, (5, 2, 2, 3), dtype=torch.uint8)
    (got,) = deployed(pixels)
    by_hand = (pixels.double() - torch.tensor([10, 20, 30])) / torch.tensor([2, 4, 8])
    torch.testing.assert_close(got, by_hand.permute(0, 3, 1, 2).float(), rtol=1e-6, atol=1e-6)
    assert torch.equal(got, deployed.body_inputs(pixels)[0])
    assert deployed.state_dict() == {}  # what ships is the body's


@pytest.mark.parametrize("preprocess", [images(in_graph=False), ArrayPreprocess(names=("image",))])
def test_all_else_is_passed_through(preprocess: ImagePreprocess | ArrayPreprocess) -> None:
    x = torch.randn(2, 3, 2, 2)
    assert Deployed(nn.Identity(), preprocess, ("y",))(x)[0] is x


@dataclass
class Result:
    scores: Tensor
    logits: Tensor


class Returns(nn.Module):
    """Returns what `make` makes of its two inputs."""

    def __init__(self, make: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, a: Tensor, b: Tensor) -> object:
        return self.make(a, b)


A, B = torch.zeros(1), torch.ones(1)
PAIR = ArrayPreprocess(names=("a", "b"))


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: (b, a),
        lambda a, b: [b, a],
        lambda a, b: {"scores": a, "hidden": a, "logits": b},
        lambda a, b: Result(scores=a, logits=b),
    ],
)
def test_outputs_come_in_the_order_of_their_names(make: Callable[..., object]) -> None:
    deployed = Deployed(Returns(make), PAIR, ("logits", "scores"))
    assert deployed(A, B) == (B, A)
    assert named(deployed, {"b": B, "a": A}) == {"logits": B, "scores": A}


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (lambda a, b: a, "Tensor"),
        (lambda a, b: (a, b, a), "Tensor, Tensor, Tensor"),
        (lambda a, b: (a, 3), "Tensor, int"),
        (lambda a, b: {"logits": a, "other": b}, "logits, other"),
        (lambda a, b: None, "NoneType"),
    ],
)
def test_other_outputs_are_refused_with_what_came(make: Callable[..., object], came: str) -> None:
    deployed = Deployed(Returns(make), PAIR, ("logits", "scores")).eval()
    message = refusal(lambda: deployed(A, B))
    assert f"returned {came}, but" in message
    assert "logits, scores" in message


def test_outputs_of_other_names_come_in_their_own_order() -> None:
    deployed = Deployed(
        Returns(lambda a, b: {"out": b, "aux": a, "loss": a}), PAIR, ("logits", "s")
    )
    assert deployed.train()(A, B) == (B, A)
    assert "returned out, aux, loss, but" in refusal(lambda: deployed.eval()(A, B))


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1, 1), (2, 1, 5), (2, 5, 1)])
def test_class_scores_of_any_shape_come_out_flat(shape: tuple[int, ...]) -> None:
    deployed = Deployed(Returns(lambda a, b: (a, a)), PAIR, ("logits", "map"), scores=("logits",))
    logits, other = deployed(torch.zeros(shape), B)
    assert (logits.shape, other.shape) == ((2, 5), shape)


def test_a_map_of_scores_is_not_taken_for_class_scores() -> None:
    deployed = Deployed(Returns(lambda a, b: a), PAIR, ("logits",), scores=("logits",))
    assert deployed(torch.zeros(2, 5, 3, 3), B)[0].shape == (2, 5, 3, 3)


def test_heads_for_training_alone_are_dropped() -> None:
    deployed = Deployed(Returns(lambda a, b: (b, a, a)), PAIR, ("logits", "scores"))
    assert deployed.train()(A, B) == (B, A)


def test_a_missing_input_is_named() -> None:
    deployed = Deployed(Returns(lambda a, b: a), PAIR, ("y",))
    assert "add b" in refusal(lambda: named(deployed, {"a": A}))


def test_shared_parameters_count_once() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    assert parameters(network) == 9 + 3 + 9
    network[1].weight = network[0].weight
    assert parameters(network) == 9 + 3


def test_numbers_of_the_network_that_are_no_weights_count_as_in_its_file() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    network.register_buffer("mean", torch.zeros(3))
    network.register_buffer("place", torch.arange(3))
    assert parameters(network) == 9 + 3 + 6 + 3


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_networks_are_unwrapped_and_scripted_ones_refused(root: Path) -> None:
    (root / "wrapped.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def compiled():\n    return torch.compile(nn.Linear(2, 3))\n\n\n"
        "def scripted():\n    return torch.jit.trace(nn.Linear(2, 3), torch.ones(1, 2))\n"
    )
    assert type(build_network(Blueprint("wrapped.py:compiled", {}), root=root)) is nn.Linear
    text = refusal(lambda: build_network(Blueprint("wrapped.py:scripted", {}), root=root))
    assert "returned a TorchScript module" in text


def test_a_network_may_change_its_input_in_place() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sub_(1)

    x = torch.ones(2, 3)
    deployed = Deployed(InPlace(), ArrayPreprocess(names=("x",)), ("y",))
    assert torch.equal(named(deployed, {"x": x})["y"], torch.zeros(2, 3))
    assert torch.equal(x, torch.ones(2, 3))
