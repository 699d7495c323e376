"""How long texts may be for an ONNX file is found by running it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import ModelError
from edgekd.exporters.ort_session import predictor
from edgekd.teacher.file_lengths import fit_lengths

WORDS = TextPreprocess(vocabulary=("a", "b", "c")).changed(ids="ids", mask=None)

TABLE = """<ir_version: 8, opset_import: ["" : 17]>
m (int64[n, s] ids) => (float[n] y) {
  words = Gather <axis = 0> (w, ids)
  shape = Shape <start = 1> (ids)
  places = Slice (p, zero, shape)
  sum = Add (words, places)
  y = ReduceSum <keepdims = 0> (sum, one)
}"""
KERNEL = """<ir_version: 8, opset_import: ["" : 17]>
m (int64[n, s] ids) => (float[n, c, t] y) {
  words = Cast <to = 1> (ids)
  rows = Unsqueeze (words, one)
  y = Conv (rows, k)
}"""
FLAT = """<ir_version: 8, opset_import: ["" : 17]>
m (int64[n, s] ids) => (float[n, r] y) {
  words = Cast <to = 1> (ids)
  y = Reshape (words, to)
}"""
VALUES = {
    "w": np.arange(5, dtype=np.float32),
    "p": np.arange(40, dtype=np.float32),
    "k": np.ones((1, 1, 5), np.float32),
    "zero": np.array([0]),
    "one": np.array([1]),
    "to": np.array([-1, 21]),
    "never": np.array([1, 1000003]),
}


def write(text: str, path: Path) -> Path:
    model = onnx.parser.parse_model(text)
    used = {name for node in model.graph.node for name in node.input}
    for name in sorted(used & VALUES.keys()):
        model.graph.initializer.append(onnx.numpy_helper.from_array(VALUES[name], name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("text", "lengths", "said"),
    [
        (TABLE, (1, 40), ["m takes at most 40 tokens; longer texts are cut there"]),
        (KERNEL, (5, 128), ["m takes at least 5 tokens; shorter texts are padded to that"]),
        (FLAT, (21, 21), ["m takes texts of 21 tokens; shorter ones are padded, longer ones cut"]),
    ],
)
def test_texts_get_the_lengths_on_which_the_file_runs(
    text: str, lengths: tuple[int, int], said: list[str], tmp_path: Path
) -> None:
    path = write(text, tmp_path / "m.onnx")
    found, notes = fit_lengths(path, WORDS, asked=False, file="m")
    assert (found.min_length, found.max_length) == lengths
    assert notes == said
    given = found.encode({"text": np.array([" ".join("abc" * 90), "a"], object)})
    (answer,) = predictor(path)(given).values()
    assert len(answer) == 2


def test_a_length_that_was_asked_for_is_not_changed(tmp_path: Path) -> None:
    path = write(TABLE, tmp_path / "m.onnx")
    short = WORDS.changed(max_length=24)
    assert fit_lengths(path, short, asked=True, file="m") == (short, [])
    with pytest.raises(
        ModelError, match=r"max_length is 60, and m takes 1 to 40 tokens; .*max_length.*40"
    ):
        fit_lengths(path, WORDS.changed(max_length=60), asked=True, file="m")
    path = write(KERNEL, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"max_length is 3, and m takes no fewer than 5 tokens"):
        fit_lengths(path, WORDS.changed(max_length=3), asked=True, file="m")


def test_one_length_for_all_texts_becomes_the_longest_that_runs(tmp_path: Path) -> None:
    path = write(TABLE, tmp_path / "m.onnx")
    found, _ = fit_lengths(path, WORDS.changed(min_length=128), asked=False, file="m")
    assert (found.min_length, found.max_length) == (40, 40)


def test_a_file_that_runs_on_no_length_is_refused_with_the_runtimes_reason(tmp_path: Path) -> None:
    path = write(FLAT.replace("to)", "never)"), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m cannot take texts: .* \[2, 8\].*Reshape"):
        fit_lengths(path, WORDS.changed(max_length=8), asked=False, file="m")
