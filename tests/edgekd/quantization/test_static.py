"""INT8 files are right, fused, and the same bytes from the same samples, however they come."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekd.errors import DataError, ModelError, NothingToDo
from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.model_stats import facts
from edgekd.exporters.onnx_files import load_onnx, save_onnx, traces
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import parity
from edgekd.exporters.shapes import fixed_shape
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.layouts import XNNPACK
from edgekd.quantization.static import calibrate, quantize_int8


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_int8_file_answers_like_the_float_one(
    cnn: Path, pictures: Any, batched: Any, as_written: Any, tmp_path: Path
) -> None:
    said = quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    assert (said.kind, said.samples, said.layers, said.left) == ("convolutional", 24, 3, {})
    json.dumps(said.to_json())
    before, after = predictor(cnn)(pictures), as_written(tmp_path / "m.onnx")(pictures)
    found = parity(before, after, rtol=1.0).outputs["logits"]
    assert found.snr_db > 25
    assert len(np.unique(after["logits"])) > 100  # logits are float: 8 bits would tie


CHAIN = """(float[batch, 3, 8, 8] x) => (float[batch, 4] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w)
    r = Relu(a)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = MatMul(f, v)
}"""


@pytest.mark.parametrize("gaps", [True, False])
def test_the_fused_kernels_answer_as_the_file_says(
    gaps: bool, build: Any, batched: Any, as_written: Any, saturates: bool, tmp_path: Path
) -> None:
    """Where weights have gaps two products never meet in 16 bits, so that every CPU is right."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((8, 4)).astype(np.float32),
    }
    if gaps:
        weights["w"].reshape(8, 27)[:, ::2] = 0
        weights["v"][::2] = 0
    arrays = {"x": rng.standard_normal((16, 3, 8, 8)).astype(np.float32)}
    path = tmp_path / "m.onnx"
    quantize_int8(build(CHAIN, weights), path, batched(arrays, 8))
    assert (int8_layers(path).int8_layers, int8_layers(path).fp32_layers) == (2, 0)
    if gaps or not saturates:
        found = parity(as_written(path)(arrays), predictor(path)(arrays), rtol=1.0)
        assert found.outputs["y"].snr_db > 30


def test_every_layer_runs_in_int8(cnn: Path, pictures: Any, batched: Any, tmp_path: Path) -> None:
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    found = int8_layers(tmp_path / "m.onnx")
    assert (found.int8_layers, found.fp32_layers) == (3, 0)
    assert (found.quantize_left, found.dequantize_left) == (0, 0)  # pixels are 8 bits already
    assert found.operators["QLinearAdd"] == found.operators["QLinearGlobalAveragePool"] == 1
    assert "Relu" not in found.operators
    assert "Clip" not in found.operators
    assert int8_layers(cnn).int8_layers == 0
    assert int8_layers(cnn).fp32_layers == 3


def test_facts_of_both_forms_agree(cnn: Path, pictures: Any, batched: Any, tmp_path: Path) -> None:
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    before, after = facts(cnn), facts(tmp_path / "m.onnx")
    # The batch norm of the float file (4 vectors) is folded into weight and bias, mean and std of
    # the pixels into a fourth channel of the first convolution.
    assert after.parameters == before.parameters - 3 * 16 - 2 * 3 + 16 * 9
    assert before.macs
    assert after.macs == before.macs + 8 * 8 * 16 * 9
    assert (before.int8_share, after.int8_share) == (0.0, 1.0)
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)


