from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset, array_sha256
from edgekd.errors import DataError

Maker = Callable[..., Dataset]


def array(**targets: Any) -> Dataset:
    named = {name: np.asarray(value) for name, value in targets.items()}
    return Dataset("array", {"x": np.zeros((3, 2), np.float32)}, named)


def test_take_gives_rows_in_the_order_asked(images: Maker) -> None:
    dataset = images(5, 5)
    where = np.array([7, 0, 7])
    samples, targets = dataset.take(where)
    np.testing.assert_array_equal(samples["image"], dataset.samples["image"][where])
    np.testing.assert_array_equal(targets["label"], dataset.targets["label"][where])


def test_fingerprint_follows_content_only(images: Maker) -> None:
    dataset = images(5, 5)
    assert dataset.fingerprint == images(5, 5).fingerprint
    assert replace(dataset, licence="MIT").fingerprint == dataset.fingerprint
    pixels = dataset.samples["image"].copy()
    pixels[3, 2, 1, 0] ^= 1
    label = dataset.targets["label"][::-1].copy()
    changed = [
        replace(dataset, samples={"image": pixels}),
        replace(dataset, targets={"label": label}),
        replace(dataset, labels=("a", "b")),
        replace(dataset, fixed={"test": np.arange(2)}),
        replace(dataset, samples={"image": dataset.samples["image"].reshape(10, 3, 12, 3)}),
    ]
    assert len({d.fingerprint for d in [dataset, *changed]}) == 6


def test_hash_of_a_memmap_is_that_of_the_array(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (700, 200, 200), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)  # 28 MB: more than one block
    memmap: NDArray[np.uint8] = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert array_sha256(memmap) == array_sha256(values)
    assert array_sha256(values[:, ::-1]) == array_sha256(values[:, ::-1].copy())
    assert array_sha256(values[:, ::-1]) != array_sha256(values)


def test_hash_of_texts_does_not_depend_on_how_they_are_stored() -> None:
    texts = ["ab", "c", "schön"]
    assert array_sha256(np.array(texts)) == array_sha256(np.array(texts, dtype=object))
    assert array_sha256(np.array(["a", "bc"])) != array_sha256(np.array(["ab", "c"]))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"label": np.zeros(4, np.int64)}, r"x 3, label 4.*one row per sample"),
        ({"label": np.zeros(3, np.int32)}, r"int64 \[n\], got int32.*astype"),
        ({"label": np.zeros((3, 2), np.int64)}, r"argmax\(axis=1\)"),
        ({"label": np.array([0, -1, 1])}, r"labels run from -1 to 1.*renumber"),
    ],
)
def test_bad_targets_are_refused(targets: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        array(**targets)


def test_a_label_without_a_name_is_refused(images: Maker) -> None:
    with pytest.raises(DataError, match=r"from 0 to 2, .* 0 to 1 \(2 names\).*every class"):
        replace(images(3, 3, 3), labels=("a", "b"))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((3, 3, 8, 8), np.uint8),
        np.zeros((3, 8, 8, 3), np.float32),
        np.zeros((3, 8, 8), np.uint8),
    ],
)
def test_images_of_another_form_are_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(DataError, match=r"uint8 \[n, height, width, 1 or 3\].*channels last"):
        Dataset("image", {"image": pixels}, {"label": np.array([0, 1, 0])})


def test_data_may_lack_labels_but_not_samples() -> None:
    dataset = Dataset("array", {"x": np.zeros((3, 2))}, {})
    assert (len(dataset), dataset.classes, dataset.take(np.array([1]))[1]) == (3, 0, {})
    assert dataset.fingerprint != Dataset("array", {"x": np.ones((3, 2))}, {}).fingerprint
    with pytest.raises(DataError, match="at least one array of samples"):
        Dataset("array", {}, {"label": np.array([0, 1])})


def test_no_samples_at_all_are_refused() -> None:
    empty = {"label": np.zeros(0, np.int64)}
    with pytest.raises(DataError, match="data set is empty"):
        Dataset("array", {"x": np.zeros((0, 2))}, empty)


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"test": [0, 1], "train": [1, 2]}, "sample 1 is in more than one fixed split"),
        ({"test": [0, 5]}, r"outside 0 to 2"),
        ({"holdout": [0]}, "split 'holdout' is not known"),
    ],
)
def test_bad_fixed_splits_are_refused(fixed: dict[str, list[int]], message: str) -> None:
    indices = {name: np.array(value) for name, value in fixed.items()}
    with pytest.raises(DataError, match=message):
        replace(array(label=np.array([0, 1, 1])), fixed=indices)
