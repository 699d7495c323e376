"""An exported file is held against PyTorch on real samples and at the edges of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import ModelError
from edgekd.evaluation.fidelity import Fidelity, read_parity, write_parity
from edgekd.evaluation.parity_check import cases, check_export
from edgekd.exporters.torch_to_onnx import export_onnx

ARRAYS = ArrayPreprocess(names=("x",))


class One(nn.Module):
    """A function as a network with one output in a tuple."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.function(x),)


def export(network: nn.Module, path: Path, *, opset: int = 18) -> None:
    export_onnx(
        network,
        [torch.randn(2, 6)],
        path,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}},
        opset=opset,
    )


def check(
    network: nn.Module, path: Path, samples: np.ndarray[Any, Any] | None = None
) -> tuple[Fidelity, ...]:
    drawn = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    given = {"x": drawn if samples is None else samples}
    return check_export(network, path, given, outputs=["y"], preprocess=ARRAYS)


def test_every_edge_is_compared_and_kept(tmp_path: Path) -> None:
    network = One(nn.Linear(6, 2)).eval()
    export(network, tmp_path / "m.onnx")
    rows = check(network, tmp_path / "m.onnx")
    assert [row.inputs for row in rows] == [
        *("8 real samples", "a batch of 1", "a batch of 7"),
        *("zeros", "the least values", "the greatest values"),
    ]
    assert all(row.relative is not None and row.relative < 1e-5 for row in rows)
    write_parity(tmp_path, rows)
    assert read_parity(tmp_path) == rows
    assert read_parity(tmp_path / "elsewhere") == ()


def test_another_file_is_refused_with_the_worst_sample(tmp_path: Path) -> None:
    export(One(nn.Linear(6, 2)).eval(), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"for 8 real samples.*most in sample"):
        check(One(nn.Linear(6, 2)).eval(), tmp_path / "m.onnx")


def test_a_decision_that_tracing_froze_is_found(tmp_path: Path) -> None:
    """The older exporter takes the branch of the example; the extremes take the other one."""
    network = One(lambda x: x * 2 if float(x.abs().max()) < 100 else x * 0).eval()
    export(network, tmp_path / "m.onnx", opset=13)
    samples = np.full((8, 6), 3, np.float32)
    samples[0, 0] = 200
    with pytest.raises(ModelError, match="older exporter freezes such code"):
        check(network, tmp_path / "m.onnx", samples)


def test_what_pytorch_cannot_compute_at_an_edge_is_noted(tmp_path: Path) -> None:
    network = One(lambda x: x / x.abs().sum(1, keepdim=True)).eval()
    export(network, tmp_path / "m.onnx")
    noted = {row.inputs: row.note for row in check(network, tmp_path / "m.onnx")}
    assert noted["zeros"] == "PyTorch itself gives NaN or infinity"
    assert noted["the greatest values"] == ""


def test_nan_for_a_real_sample_fails(tmp_path: Path) -> None:
    network = One(lambda x: x / x.abs().sum(1, keepdim=True)).eval()
    export(network, tmp_path / "m.onnx")
    samples = np.ones((8, 6), np.float32)
    samples[3] = 0
    with pytest.raises(ModelError, match="6 elements are NaN or infinite, the first in sample 3"):
        check(network, tmp_path / "m.onnx", samples)


def test_rounding_that_pytorch_itself_has_is_no_fault(tmp_path: Path) -> None:
    """Of a constant row the deviation is rounding alone, and the division amplifies it."""

    class Standardized(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            centred = x - x.mean(1, keepdim=True)
            return (centred / (centred.abs().mean(1, keepdim=True) + 1e-7),)

    network = Standardized().eval()
    export(network, tmp_path / "m.onnx")
    samples = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32) + 0.1
    rows = check(network, tmp_path / "m.onnx", samples)
    assert len(rows) == 6


def test_without_float64_an_edge_is_noted_and_ends_nothing(tmp_path: Path) -> None:
    """It casts to float32 by itself; the file is off by 0.1 % at the edges and nowhere else."""

    def body(x: Tensor) -> Tensor:
        return x.float() @ torch.ones(6, 2)

    class Off(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            constant = torch.all(x.amax(1) == x.amin(1))
            return (body(x) * torch.where(constant, 1.001, 1.0),)

    export(Off().eval(), tmp_path / "m.onnx")
    rows = check(One(lambda x: body(x)).eval(), tmp_path / "m.onnx")
    noted = {row.inputs: row.note for row in rows if row.note}
    assert set(noted) == {"the least values", "the greatest values"}
    assert "no float64" in noted["the least values"]


def test_pixels_go_to_the_ends_of_their_range_and_texts_to_theirs() -> None:
    pixels = ImagePreprocess(name="image", height=4, width=4, mean=(0.0,) * 3, std=(1.0,) * 3)
    image = np.full((2, 4, 4, 3), 7, np.uint8)
    found = {title: inputs["image"] for title, inputs, _ in cases({"image": image}, pixels)}
    assert found["the greatest values"].max() == found["the greatest values"].min() == 255
    assert found["a batch of 7"].shape == (7, 4, 4, 3)
    words = TextPreprocess(vocabulary=("a", "b"), max_length=12)
    texts = words.encode({"text": np.array(["a b a"])})
    lengths = {title: inputs["tokens"].shape for title, inputs, _ in cases(texts, words)}
    assert lengths == {
        "1 real sample": (1, 3),
        "a batch of 7": (7, 3),
        "1 token": (2, 1),
        "12 tokens": (2, 12),
    }
