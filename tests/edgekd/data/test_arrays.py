from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.arrays import dataset_from_parts
from edgekd.data.dataset import Dataset
from edgekd.data.source import Source, open_source
from edgekd.data.targets import name_classes
from edgekd.errors import DataError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABEL = np.array([0, 1, 2, 0, 1, 2])


def opened(path: Path, **options: Any) -> Dataset:
    spec = Source.model_validate({"path": path.name, **options})
    return open_source(spec, root=path.parent)


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    def save(**arrays: Any) -> Path:
        path = tmp_path / "a.npz"
        np.savez(path, **arrays)
        return path

    return save


Saver = Callable[..., Path]


@pytest.mark.parametrize("names", [("x", "y"), ("image", "label"), ("images", "labels")])
def test_bytes_of_the_right_shape_are_images(npz: Saver, names: tuple[str, str]) -> None:
    dataset = opened(npz(**{names[0]: PIXELS, names[1]: LABEL.astype(np.uint8)}))
    assert dataset.kind == "image"
    np.testing.assert_array_equal(dataset.samples["image"], PIXELS)
    assert dataset.targets["label"].dtype == np.int64
    assert dataset.targets["label"].tolist() == LABEL.tolist()
    assert dataset.labels == ("0", "1", "2")


def test_grey_images_get_their_channel(npz: Saver) -> None:
    assert opened(npz(x=PIXELS[..., 0], y=LABEL)).samples["image"].shape == (6, 5, 4, 1)


def test_other_arrays_keep_their_names_and_doubles_become_floats(npz: Saver) -> None:
    dataset = opened(npz(wave=np.ones((6, 9)), speed=np.ones(6, np.float32), y=LABEL))
    assert dataset.kind == "array"
    assert {n: (a.dtype.name, a.shape) for n, a in dataset.samples.items()} == {
        "wave": ("float32", (6, 9)),
        "speed": ("float32", (6,)),
    }


def test_pairs_for_each_split_are_fixed(npz: Saver) -> None:
    both = {"x_train": PIXELS[:4], "y_train": LABEL[:4], "x_test": PIXELS[4:], "y_test": LABEL[4:]}
    dataset = opened(npz(**both))
    assert {n: i.tolist() for n, i in dataset.fixed.items()} == {
        "train": [0, 1, 2, 3],
        "test": [4, 5],
    }
    np.testing.assert_array_equal(dataset.samples["image"], PIXELS)
    medical = {"train_images": PIXELS[:3], "train_labels": LABEL[:3, None]}
    medical |= {"val_images": PIXELS[3:], "val_labels": LABEL[3:, None]}
    dataset = opened(npz(**medical))
    assert sorted(dataset.fixed) == ["train", "validation"]
    assert dataset.targets["label"].tolist() == LABEL.tolist()


def test_float_targets_are_values_and_names_are_classes(npz: Saver) -> None:
    dataset = opened(npz(x=np.ones((6, 2)), y=np.linspace(0, 1, 6)))
    assert sorted(dataset.targets) == ["value"]
    assert dataset.labels == ()
    dataset = opened(npz(x=np.ones((3, 2)), y=np.array(["dog", "cat", "dog"])))
    assert dataset.labels == ("cat", "dog")
    assert dataset.targets["label"].tolist() == [1, 0, 1]


def test_texts_are_text(npz: Saver) -> None:
    dataset = opened(npz(x=np.array(["good", "bad day"]), y=np.array([1, 0])))
    assert dataset.kind == "text"
    assert dataset.samples["text"].tolist() == ["good", "bad day"]


def test_names_for_the_classes_come_from_the_recipe(npz: Saver) -> None:
    path = npz(x=PIXELS, y=LABEL)
    assert opened(path, labels=["a", "b", "c"]).labels == ("a", "b", "c")
    with pytest.raises(DataError, match=r"0 to 1 \(2 names\)"):
        opened(path, labels=["a", "b"])


def test_a_pickle_is_refused(npz: Saver, tmp_path: Path) -> None:
    path = npz(x=np.array([{"a": 1}, None], dtype=object), y=LABEL[:2])
    with pytest.raises(DataError, match=r"pickled.*never loaded; save plain arrays: np\.savez"):
        opened(path)
    other = tmp_path / "data.pkl"
    other.write_bytes(b"x")
    with pytest.raises(DataError, match="is a Python pickle"):
        opened(other)


