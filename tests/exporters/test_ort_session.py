"""One place opens sessions: equal inputs give equal bits, and what does not fit is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.ort_session import Level, batch_size, open_session, optimized, predictor
from edgekd.exporters.shapes import fixed_shape


def test_a_predictor_gives_equal_bits_and_takes_only_what_the_file_knows(pixels: Any) -> None:
    inputs = {"image": pixels.example[0].numpy(), "index": np.arange(2)}
    first, second = (predictor(pixels.path)(inputs)["logits"] for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_predictor_says_what_does_not_fit(pixels: Any, tmp_path: Path) -> None:
    predict = predictor(pixels.path)
    with pytest.raises(ModelError, match=r"needs the inputs \['image'\]"):
        predict({"picture": pixels.example[0].numpy()})
    with pytest.raises(ModelError, match=r"float32 \[2, 16, 16, 3\]"):
        predict({"image": pixels.example[0].numpy().astype(np.float32)})
    with pytest.raises(ModelError, match="cannot load"):
        predictor(tmp_path / "none.onnx")


def test_a_broken_model_is_named_as_the_caller_calls_it() -> None:
    with pytest.raises(ModelError, match="cannot load the model: "):
        open_session(b"junk")
    with pytest.raises(ModelError, match=r"cannot load mine\.onnx: "):
        open_session(b"junk", name="mine.onnx")


def test_the_batch_of_a_file_is_its_fixed_first_axis_or_the_default(
    pixels: Any, tmp_path: Path
) -> None:
    assert batch_size(pixels.path) == 64
    assert batch_size(pixels.path, default=2) == 2
    save_onnx(fixed_shape(onnx.load(pixels.path), 3), tmp_path / "three.onnx")
    assert batch_size(tmp_path / "three.onnx", default=2) == 3


def test_the_level_decides_what_is_left_of_the_graph(pixels: Any) -> None:
    plain, fused = (
        optimized(pixels.path, level=level)
        for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL)
    )
    assert len(plain.graph.node) == len(onnx.load(pixels.path).graph.node)
    assert len(fused.graph.node) < len(plain.graph.node)


def test_a_file_of_a_fixed_batch_takes_any_number_of_samples(pixels: Any, tmp_path: Path) -> None:
    save_onnx(fixed_shape(onnx.load(pixels.path), 3), tmp_path / "three.onnx")
    image = np.random.default_rng(2).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    free, fixed = predictor(pixels.path), predictor(tmp_path / "three.onnx")
    for count in (1, 3, 7):
        expected = free({"image": image[:count]})["logits"]
        found = fixed({"image": image[:count]})["logits"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
