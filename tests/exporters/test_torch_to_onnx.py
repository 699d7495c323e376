"""A network leaves whole, with the names asked for, the same bytes every time, or with a reason."""

from __future__ import annotations

import getpass
import hashlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import traces
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import parity
from edgekd.exporters.torch_to_onnx import export_onnx


def write(network: nn.Module, path: Path, example: Tensor | None = None, **options: Any) -> None:
    """Export a network of one input `x` and one output `y`."""
    x = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    export_onnx(
        network,
        [x if example is None else example],
        path,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}},
        **options,
    )


def tiny() -> nn.Sequential:
    """A network with batch norm and two equal constants."""
    torch.manual_seed(0)
    layers = [nn.Conv1d(4, 4, 1), nn.ReLU(), nn.Conv1d(4, 4, 1)]
    for layer in layers[::2]:
        nn.init.zeros_(next(p for p in layer.parameters() if p.ndim == 1))
    return nn.Sequential(nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4), *layers)


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "a.onnx"
    write(tiny(), path)
    return path


@pytest.mark.parametrize("name", ["pixels", "words", "boxes"])
def test_the_file_computes_what_the_network_computes(
    name: str, request: pytest.FixtureRequest
) -> None:
    exported = request.getfixturevalue(name)
    predict = predictor(exported.path)
    for batch in (1, 5):
        example = [
            tensor[:1].repeat(batch, *[1] * (tensor.ndim - 1)) for tensor in exported.example
        ]
        if name == "words":
            example = [x.repeat(1, 3) for x in example]
        arrays = {n: x.numpy() for n, x in zip(exported.inputs, example, strict=True)}
        found = parity(exported.answers(example), predict(arrays), rtol=1e-4)
        assert found.ok, str(found)


def test_names_axes_and_operator_set_are_those_asked_for(pixels: Any, words: Any) -> None:
    model = onnx.load(words.path)
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "tokens": ["batch", "sequence"],
        "mask": ["batch", "sequence"],
        "logits": ["batch", 3],
    }
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    named = {d.dim_param for v in model.graph.value_info for d in v.type.tensor_type.shape.dim}
    assert not [name for name in named if name.startswith("s") and name[1:].isdigit()]
    assert [v.name for v in onnx.load(pixels.path).graph.input] == ["image"]


def test_batch_norm_and_pooling_leave_as_single_operators(pixels: Any) -> None:
    """torch writes a dozen nodes for pooling in channels-last memory; they would stay float."""
    found = [node.op_type for node in onnx.load(pixels.path).graph.node]
    assert "BatchNormalization" not in found
    assert found.count("Conv") == 2
    assert found[-3:] == ["GlobalAveragePool", "Reshape", "Gemm"]
    assert len(found) == 11
    assert found[:4] == ["Transpose", "Cast", "Sub", "Conv"]  # std is in the weights


