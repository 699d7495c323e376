"""Two files are compared output by output: in dB, by answers, with the worst sample's number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.evaluation.fidelity import Fidelity, compare_files

PLAIN = ArrayPreprocess(names=("x",))


def save(path: Path, body: str, outputs: str, *, batch: str = "batch") -> Path:
    text = (
        f'<ir_version: 8, opset_import: ["": 17]> g (float[{batch},3] x) => ({outputs}) {{{body}}}'
    )
    onnx.save(parser.parse_model(text), path)
    return path


def compare(a: Path, b: Path, values: Sequence[Sequence[float]]) -> tuple[Fidelity, ...]:
    x = np.array(values, np.float32)
    dataset = Dataset("array", {"x": x}, {})
    index = np.arange(len(x))[::-1].copy()  # numbers of the data set, in another order
    data = Data(dataset, {"validation": index}, augment=Augment(), seed=0)
    return compare_files(a, b, data, PLAIN, name="fp32")


def test_signal_to_noise_agreement_and_worst_sample_by_hand(tmp_path: Path) -> None:
    """y = x; the other adds 0.5 to the last column: noise 0.25 of a sample's energy."""
    a = save(tmp_path / "a.onnx", "y = Identity(x)", "float[batch,3] y")
    half = "half = Constant<value_floats = [0.0, 0.0, 0.5]>() y = Add(x, half)"
    b = save(tmp_path / "b.onnx", half, "float[batch,3] y")
    (row,) = compare(a, b, [[10, 0, 0], [0, 1, 0.75], [0, 10, 0], [0, 0, 10]])
    assert (row.reference, row.inputs, row.samples) == ("fp32", "4 validation samples", 4)
    assert row.snr_db == pytest.approx(10 * np.log10((300 + 1.5625) / 1.0))
    assert row.worst_sample == 1
    assert row.worst_db == pytest.approx(10 * np.log10(1.5625 / 0.25))
    assert row.agreement is not None
    assert row.agreement.value == 75.0
    assert row.agreement.low < 75.0 < row.agreement.high


def test_equal_files_are_equal_and_whole_numbers_are_counted(tmp_path: Path) -> None:
    body = "y = Identity(x) best = ArgMax<axis = 1, keepdims = 0>(x) all = ReduceMax<keepdims=0>(x)"
    outputs = "float[batch,3] y, int64[batch] best, float all"
    a = save(tmp_path / "a.onnx", body, outputs)
    rows = {row.output: row for row in compare(a, a, np.eye(3).tolist())}
    assert set(rows) == {"y", "best", "all"}
    assert rows["y"].snr_db == rows["all"].snr_db == 150.0
    assert rows["best"].snr_db is None
    assert rows["best"].agreement is not None
    assert rows["best"].agreement.value == 100.0


def test_nan_outweighs_everything(tmp_path: Path) -> None:
    a = save(tmp_path / "a.onnx", "y = Identity(x)", "float[batch,3] y")
    b = save(tmp_path / "b.onnx", "r = Sqrt(x) y = Mul(r, r)", "float[batch,3] y")
    (row,) = compare(a, b, [[1, 2, 3], [1, -1, 1], [2, 2, 2]])
    assert row.snr_db is not None
    assert row.snr_db < -130
    assert row.worst_sample == 1


def test_a_fixed_batch_is_called_as_often_as_it_takes(tmp_path: Path) -> None:
    a = save(tmp_path / "a.onnx", "y = Identity(x)", "float[2,3] y", batch="2")
    rows: Any = compare(a, a, np.eye(3).tolist())
    assert rows[0].samples == 3
    assert rows[0].snr_db == 150.0
