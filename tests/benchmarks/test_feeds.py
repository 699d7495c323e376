from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from edgekd.benchmarks.feeds import (
    Arrays,
    model_files,
    model_inputs,
    pick_feeds,
    random_feeds,
    save_feeds,
)
from edgekd.errors import DataError, ModelError, RecipeError

Save = Callable[..., Path]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (T.FLOAT16, "float16"),
        (T.FLOAT, "float32"),
        (T.DOUBLE, "float64"),
        (T.INT8, "int8"),
        (T.INT32, "int32"),
        (T.INT64, "int64"),
        (T.UINT8, "uint8"),
        (T.BOOL, "bool"),
    ],
)
def test_every_type_is_drawn_and_small_enough(echo: Save, kind: int, dtype: str) -> None:
    x = random_feeds(echo(x=(kind, [2, 50])), samples=3)["x"]
    assert x.dtype == dtype
    assert x.shape == (3, 2, 50)
    assert len(np.unique(x)) > 1
    if x.dtype.kind == "i":
        assert 0 <= x.min() < x.max() < 100


def test_free_axes_get_lengths_that_agree(echo: Save) -> None:
    model = echo(
        tokens=(T.INT64, ["batch", "sequence"]),
        attention_mask=(T.INT64, ["batch", "sequence"]),
        token_type_ids=(T.INT64, ["batch", "sequence"]),
        pixels=(T.FLOAT, ["n", 3, "height", "width"]),
    )
    feeds = random_feeds(model, samples=2)
    assert feeds["tokens"].shape == feeds["attention_mask"].shape == (2, 1, 32)
    assert feeds["pixels"].shape == (2, 1, 3, 224, 224)
    assert feeds["attention_mask"].all()
    assert not feeds["token_type_ids"].any()
    longer = random_feeds(model, samples=2, lengths={"sequence": 7})
    assert longer["attention_mask"].shape == (2, 1, 7)
    given = random_feeds(model, samples=2, shapes={"tokens": (4, 9)})
    assert given["attention_mask"].shape == (2, 4, 9)


def test_equal_seeds_give_equal_feeds(echo: Save) -> None:
    model = echo(x=(T.FLOAT, [4]))
    first, again = random_feeds(model, seed=1)["x"], random_feeds(model, seed=1)["x"]
    np.testing.assert_array_equal(first, again)
    assert (first != random_feeds(model, seed=2)["x"]).any()


def test_initializers_are_no_inputs(chain: Save) -> None:
    path = chain("m.onnx")
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    model.graph.input.append(onnx.helper.make_tensor_value_info("w0", T.FLOAT, list(weight.dims)))
    onnx.save(model, path)
    assert [item.name for item in model_inputs(path)] == ["x"]


def test_a_shape_that_contradicts_the_file(echo: Save) -> None:
    model = echo(x=(T.FLOAT, ["batch", 3]))
    with pytest.raises(RecipeError, match=r"1x4 for input 'x' does not fit .* batchx3"):
        random_feeds(model, shapes={"x": (1, 4)})
    with pytest.raises(RecipeError, match="does not fit"):
        random_feeds(model, shapes={"x": (1, 3, 1)})


def test_files_that_are_no_models(tmp_path: Path, chain: Save) -> None:
    with pytest.raises(ModelError, match=r"nowhere.onnx cannot be read"):
        model_inputs(tmp_path / "nowhere.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        model_inputs(tmp_path)
    whole = chain("m.onnx").read_bytes()
    for content in (b"", b"hello, I am no model", whole[: len(whole) // 2], b"\x00" * 100):
        path = tmp_path / "bad.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is not an ONNX file, or is damaged"):
            model_inputs(path)


def test_inputs_that_cannot_be_drawn(echo: Save) -> None:
    with pytest.raises(ModelError, match=r"'x' .* no values can be made"):
        model_inputs(echo(x=(T.STRING, [1])))
    path = echo(x=(T.FLOAT, [1]))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    with pytest.raises(ModelError, match="fixed rank"):
        model_inputs(path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin"])
def test_weights_may_not_lie_outside(chain: Save, tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 20))
    path = move_weights(chain("m.onnx"), folder / "m.onnx", location)
    with pytest.raises(ModelError, match="outside its own folder"):
        model_inputs(path)


def test_a_link_does_not_lead_outside_either(chain: Save, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 20))
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="outside its own folder"):
        model_inputs(move_weights(chain("m.onnx"), folder / "m.onnx", "weights.bin"))


def test_weights_beside_the_model_are_fine(chain: Save, tmp_path: Path) -> None:
    path = move_weights(chain("m.onnx"), tmp_path / "x.onnx", "x.bin")
    with pytest.raises(ModelError, match=r"'x.bin', which is missing"):
        model_inputs(path)
    (tmp_path / "x.bin").write_bytes(bytes(1 << 20))
    assert [item.name for item in model_inputs(path)] == ["x"]
    assert [file.name for file in model_files(path)] == ["x.onnx", "x.bin"]


def move_weights(source: Path, target: Path, location: str) -> Path:
    model = onnx.load(source)
    for weight in model.graph.initializer:
        onnx.external_data_helper.set_external_data(weight, location)
        weight.ClearField("raw_data")
        weight.data_location = T.EXTERNAL
    target.write_bytes(model.SerializeToString())
    return target


def test_feeds_survive_a_file_whatever_their_names(tmp_path: Path) -> None:
    feeds: Arrays = {"file": np.arange(3), "a/b:0": np.ones((3, 2), np.float16)}
    save_feeds(tmp_path / "f.npz", feeds)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(feeds)
        for name, array in feeds.items():
            np.testing.assert_array_equal(stored[name], array)


def test_feeds_that_do_not_fit(echo: Save, tmp_path: Path) -> None:
    inputs = model_inputs(echo(x=(T.FLOAT, ["batch", 3]), y=(T.INT64, [1])))
    path = tmp_path / "f.npz"
    good: Arrays = {"x": np.ones((2, 1, 3), np.float32), "y": np.ones((2, 1), np.int64)}
    save_feeds(path, {**good, "more": np.ones(7)})
    assert set(pick_feeds(path, inputs)) == {"x", "y"}
    for bad, message in (
        ({"x": good["x"]}, "no array 'y'"),
        ({**good, "x": good["x"].astype(float)}, "'x' is float64, the model takes float32"),
        ({**good, "x": good["x"][0]}, "1x3, the model takes calls x batchx3"),
        ({**good, "x": good["x"][:, :, :2]}, "2x1x2, the model takes"),
        ({**good, "y": good["y"][:1]}, "different numbers of calls"),
        ({"x": good["x"][:0], "y": good["y"][:0]}, "0x1x3"),
    ):
        save_feeds(path, bad)
        with pytest.raises(DataError, match=message):
            pick_feeds(path, inputs)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(DataError, match=r"cannot be read .*allow_pickle.* give an .npz"):
        pick_feeds(path, inputs)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read"):
        pick_feeds(path, inputs)
