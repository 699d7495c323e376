"""Recurrent layers and bags in exported graphs compute what torch does, for any length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgekd.exporters.ort_session import predictor
from edgekd.exporters.torch_to_onnx import export_onnx

FREE = {"x": {0: "batch", 1: "sequence"}, "mask": {0: "batch", 1: "sequence"}}


class Recurrent(nn.Module):
    """One kind of layer, packed or not."""

    def __init__(self, kind: str, *, packed: bool, states: bool = False, **how: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 4)
        self.rnn = getattr(nn, kind)(4, 6, **how)
        self.packed, self.states = packed, states

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        values, first = self.embedding(x), self.rnn.batch_first
        values = values if first else values.transpose(0, 1)
        rnn = nn.utils.rnn
        if self.packed:
            lengths = mask.sum(1).cpu()
            values = rnn.pack_padded_sequence(values, lengths, first, enforce_sorted=False)
        start: Any = None
        if self.states:
            rows = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
            start = torch.full((rows, x.shape[0], 6), 0.3)
            start = (start, 2 * start) if self.rnn.mode == "LSTM" else start
        out, last = self.rnn(values, start)
        if self.packed:
            out, _ = rnn.pad_packed_sequence(out, first)
        out = out if first else out.transpose(0, 1)
        return out, last[1] if isinstance(last, tuple) else last


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("LSTM", {"packed": True, "num_layers": 2, "bidirectional": True, "batch_first": True}),
        ("LSTM", {"packed": False, "states": True, "bias": False}),
        ("GRU", {"packed": True, "bidirectional": True, "states": True}),
        ("RNN", {"packed": True, "nonlinearity": "relu", "batch_first": True}),
    ],
)
def test_any_length_exports_to_one_operator_per_layer(
    kind: str, how: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = Recurrent(kind, **how).eval()
    path, example = tmp_path / "m.onnx", torch.randint(1, 20, (2, 5))
    export_onnx(
        network,
        [example, torch.ones_like(example)],
        path,
        dynamic_axes=FREE,
        input_names=["x", "mask"],
        output_names=["out", "last"],
    )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count(kind) == network.rnn.num_layers
    assert "Loop" not in operators
    assert "forward" not in vars(network.rnn), "the network is as it was"
    assert not dict(network.named_buffers())
    x, mask = torch.randint(1, 20, (3, 9)), torch.ones(3, 9, dtype=torch.int64)
    mask[0, 4:], mask[2, 1:] = 0, 0
    with torch.no_grad():
        wanted = network(x, mask)
    got = predictor(path)({"x": x.numpy(), "mask": mask.numpy()})
    for want, have in zip(wanted, got.values(), strict=True):
        assert np.allclose(want.numpy(), have, atol=1e-5)


class Bags(nn.Module):
    """Every mode, with and without a number of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.ModuleList(
            nn.EmbeddingBag(20, 4, mode=mode, padding_idx=padding)
            for mode in ("mean", "sum", "max")
            for padding in (None, 0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([bag(x) for bag in self.bags], dim=1)


def test_bags_export_without_a_loop(tmp_path: Path) -> None:
    bags, path, example = Bags().eval(), tmp_path / "m.onnx", torch.randint(1, 20, (2, 5))
    export_onnx(
        bags,
        [example],
        path,
        dynamic_axes={"x": FREE["x"]},
        input_names=["x"],
        output_names=["y"],
    )
    assert "Loop" not in [node.op_type for node in onnx.load(path).graph.node]
    x = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8], [0, 0, 0, 0]])
    with torch.no_grad():
        assert np.allclose(bags(x).numpy(), predictor(path)({"x": x.numpy()})["y"], atol=1e-6)