class Pool(nn.Module):
    """Adaptive pooling to more than one cell."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x.permute(0, 2, 1).unsqueeze(1), (2, 4))


@pytest.mark.parametrize("length", [4, 5])
def test_pooling_is_right_where_cells_divide_and_where_not(length: int, tmp_path: Path) -> None:
    path, x = tmp_path / "m.onnx", torch.randn(2, 4, length)
    write(Pool(), path, x)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert ("AveragePool" in operators) == (length == 4)
    found = parity({"y": Pool()(x).numpy()}, predictor(path)({"x": x.numpy()}), rtol=1e-5)
    assert found.ok, str(found)


def test_equal_networks_give_equal_bytes_in_two_processes(tiny_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path / "c.onnx")]
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": _root()}
    with subprocess.Popen(command, env=environment) as other:
        write(tiny(), tmp_path / "b.onnx")
        assert other.wait() == 0
    files = [tiny_file, tmp_path / "b.onnx", tmp_path / "c.onnx"]
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.onnx", "c.onnx"]


def _root() -> str:
    import edgekd

    return str(Path(str(edgekd.__file__)).parents[1])


def test_the_file_says_nothing_about_its_maker(pixels: Any) -> None:
    words = [getpass.getuser(), Path.cwd().name, "conftest", "Sequential", "pkg.torch"]
    assert traces(pixels.path, words) == []
    model = onnx.load(pixels.path)
    assert model.producer_name == "edgekd"
    assert not model.producer_version


def test_equal_constants_are_shared(tiny_file: Path) -> None:
    values = [t.raw_data for t in onnx.load(tiny_file).graph.initializer]
    assert len(values) == len(set(values))


def test_the_mode_of_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    network = tiny()
    network[1].eval()
    network[0].train()
    write(network, tmp_path / "m.onnx")
    assert (network[0].training, network[1].training) == (True, False)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tiny(), tmp_path / "m.onnx")
    with pytest.raises(ModelError):
        write(Decides(), tmp_path / "m.onnx")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # the line
            return x * 2
        return x


class Untranslated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        singular: Tensor = torch.linalg.svd(x)[1]  # the line
        return singular


class Numpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.maximum(x.numpy(), 0))  # the line


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x.max().item())):  # the line
            x = x + 1
        return x


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("4 channels expected")  # the line


@torch.library.custom_op("edgekd_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An operator of the user's own."""
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = twice(x) + 1  # the line
        return result


class Inside(nn.Module):
    """The culprit one level down, as in every real network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), inner)

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.inner(*inputs),)


@pytest.mark.parametrize(
    ("kind", "said", "advised"),
    [
        (Decides, "depends on the values", "torch.where"),
        (Item, "depends on the values", "torch.where"),
        (Numpy, "the values leave torch", "torch operations"),
        (Untranslated, "aten._linalg_svd has no translation", "replace it"),
        (Custom, "edgekd_tests.twice has no translation", "replace it"),
        (Raises, "4 channels expected", "must run on the example"),
    ],
)
def test_a_refusal_names_the_construct_and_the_users_line(
    kind: type[nn.Module], said: str, advised: str, tmp_path: Path
) -> None:
    lines, start = inspect.getsourcelines(kind)
    line = start + next(i for i, text in enumerate(lines) if "# the line" in text)
    with pytest.raises(ModelError) as caught:
        write(Inside(kind()), tmp_path / "m.onnx")
    message = str(caught.value)
    assert f"{__file__}:{line}" in message
    assert said in message
    assert advised in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


class Adds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() + torch.ones(2, 4, 4)  # the line


class Views(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.relu()
        return y.view(2, -1)  # the line


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row * 2 for row in x])  # the line


@pytest.mark.parametrize("kind", [Adds, Views, Rows])
def test_a_fixed_batch_is_found_out_and_its_line_named(
    kind: type[nn.Module], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines, start = inspect.getsourcelines(kind)
    line = start + next(i for i, text in enumerate(lines) if "# the line" in text)
    with pytest.raises(
        ModelError, match=r"axis 0 of input 'x'; take lengths from x\.shape"
    ) as found:
        write(Inside(kind()), tmp_path / "m.onnx")
    assert f"{__file__}:{line}" in str(found.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opset": 21}, "JetPack 6 reads operator sets up to 20"),
        ({"opset": 12}, "use 13 to 20"),
        ({"example": torch.randn(1, 4, 4)}, "a batch of 2"),
    ],
)
def test_a_call_that_makes_no_sense_says_so(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        write(tiny(), tmp_path / "m.onnx", **change)


def test_the_number_of_outputs_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="returns 1 tensors"):
        export_onnx(
            tiny(),
            [torch.randn(2, 4, 4)],
            tmp_path / "m.onnx",
            input_names=["x"],
            output_names=["y", "z"],
            dynamic_axes={"x": {0: "batch"}},
        )


if __name__ == "__main__":
    write(tiny(), Path(sys.argv[1]))