def test_weights_are_symmetric_int8_per_channel(
    cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    tensors = {
        t.name: numpy_helper.to_array(t) for t in load_onnx(tmp_path / "m.onnx").graph.initializer
    }
    for name in ("w1", "w3"):
        rows = tensors[name].reshape(len(tensors[name]), -1).astype(int)
        assert tensors[name].dtype == np.int8
        assert (np.abs(rows).max(axis=1) >= 64).all()  # seven bits at least
        assert (np.abs(rows) <= 127).all()  # never -128


def test_bytes_depend_on_the_samples_alone(
    cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    shuffled = np.random.default_rng(1).permutation(24)
    for name, feeds in {
        "one": batched(pictures, 1),
        "eight": batched(pictures, 8),
        "uneven": batched(pictures, 7),
        "shuffled": batched(pictures, 5, shuffled),
    }.items():
        quantize_int8(cnn, tmp_path / f"{name}.onnx", feeds)
    assert len({sha256(path) for path in tmp_path.iterdir()}) == 1
    fewer = batched({"image": pictures["image"][:3]}, 8)
    quantize_int8(cnn, tmp_path / "fewer.onnx", fewer)
    assert sha256(tmp_path / "fewer.onnx") != sha256(tmp_path / "one.onnx")


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from edgekd.exporters.shapes import fixed_shape
from edgekd.quantization.static import quantize_int8
arrays = np.load(sys.argv[3])
quantize_int8(Path(sys.argv[1]), Path(sys.argv[2]), lambda: iter([dict(arrays)]))
"""


def test_another_process_writes_the_same_bytes(
    attention: Path, cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    tokens = {"tokens": np.random.default_rng(0).integers(0, 40, (6, 5))}
    root = str(Path(__file__).parents[3])
    for name, path, arrays in (("cnn", cnn, pictures), ("attention", attention, tokens)):
        np.savez(tmp_path / "feeds.npz", **arrays)
        mine, theirs = tmp_path / f"{name}.mine", tmp_path / f"{name}.theirs"
        command = [sys.executable, "-c", SCRIPT, path, theirs, tmp_path / "feeds.npz"]
        env = {"PYTHONHASHSEED": "5", "PYTHONPATH": root}
        subprocess.run([str(part) for part in command], check=True, env=env)
        quantize_int8(path, mine, batched(arrays, 2))
        assert sha256(mine) == sha256(theirs)


def test_nothing_is_left_behind_or_said(
    cnn: Path,
    pictures: Any,
    batched: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    int8_layers(tmp_path / "m.onnx")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert capfd.readouterr() == ("", "")
    model = load_onnx(tmp_path / "m.onnx")
    assert traces(tmp_path / "m.onnx", [str(tmp_path), "onnxruntime", "onnx.infer"]) == []
    assert (model.producer_name, list(model.metadata_props)) == ("edgekd", [])


def test_equal_zero_points_are_stored_once(
    cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    model = load_onnx(tmp_path / "m.onnx")
    layout = {n for node in model.graph.node if "Linear" in node.op_type for n in node.input[1:]}
    stored = [t for t in model.graph.initializer if t.name in layout]
    values = [(t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes()) for t in stored]
    assert len(values) == len(set(values))


def test_memory_does_not_grow_with_the_samples(cnn: Path, pictures: Any, tmp_path: Path) -> None:
    def peak_bytes(batches: int) -> int:
        feeds = ({"image": pictures["image"][:4].copy()} for _ in range(batches))
        gc.collect()
        tracemalloc.start()
        quantize_int8(cnn, tmp_path / "m.onnx", lambda: feeds)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(1)  # imports
    few, many = 2, 100
    grown = peak_bytes(many) - peak_bytes(few)
    # 98 batches of 3,072 bytes are 300 kB, and what a layer makes of them is more still. A peak
    # differs by a few kB from run to run (dicts that grow, a garbage collection that comes late).
    assert grown < 0.1 * (many - few) * pictures["image"][:4].nbytes


def test_int8_activations_are_symmetric_and_do_not_fuse(
    cnn: Path, pictures: Any, batched: Any, as_written: Any, tmp_path: Path
) -> None:
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8), layout=XNNPACK)
    model = load_onnx(tmp_path / "m.onnx")
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    zeros = [tensors[node.input[2]] for node in quantizers]
    assert {(str(zero.dtype), int(zero)) for zero in zeros} == {("int8", 0)}
    before, after = predictor(cnn)(pictures), as_written(tmp_path / "m.onnx")(pictures)
    assert parity(before, after, rtol=1.0).outputs["logits"].snr_db > 20
    assert int8_layers(tmp_path / "m.onnx").dequantize_left > 3


def test_a_transformer_gets_its_constant_products_only(
    attention: Path, batched: Any, as_written: Any, tmp_path: Path
) -> None:
    tokens = {"tokens": np.random.default_rng(0).integers(0, 40, (16, 7))}
    said = quantize_int8(attention, tmp_path / "m.onnx", batched(tokens, 4))
    assert (said.kind, said.layers, len(said.left)) == ("transformer", 3, 2)
    found = int8_layers(tmp_path / "m.onnx")
    assert (found.int8_layers, found.fp32_layers) == (3, 2)
    assert found.dequantize_left == 0  # products leave in float by one fused kernel
    # What is added to the residual stream is the float tensor, not its rounded form.
    model = load_onnx(tmp_path / "m.onnx")
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    residual = next(n for n in model.graph.node if n.output[0] == "r")
    assert {makers[name] for name in residual.input} == {"MatMul", "LayerNormalization"}
    before, after = predictor(attention)(tokens), as_written(tmp_path / "m.onnx")(tokens)
    assert parity(before, after, rtol=1.0).outputs["y"].snr_db > 25


def test_lengths_may_differ_between_samples(attention: Path, tmp_path: Path) -> None:
    def feeds() -> Iterator[dict[str, Any]]:
        for length in (3, 9, 5):
            yield {"tokens": np.arange(length)[None] % 40}

    assert quantize_int8(attention, tmp_path / "m.onnx", feeds).samples == 3


def test_boxes_and_scores_do_not_share_a_range(
    detector: Path, batched: Any, as_written: Any, tmp_path: Path
) -> None:
    """Boxes reach hundreds, scores one: joined in 8 bits every score would be 0."""
    arrays = {"image": np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)}
    quantize_int8(detector, tmp_path / "m.onnx", batched(arrays, 4))
    before = predictor(detector)(arrays)["found"]
    after = as_written(tmp_path / "m.onnx")(arrays)["found"]
    assert np.abs(before[:, 4:] - after[:, 4:]).max() < 0.05
    found = int8_layers(tmp_path / "m.onnx")
    assert (found.int8_layers, found.fp32_layers) == (3, 0)
    assert found.operators["Concat"] == 1


FOREIGN = """(float[batch, 8, 8, 3] x, int64[1] unused) => (float[batch, 4] y) {
    t = Transpose<perm = [0, 3, 1, 2]>(x)
    c = Conv<auto_pad = "SAME_UPPER">(t, w)
    n = BatchNormalization(c, g, b, m, v)
    r = Relu(n)
    p = ReduceMean<axes = [2, 3], keepdims = 0>(r)
    y = MatMul(p, w2)
}"""


@pytest.mark.parametrize("opset", [9, 11, 13, 20])
def test_a_foreign_file_of_any_operator_set(
    opset: int, build: Any, as_written: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        **{name: np.full(8, 1.5, np.float32) for name in "gbmv"},
        "w2": rng.standard_normal((8, 4)).astype(np.float32),
    }
    text = (
        FOREIGN
        if opset < 18
        else FOREIGN.replace("axes = [2, 3], ", "").replace("(r)", "(r, axes)")
    )
    if opset >= 18:
        weights["axes"] = np.array([2, 3], np.int64)
    path = build(text, weights, opset=opset)
    arrays = {"x": rng.standard_normal((6, 8, 8, 3)).astype(np.float32)}
    feeds: list[dict[str, Any]] = [
        {"x": arrays["x"][i : i + 2], "unused": np.zeros(1, np.int64)} for i in (0, 2, 4)
    ]
    said = quantize_int8(path, tmp_path / "m.onnx", lambda: iter(feeds))
    assert (said.samples, said.layers) == (6, 2)
    assert int8_layers(tmp_path / "m.onnx").int8_layers == 2
    assert load_onnx(tmp_path / "m.onnx").opset_import[0].version >= 13
    whole: dict[str, Any] = {**arrays, "unused": np.zeros(1, np.int64)}
    before, after = predictor(path)(whole), as_written(tmp_path / "m.onnx")(whole)
    assert parity(before, after, rtol=1.0).outputs["y"].snr_db > 25


def test_a_file_with_a_fixed_batch_is_fed_as_it_is(
    build: Any, pictures: Any, tmp_path: Path
) -> None:
    text = "(float[4, 3] x) => (float[4, 5] y) { y = MatMul(x, w) }"
    path = build(text, {"w": np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)})
    feeds = [{"x": np.ones((4, 3), np.float32)}]
    assert quantize_int8(path, tmp_path / "m.onnx", lambda: iter(feeds)).samples == 4


LEFT = """(float[batch, 6] x, int64[batch] i) => (float[batch, 6] y, float[batch, 6] z) {
    e = Gather(tied, i)
    s = Add(e, x)
    h = MatMul(s, w)
    y = MatMul(h, tied)
    z = MatMul(h, w)
}"""


def test_a_weight_with_another_use_stays_float(build: Any, tmp_path: Path) -> None:
    """Dequantizing an embedding table on every run would cost more than INT8 brings."""
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal((6, 6)).astype(np.float32) for n in ("tied", "w")}
    feeds: list[dict[str, Any]] = [
        {"x": rng.standard_normal((3, 6)).astype(np.float32), "i": np.arange(3)}
    ]
    said = quantize_int8(build(LEFT, weights), tmp_path / "m.onnx", lambda: iter(feeds))
    assert said.layers == 2
    assert [("another kind of layer" in reason) for reason in said.left.values()] == [True]


def test_what_cannot_be_quantized_is_refused(
    build: Any, cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    target = tmp_path / "m.onnx"
    plain = build("(float[N, 2] x) => (float[N, 2] y) { y = Relu(x) }", {})
    with pytest.raises(NothingToDo, match=r"nothing in model\.onnx can be quantized"):
        quantize_int8(plain, target, lambda: iter([]))
    computed = build("(float[N, 2] x, float[2, 2] w) => (float[N, 2] y) { y = MatMul(x, w) }", {})
    with pytest.raises(NothingToDo, match="weight is computed, not constant"):
        quantize_int8(computed, target, lambda: iter([]))
    half = build(
        "(float16[N, 2] x) => (float16[N, 2] y) { y = MatMul(x, w) }",
        {"w": np.ones((2, 2), np.float16)},
    )
    with pytest.raises(
        NothingToDo, match=r"weight is float16, not float32\); export the network in float32"
    ):
        quantize_int8(half, target, lambda: iter([]))
    assert not target.exists()
    quantize_int8(cnn, target, batched(pictures, 8))
    with pytest.raises(ModelError, match="already quantized"):
        quantize_int8(target, tmp_path / "n.onnx", batched(pictures, 8))
    dynamic = build(
        "(uint8[N, 2] x) => (int32[N, 2] y) { y = MatMulInteger(x, w) }",
        {"w": np.ones((2, 2), np.int8)},
    )
    with pytest.raises(ModelError, match="already quantized"):
        quantize_int8(dynamic, target, lambda: iter([]))


def test_samples_that_do_not_fit_are_named(cnn: Path, pictures: Any, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    with pytest.raises(DataError, match="no calibration samples"):
        quantize_int8(cnn, target, lambda: iter([]))
    with pytest.raises(ModelError, match=r"lack \['image'\]; they give \['picture'\]"):
        quantize_int8(cnn, target, lambda: iter([{"picture": pictures["image"]}]))
    with pytest.raises(ModelError, match="cannot be run on"):
        quantize_int8(cnn, target, lambda: iter([{"image": pictures["image"][:, :8]}]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_is_named(
    value: float, detector: Path, batched: Any, tmp_path: Path
) -> None:
    arrays = {"image": np.zeros((5, 3, 8, 8), np.float32)}
    arrays["image"][3, 0, 0, 0] = value
    with pytest.raises(ModelError, match="'image' is NaN or infinite on calibration sample 3"):
        quantize_int8(detector, tmp_path / "m.onnx", batched(arrays, 2))


def test_a_clip_that_the_range_cannot_replace_stays(
    build: Any, as_written: Any, tmp_path: Path
) -> None:
    """An 8-bit range always holds 0, so a lower bound above 0 needs the Clip itself."""
    text = """(float[batch, 4] x) => (float[batch, 3] y) {
        a = MatMul(x, w)
        c = Clip(a, low, high)
        y = MatMul(c, v)
    }"""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 6)).astype(np.float32),
        "v": rng.standard_normal((6, 3)).astype(np.float32),
        "low": np.array(0.5, np.float32),
        "high": np.array(2, np.float32),
    }
    path = build(text, weights)
    arrays = {"x": rng.standard_normal((32, 4)).astype(np.float32)}
    quantize_int8(path, tmp_path / "m.onnx", lambda: iter([arrays]))
    assert [n.op_type for n in onnx.load(tmp_path / "m.onnx").graph.node].count("Clip") == 1
    before, after = predictor(path)(arrays), as_written(tmp_path / "m.onnx")(arrays)
    assert parity(before, after, rtol=1.0).outputs["y"].snr_db > 25


def test_a_fixed_shape_changes_no_answer(
    cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    quantize_int8(cnn, tmp_path / "m.onnx", batched(pictures, 8))
    save_onnx(fixed_shape(load_onnx(tmp_path / "m.onnx")), tmp_path / "fixed.onnx")
    one = {"image": pictures["image"][:1]}
    dynamic, fixed = (predictor(tmp_path / n)(one) for n in ("m.onnx", "fixed.onnx"))
    assert parity(dynamic, fixed, rtol=0.0).ok
    assert int8_layers(tmp_path / "fixed.onnx").int8_layers == 3


def test_a_fixed_batch_is_calibrated_by_groups_and_gives_equal_ranges(
    cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    """24 pictures in batches of 7: no group of the file's five is ever full by itself."""
    fixed = tmp_path / "fixed.onnx"
    save_onnx(fixed_shape(onnx.load(cnn), 5), fixed)
    free = calibrate(cnn, batched(pictures, 8))
    five = calibrate(fixed, batched(pictures, 7))
    assert five.samples == free.samples == 24
    wanted = free.ranges("uint8")
    assert five.ranges("uint8").keys() == wanted.keys()
    for name, bounds in five.ranges("uint8").items():
        np.testing.assert_allclose(bounds, wanted[name], rtol=1e-5, atol=1e-5)


def test_sums_of_several_tensors_run_in_int8(build: Any, batched: Any, tmp_path: Path) -> None:
    """They are written as additions, which have an 8-bit kernel; a Sum has none."""
    text = """(float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w1)
        b = Conv<pads = [1, 1, 1, 1]>(x, w2)
        s = Sum(a, b)
        r = Relu(s)
        y = Conv<pads = [1, 1, 1, 1]>(r, w3)
    }"""
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 3, 3, 3), "w3": (4, 4, 3, 3)}
    weights = {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}
    source = build(text, weights)
    data = {"x": rng.standard_normal((8, 3, 8, 8)).astype(np.float32)}
    target = tmp_path / "int8.onnx"
    quantize_int8(source, target, batched(data, 1))
    found = int8_layers(target).operators
    assert found["QLinearAdd"] == 1
    assert "Sum" not in found
    want, got = predictor(source)(data)["y"], predictor(target)(data)["y"]
    assert np.abs(want - got).max() < 0.05 * np.abs(want).max()


def test_a_sum_of_many_is_the_same_sum(build: Any) -> None:
    source = build("(float[2] a, float[2] b, float[2] c) => (float[2] y) { y = Sum(a, b, c) }", {})
    ready = prepare(load_onnx(source), "it")
    assert [node.op_type for node in ready.graph.node] == ["Add", "Add"]
    data = {name: np.array([2.0**i, -i], np.float32) for i, name in enumerate("abc")}
    save_onnx(ready, source.with_name("ready.onnx"))
    found = predictor(source.with_name("ready.onnx"))(data)["y"]
    np.testing.assert_array_equal(found, predictor(source)(data)["y"])
