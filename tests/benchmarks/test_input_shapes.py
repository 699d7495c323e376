"""Two files are compared on like inputs, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from edgekd.benchmarks.bench import Inputs, bench
from edgekd.benchmarks.feeds import Input, model_inputs, random_feeds
from edgekd.benchmarks.input_shapes import assumed, difference, filled, sample_shapes, samples_of
from edgekd.benchmarks.measurement import Timing
from edgekd.benchmarks.result import Described
from edgekd.devices import open_device
from edgekd.wording import speaking

Save = Callable[..., Path]
QUICK = Timing(rounds=3, blocks=3, block_s=0.002, warmup_s=0.002)
LOCAL = open_device("local")


def x(*shape: int | str, name: str = "x", batch_axis: int | None = 0) -> Input:
    return Input(name, np.dtype(np.float32), shape, batch_axis)


def fed(label: str, item: Input, *shape: int) -> Described:
    arrays = {item.name: np.zeros((2, *shape), np.float32)}
    count, shapes = samples_of([item], arrays), sample_shapes([item], arrays)
    named = {item.name: f"float32 {'x'.join(map(str, shape))}"}
    return Described(Path(label), label, count, named, 0, shapes)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        (["batch", 3, 8, 8], 0),
        (["frames", "batch", 16], 1),
        (["seq_len", "n", 16], 1),
        (["n", 3, 8, 8], 0),
        (["b", "t", 16], 0),
        (["time", 16], None),
        ([4, 3, 8, 8], 0),
        (["s0", 3], 0),
        ([3, "batch_size"], 1),
        ([], None),
    ],
)
def test_the_batch_axis_is_where_the_file_names_it(
    echo: Save, shape: list[Any], axis: int | None
) -> None:
    (item,) = model_inputs(echo(x=(T.FLOAT, shape)))
    assert item.batch_axis == axis


def lstm(path: Path, shape: list[Any], layout: int) -> Path:
    tensors = {"w": (1, 32, 4), "r": (1, 32, 8)}
    weights = [onnx.numpy_helper.from_array(np.ones(s, "f"), k) for k, s in tensors.items()]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=8, layout=layout)
    given = helper.make_tensor_value_info("x", T.FLOAT, shape)
    result = helper.make_tensor_value_info("y", T.FLOAT, None)
    graph = helper.make_graph([node], "g", [given], [result], weights)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_a_recurrent_layer_says_where_its_batch_is(tmp_path: Path) -> None:
    first = lstm(tmp_path / "a.onnx", [None, None, 4], layout=0)
    assert model_inputs(first)[0].batch_axis == 1
    assert random_feeds(first, samples=2, batch=3)["x"].shape == (2, 32, 3, 4)
    assert model_inputs(lstm(tmp_path / "b.onnx", [None, None, 4], layout=1))[0].batch_axis == 0


def test_free_axes_take_what_the_other_file_fixes() -> None:
    free, fixed = x("batch", 3, "height", "width"), x(4, 3, 48, 64, name="pixels")
    files = {Path("free"): [free], Path("fixed"): [fixed]}

    def shape(given: dict[str, tuple[int, ...]], *, batch: bool = True) -> tuple[Any, ...]:
        return filled(files, given, batch=batch)[Path("free")][0].shape

    assert shape({}) == (4, 3, 48, 64)
    assert shape({}, batch=False) == ("batch", 3, 48, 64)
    assert shape({"height": (96,)}) == (4, 3, "height", 64)
    assert shape({"x": (1, 3, 8, 8)}) == free.shape
    assert filled(files, {}, batch=True)[Path("fixed")] == [fixed]


def test_inputs_that_do_not_correspond_leave_axes_free() -> None:
    free = x("batch", 3, "h", "w")
    for other in (x(1, 64, 64, 3), x(1, 3, 64), x(1, 3, 8, 8, batch_axis=1)):
        files = {Path("free"): [free], Path("other"): [other]}
        assert filled(files, {}, batch=True)[Path("free")] == [free]
    several = [x(1, 3, 8, 8, name="a"), x(1, 2, name="b")]
    files = {Path("free"): [free], Path("other"): several}
    assert filled(files, {}, batch=True)[Path("free")] == [free]


def test_one_symbol_has_one_length_in_all_inputs_of_a_file() -> None:
    tokens, mask = x("batch", "n", name="tokens"), x("batch", "n", name="mask")
    files = {Path("free"): [tokens, mask], Path("fixed"): [x(1, 128, name="tokens")]}
    assert [i.shape for i in filled(files, {}, batch=True)[Path("free")]] == [(1, 128)] * 2


def test_whose_shape_is_whose() -> None:
    big = fed("big.onnx", x("batch", 3, 64, 64), 1, 3, 64, 64)
    small = fed("small.onnx", x("batch", 3, 48, 48), 1, 3, 48, 48)
    four = fed("four.onnx", x(4, 3, 64, 64), 4, 3, 64, 64)
    assert difference(small, big) == (
        "small.onnx is fed x float32 1x3x48x48 (1 sample a call), "
        "big.onnx x float32 1x3x64x64 (1 sample)"
    )
    assert "four.onnx is fed x float32 4x3x64x64 (4 samples a call)" in difference(four, big)
    assert difference(big, big) == ""


def test_layout_name_and_place_of_the_batch_make_no_difference() -> None:
    planes = fed("planes", x("batch", 3, 64, 48), 1, 3, 64, 48)
    assert difference(fed("pixels", x(1, 64, 48, 3, name="y"), 1, 64, 48, 3), planes) == ""
    assert difference(fed("turned", x(1, 3, 48, 64), 1, 3, 48, 64), planes) != ""
    first = fed("first", x("batch", "time", 16), 1, 32, 16)
    major = fed("major", x("time", "batch", 16, batch_axis=1), 32, 1, 16)
    assert difference(major, first) == ""
    assert difference(fed("long", x("batch", "time", 16), 1, 64, 16), first) != ""


def test_lengths_that_nobody_gave_are_named() -> None:
    item = x("frames", "batch", 16, batch_axis=1)
    (note,) = assumed("lstm.onnx", [item], {})
    assert note.startswith("frames of lstm.onnx is a free axis and was set to 32; give the length")
    assert note.endswith("--shape frames=N")
    assert list(assumed("lstm.onnx", [item], {"frames": (7,)})) == []
    (note,) = assumed("m.onnx", [x("batch", "", 16)], {})
    assert note.endswith("--shape x=1x32x16")


def test_unlike_files_get_no_verdict_but_per_sample(echo: Save) -> None:
    four = echo("four.onnx", x=(T.FLOAT, [4, 64]))
    one = echo("one.onnx", x=(T.FLOAT, [1, 64]))
    with speaking("python"):
        result = bench([four], vs=one, device=LOCAL, timing=QUICK)
    reference, row = result.rows
    assert (row.verdict, row.speedup, row.pair) == ("unlike inputs", None, None)
    assert (reference.verdict, reference.batch, row.batch) == ("", 1, 4)
    assert result.to_json()["notes"][0].startswith("four.onnx is fed x float32 4x64 (4 samples")
    assert result.notes[0].endswith("compare the time of one sample with per_sample")
    again = bench([four], vs=one, device=LOCAL, timing=QUICK, inputs=Inputs(per_sample=True))
    row = again.rows[1]
    assert row.speedup is not None
    assert row.verdict != "unlike inputs"
    ratio = 4 * again.rows[0].latency_s.value / row.latency_s.value
    assert row.speedup.value == pytest.approx(ratio, rel=0.7)


def test_batches_of_one_file_are_compared_per_sample_only(echo: Save) -> None:
    """The same bytes in the same setup count as equally fast, but not on other inputs."""
    inputs = Inputs(batches=(1, 8))
    model = echo(x=(T.FLOAT, ["batch", 64]))
    result = bench([model], device=LOCAL, timing=QUICK, inputs=inputs)
    assert [row.verdict for row in result.rows] == ["", "unlike inputs"]
    result = bench([model], device=LOCAL, timing=QUICK, inputs=replace(inputs, per_sample=True))
    gain = result.rows[1].speedup
    assert gain is not None
    assert gain.low < gain.high