def test_a_damaged_npz_is_refused(npz: Saver) -> None:
    path = npz(x=PIXELS, y=LABEL)
    for content in (b"", b"no zip at all", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not a readable \.npz"):
            opened(path)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"y": LABEL},
        {"x": PIXELS, "y": LABEL, "label": LABEL},
        {"x_train": PIXELS, "y_train": LABEL, "x_test": PIXELS},
        {"x": PIXELS, "y": LABEL, "x_test": PIXELS, "y_test": LABEL},
    ],
)
def test_missing_or_doubled_arrays_are_refused(npz: Saver, arrays: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"contains the arrays \[.*inputs .* are expected"):
        opened(npz(**arrays))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": PIXELS.transpose(0, 3, 1, 2), "y": LABEL}, r"transpose\(0, 2, 3, 1\)"),
        ({"x": PIXELS, "y": 2 * np.eye(3, dtype=int)[LABEL]}, r"names \[n\], 0 or 1"),
        ({"x": PIXELS, "y": LABEL[:5]}, "different lengths"),
        ({"x": PIXELS, "y": LABEL - 1}, "labels run from -1"),
        ({"x": np.ones((6, 2), complex), "y": LABEL}, "numbers were expected"),
        ({"x": np.array([[1.0], [np.nan]]), "y": LABEL[:2]}, "input 'x' contains NaN.*in sample 1"),
        ({"x": np.ones((2, 1)), "y": np.array([np.inf, 1])}, "the target array contains NaN"),
        ({"x_train": np.ones((6, 2)), "y_train": LABEL, "x_test": np.ones((6, 3)),
          "y_test": LABEL}, "differ from those of another split"),
    ],
)  # fmt: skip
def test_unusable_arrays_are_refused(npz: Saver, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(npz(**arrays))


def test_inputs_alone_have_no_labels(npz: Saver, tmp_path: Path) -> None:
    dataset = opened(npz(left_test=np.ones((6, 2)), images=np.ones((6, 3, 4, 4))))
    assert (dataset.targets, dataset.kind, dataset.fixed) == ({}, "array", {})
    assert set(dataset.samples) == {"left_test", "images"}
    fixed = opened(npz(x_train=PIXELS[:4], x_test=PIXELS[4:])).fixed
    assert {name: len(i) for name, i in fixed.items()} == {"train": 4, "test": 2}
    np.save(tmp_path / "x.npy", PIXELS)
    assert opened(tmp_path / "x.npy").kind == "image"


def test_labels_are_left_out_where_that_is_said(npz: Saver) -> None:
    spec = Source(path=str(npz(x=PIXELS, y=LABEL)))
    dataset = open_source(spec, root=Path.cwd(), labelled=False)
    assert (dataset.targets, dataset.labels) == ({}, ())


def test_an_unusable_npy_or_an_unknown_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"x\.npy is not a readable \.npy file of plain numbers"):
        opened(tmp_path / "x.npy")
    (tmp_path / "x.xyz").touch()
    with pytest.raises(DataError, match=r"x\.xyz' is not a known format.*an \.npz with x and y"):
        opened(tmp_path / "x.xyz")
    with pytest.raises(
        DataError, match=r"gone\.npz does not exist; paths in a recipe are relative to its folder"
    ):
        opened(tmp_path / "gone.npz")


def test_classes_are_sorted_by_value_or_alphabet() -> None:
    assert name_classes(["10", "9", "10"], None)[1] == ("9", "10")
    number, names = name_classes(["b", "a"], ("b", "c", "a"))
    assert (number.tolist(), names) == ([0, 2], ("b", "c", "a"))
    number, names = name_classes(["1", "0"], ("bad", "good"))
    assert (number.tolist(), names) == ([1, 0], ("bad", "good"))


def test_a_mapping_of_targets_keeps_its_names() -> None:
    targets = {"label": [0, 1], "box": np.ones((2, 4))}
    dataset = dataset_from_parts({None: ({"x": np.ones((2, 3))}, targets)}, where="here")
    assert sorted(dataset.targets) == ["box", "label"]


def idx(array: NDArray[np.uint8]) -> bytes:
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


@pytest.fixture(params=["", ".gz"])
def mnist(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for stem, part in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        for name, array in (("images-idx3", PIXELS[part, ..., 0]), ("labels-idx1", LABEL[part])):
            data = idx(array.astype(np.uint8))
            data = gzip.compress(data) if request.param else data
            (folder / f"{stem}-{name}-ubyte{request.param}").write_bytes(data)
    return folder


def test_the_four_files_of_mnist(mnist: Path) -> None:
    dataset = opened(mnist)
    np.testing.assert_array_equal(dataset.samples["image"][..., 0], PIXELS[..., 0])
    assert dataset.targets["label"].tolist() == LABEL.tolist()
    assert {n: i.tolist() for n, i in dataset.fixed.items()} == {
        "train": [0, 1, 2, 3],
        "test": [4, 5],
    }


def test_damaged_idx_files_are_refused(mnist: Path) -> None:
    (path,) = mnist.glob("train-labels*")
    pack = gzip.compress if path.suffix == ".gz" else bytes
    whole = idx(LABEL[:4].astype(np.uint8))
    absurd = bytes([0, 0, 8, 4]) + b"\xff" * 16
    for data, message in (
        (pack(whole[:-1]), r"ends after 3 of 4 bytes"),
        (pack(b"abcdefgh"), r"not an IDX file of bytes"),
        (pack(absurd), r"which is impossible"),
        (pack(b""), r"not an IDX file"),
        (pack(idx(LABEL[:3].astype(np.uint8))), r"labels\s\[3\]"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            opened(mnist)
    path.unlink()
    with pytest.raises(DataError, match=r"lacks train-images.*four files"):
        opened(mnist)


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        planes = np.zeros((2, 3, 32, 32), np.uint8)
        planes[:, 0], planes[:, 2, 0] = 10 * i, 200  # red all over, blue in the first row
        labels = np.array([[i], [9 - i]], np.uint8)
        (folder / name).write_bytes(np.hstack([labels, planes.reshape(2, -1)]).tobytes())
    return folder


def test_the_binary_version_of_cifar10(cifar: Path) -> None:
    dataset = opened(cifar)
    assert dataset.labels[:2] == ("airplane", "automobile")
    assert dataset.targets["label"].tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert dataset.fixed["test"].tolist() == [10, 11]
    assert dataset.samples["image"].shape == (12, 32, 32, 3)
    assert dataset.samples["image"][3, 0, 5].tolist() == [10, 0, 200]
    assert dataset.samples["image"][11, 1, 5].tolist() == [50, 0, 0]


def test_damaged_or_pickled_cifar10_is_refused(cifar: Path) -> None:
    (cifar / "data_batch_3.bin").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=r"data_batch_3\.bin has 100 bytes.*unpack it again"):
        opened(cifar)
    (cifar / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin is missing"):
        opened(cifar)
    (cifar / "data_batch_1.bin").rename(cifar / "data_batch_1")
    with pytest.raises(DataError, match=r"Python pickle.*binary version of CIFAR-10"):
        opened(cifar)
