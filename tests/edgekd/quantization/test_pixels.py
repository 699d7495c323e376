"""INT8 convolutions read uint8 pixels as they come, and are exact where the picture ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.quantization.layouts import XNNPACK
from edgekd.quantization.pixels import Pixels, find_pixels
from edgekd.quantization.static import quantize_int8

SIZE = 12
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def network(build: Any, mean: Any, std: Any, **how: Any) -> Path:
    """Write a network of one convolution: uint8 pixels in any layout, any padding, to floats."""
    pads, layout, group = how.get("pads", 1), how.get("layout", "nhwc"), how.get("group", 1)
    c = len(mean)
    last = layout == "nhwc"
    shape = f"[batch, {SIZE}, {SIZE}, {c}]" if last else f"[batch, {c}, {SIZE}, {SIZE}]"
    first = "t = Transpose<perm = [0, 3, 1, 2]>(x)" if last else "t = Identity(x)"
    rng = np.random.default_rng(0)
    weights = {
        "m": np.array(mean, np.float32).reshape(-1, 1, 1),
        "s": np.array(std, np.float32).reshape(-1, 1, 1),
        "w": rng.standard_normal((6, c // group, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(6).astype(np.float32),
    }
    text = f"""(uint8{shape} x) => (float[batch, 6, r, q] y) {{
        {first} f = Cast<to = 1>(t) a = Sub(f, m) d = Div(a, s)
        c = Conv<pads = [{pads}, {pads}, {pads}, {pads}], group = {group}>(d, w, b)
        y = Relu(c)
    }}"""
    path: Path = build(text, weights)
    return path


def pictures(channels: int, layout: str) -> NDArray[np.uint8]:
    """Smooth pictures that are not grey, so that a padding of another colour would be seen."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (32, SIZE // 4, SIZE // 4, channels))
    found = coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    return found if layout == "nhwc" else found.transpose(0, 3, 1, 2).copy()


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "imagenet": (*IMAGENET, {}),
    "imagenet, channels first": (*IMAGENET, {"layout": "nchw"}),
    "imagenet, no padding": (*IMAGENET, {"pads": 0}),
    "unlike means and deviations": ((10.0, 128.0, 240.0), (20.0, 60.0, 90.0), {}),
    "equal means": ((127.0,) * 3, (128.0,) * 3, {}),
    "between two levels": ((127.5,) * 3, (127.5,) * 3, {}),
    "0..1": ((0.0,) * 3, (255.0,) * 3, {}),
    "grey": ((33.3,), (78.6,), {}),
    "by groups": ((127.0,) * 3, (50.0, 60.0, 70.0), {"group": 3}),
    "white means": ((250.0, 255.0, 245.0), (9.0, 9.0, 9.0), {}),
    "black means": ((0.4, 0.0, 12.0), (9.0, 9.0, 9.0), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_need_no_operator_and_the_rim_is_as_exact_as_the_rest(
    name: str, build: Any, batched: Any, as_written: Any, tmp_path: Path
) -> None:
    mean, std, how = CASES[name]
    source, target = network(build, mean, std, **how), tmp_path / "int8.onnx"
    images = {"x": pictures(len(mean), how.get("layout", "nhwc"))}
    quantize_int8(source, target, batched(images, 8))
    operators = [node.op_type for node in load_onnx(target).graph.node]
    assert not {"Cast", "Sub", "Mul", "Div"} & set(operators)
    assert operators.count("QuantizeLinear") == 1  # of what the convolution gives
    assert int8_layers(target).quantize_left == 0
    want, got = predictor(source)(images)["y"], as_written(target)(images)["y"]
    error = (want - got) / (want.max() / 255)
    rim = np.ones(want.shape[2:], bool)
    rim[1:-1, 1:-1] = False
    assert np.sqrt((error[..., rim] ** 2).mean()) < 1.25  # steps of the 8-bit grid
    assert np.sqrt((error[..., ~rim] ** 2).mean()) < 1.25
    assert np.abs(error.mean(axis=(0, 2, 3))).max() < 1  # rounded weights shift no channel


def test_depthwise_pixels_of_unlike_means_are_rounded_as_other_tensors_are(
    build: Any, batched: Any, tmp_path: Path
) -> None:
    """A plane would have to join every group."""
    source = network(build, *IMAGENET, group=3)
    images = {"x": pictures(3, "nhwc")}
    quantize_int8(source, tmp_path / "int8.onnx", batched(images, 8))
    operators = [node.op_type for node in load_onnx(tmp_path / "int8.onnx").graph.node]
    assert operators.count("QuantizeLinear") == 2


def test_symmetric_activations_do_not_take_pixels(build: Any, batched: Any, tmp_path: Path) -> None:
    """int8 has no place for 128..255: the subtracted form uses all of its bits."""
    source, images = network(build, *IMAGENET), {"x": pictures(3, "nhwc")}
    quantize_int8(source, tmp_path / "int8.onnx", batched(images, 8), layout=XNNPACK)
    assert "Sub" in [node.op_type for node in load_onnx(tmp_path / "int8.onnx").graph.node]


def test_the_plane_carries_what_the_means_differ_by() -> None:
    """By hand: channels 10 below and 20 above the zero point 100, weights 2 and 3."""
    mean = np.array([90.0, 120.0])
    pixels = Pixels(source="x", zero=100, mean=mean, has_plane=True, groups=1)
    weight = np.array([2.0, 3.0], np.float32).reshape(1, 2, 1, 1)
    wide = pixels.widen(weight)
    assert pixels.plane == 255
    np.testing.assert_allclose(wide[0, 2, 0, 0], -(2 * -10 + 3 * 20) / 155)
    x = np.array([130.0, 50.0, 255.0]) - 100
    np.testing.assert_allclose((wide[0, :, 0, 0] * x).sum(), 2 * (130 - 90) + 3 * (50 - 120))
    exact = pixels.correct_bias(np.array([7.0], np.float32), weight, wide.astype(np.float64))
    np.testing.assert_allclose(exact, [7.0], atol=1e-4)
    rounded = wide.astype(np.float64) + 0.25  # what rounding took is put back for mean colours
    found = pixels.correct_bias(None, weight, rounded)
    np.testing.assert_allclose(found, [-0.25 * (-10 + 20 + 155)], atol=1e-4)


def test_a_free_size_is_not_taken(build: Any) -> None:
    """The plane needs the size of the picture; only the batch may be free."""
    text = """(uint8[batch, 3, h, v] x) => (float[batch, 6, r, q] y) {
        f = Cast<to = 1>(x) a = Sub(f, m) y = Conv<pads = [1, 1, 1, 1]>(a, w)
    }"""
    weights = {
        "m": np.array([90, 100, 120], np.float32).reshape(3, 1, 1),
        "w": np.ones((6, 3, 3, 3), np.float32),
    }
    assert find_pixels(load_onnx(build(text, weights))) == {}
