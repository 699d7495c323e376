"""Files for boards with TensorRT 8: an older operator set, and the same answers."""

from __future__ import annotations

from pathlib import Path

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


class Mixed(nn.Module):
    """What is translated in different ways: batch norm, a flattened LSTM, LayerNorm, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.rnn = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
        self.layer, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        y = nn.functional.gelu(self.layer(self.rnn(y)[0]))
        return self.head(y.mean(1)), y


class Attention(nn.Module):
    """Attention over a free axis, with a mask that is computed from the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.parts = nn.Embedding(11, 8), nn.Linear(8, 24)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length = tokens.shape
        parts = self.parts(self.table(tokens)).view(batch, length, 2, 12).transpose(1, 2)
        seen = (tokens != 0)[:, None, None, :]
        q, k, v = parts.chunk(3, dim=-1)
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return found.transpose(1, 2).reshape(batch, length, 8).mean(1)


class Packaged(nn.Module):
    """torch's own attention layer, whose fused kernel has no operators; its length is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        x = nn.functional.one_hot(tokens, 8).float()
        found: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return found


def write_mixed(path: Path, opset: int) -> nn.Module:
    torch.manual_seed(0)
    network = Mixed()
    with torch.no_grad():  # moving statistics that are not 0 and 1
        network(torch.randn(8, 3, 7, 7))
    example = torch.randn(2, 3, 7, 7)
    export_onnx(
        network,
        [example],
        path,
        input_names=["in put"],
        output_names=["logits", "last/hidden"],
        dynamic_axes={"in put": {0: "batch"}},
        opset=opset,
    )
    assert network.training
    return network.eval()


@pytest.mark.parametrize("opset", [13, 15, 17])
def test_an_older_operator_set_computes_the_same_for_any_batch(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    network = write_mixed(path, opset)
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"BatchNormalization", "Constant"}
    for batch in (1, 2, 7):
        x = torch.randn(batch, 3, 7, 7)
        with torch.no_grad():
            logits, hidden = network(x)
        reference = {"logits": logits.numpy(), "last/hidden": hidden.numpy()}
        found = parity(reference, predictor(path)({"in put": x.numpy()}), rtol=1e-4)
        assert found.ok, str(found)


def test_axes_have_the_given_names_and_bytes_are_equal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_mixed(tmp_path / name, 17)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not traces(tmp_path / "a")
    graph = onnx.load(tmp_path / "a").graph
    named = [value.type.tensor_type.shape.dim[0].dim_param for value in graph.output]
    assert [v.name for v in graph.input] == ["in put"]
    assert named == ["batch", "batch"]


@pytest.mark.parametrize("kind", [Attention, Packaged])
def test_attention_takes_any_batch_and_any_length(kind: type[nn.Module], tmp_path: Path) -> None:
    path, network = tmp_path / "m.onnx", kind().eval()
    free = kind is Attention
    export_onnx(
        network,
        [torch.randint(1, 8, (2, 5))],
        path,
        input_names=["tokens"],
        output_names=["y"],
        dynamic_axes={"tokens": {0: "batch", 1: "sequence"} if free else {0: "batch"}},
        opset=14,
    )
    for shape in ((1, 1), (3, 9), (7, 2)):
        tokens = torch.randint(1, 8, shape if free else (shape[0], 5))
        with torch.no_grad():
            reference = {"y": network(tokens).numpy()}
        found = parity(reference, predictor(path)({"tokens": tokens.numpy()}), rtol=1e-4)
        assert found.ok, str(found)


class Inverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.linalg.inv(x)
        return found


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("only on Tuesdays\nand Sundays")


@pytest.mark.parametrize(
    ("network", "reason"),
    [(Inverse(), "linalg_inv"), (Fails(), "only on Tuesdays and Sundays")],
)
def test_what_cannot_be_translated_is_refused_in_one_paragraph(
    network: nn.Module, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        export_onnx(
            network,
            [torch.eye(3).repeat(2, 1, 1)],
            tmp_path / "m.onnx",
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}},
            opset=13,
        )
    assert "\n" not in str(caught.value)
    assert "opset 13 was asked for" in str(caught.value)
    assert "14 to 17 if it is TensorRT 8.5" in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_uint8_picture_goes_in_as_it_is(tmp_path: Path) -> None:
    class Pixels(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return (image.permute(0, 3, 1, 2).float() - 127.5).mean((2, 3))

    image = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    export_onnx(
        Pixels(),
        [torch.as_tensor(image)],
        tmp_path / "m.onnx",
        input_names=["image"],
        output_names=["mean"],
        dynamic_axes={"image": {0: "batch"}},
        opset=13,
    )
    found = predictor(tmp_path / "m.onnx")({"image": image[:1]})["mean"]
    np.testing.assert_allclose(found, image[:1].mean((1, 2)) - 127.5, rtol=1e-4, atol=1e-3)
