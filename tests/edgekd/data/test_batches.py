from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.augment import Augment
from edgekd.data.batches import Data, batch_starts
from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import ImagePreprocess
from edgekd.data.splits import Splits, make_splits
from edgekd.errors import DataError

Maker = Callable[..., Dataset]
SMALL = ImagePreprocess(height=6, width=6, mean=(127,) * 3, std=(64,) * 3)
CROP_FLIP = Augment(crop=2, flip=True)
LARGE = ImagePreprocess(height=12, width=12, mean=(127,) * 3, std=(64,) * 3)


def splits_of(dataset: Dataset) -> Splits:
    return make_splits(dataset, validation=10, test=10, calibration=8, seed=0)


@pytest.fixture
def dataset(images: Maker) -> Dataset:
    return images(40, 40)


def feed(dataset: Dataset, *, seed: int = 0, augment: Augment | None = None) -> Data:
    options = CROP_FLIP if augment is None else augment
    return Data(dataset, splits_of(dataset).for_steps(), augment=options, seed=seed)


def order(data: Data, epoch: int | None, size: int = 7) -> NDArray[np.int64]:
    return np.concatenate([b.index for b in data.batches("train", size=size, order=epoch)])


def test_every_sample_comes_once_and_the_last_batch_is_short(dataset: Dataset) -> None:
    data = feed(dataset)
    for epoch in (None, 0):
        sizes = [len(b.index) for b in data.batches("train", SMALL, size=7, order=epoch)]
        assert sizes == [7] * 8 + [4]
        assert sorted(order(data, epoch).tolist()) == sorted(splits_of(dataset).train.tolist())


@pytest.mark.parametrize("size", [3, 13, 59, 60, 61, 1])
def test_a_single_sample_at_the_end_of_an_order_joins_the_batch_before(
    dataset: Dataset, size: int
) -> None:
    data = feed(dataset)
    assert data.count("train") == 60
    plain = [len(b.index) for b in data.batches("train", SMALL, size=size)]
    sizes = [len(b.index) for b in data.batches("train", SMALL, size=size, order=2)]
    assert sum(sizes) == sum(plain) == 60
    joined = plain[-1] == 1 and len(plain) > 1 and size > 1
    assert sizes == ([*plain[:-2], size + 1] if joined else plain)
    assert len(batch_starts(60, size, training=True)) == len(sizes)


def test_without_order_and_view_samples_come_in_order_and_unvaried(dataset: Dataset) -> None:
    data, splits = feed(dataset), splits_of(dataset)
    for split, indices in splits.for_steps().items():
        batches = list(data.batches(split, SMALL, size=3))
        np.testing.assert_array_equal(np.concatenate([b.index for b in batches]), indices)
        seen = np.concatenate([b.inputs[0]["image"] for b in batches])
        np.testing.assert_array_equal(seen, dataset.samples["image"][indices])
        labels = np.concatenate([b.targets["label"] for b in batches])
        np.testing.assert_array_equal(labels, dataset.targets["label"][indices])


def test_order_is_a_function_of_seed_and_number(dataset: Dataset) -> None:
    first = order(feed(dataset), 3)
    np.testing.assert_array_equal(order(feed(dataset), 3, size=11), first)
    assert (order(feed(dataset), 4) != first).any()
    assert (order(feed(dataset, seed=1), 3) != first).any()


def test_a_view_is_the_same_in_any_batch_size(dataset: Dataset) -> None:
    def views(size: int) -> NDArray[np.uint8]:
        batches = feed(dataset).batches("train", SMALL, size=size, order=2, view=2)
        return np.concatenate([b.inputs[0]["image"] for b in batches])

    np.testing.assert_array_equal(views(1), views(60))
    index = order(feed(dataset), 2)
    assert (views(60) != dataset.samples["image"][index]).any()


def test_all_preprocesses_see_the_same_view(dataset: Dataset) -> None:
    for batch in feed(dataset).batches("train", SMALL, LARGE, size=16, order=1, view=1):
        again = LARGE.encode({"image": batch.inputs[0]["image"]})
        np.testing.assert_array_equal(batch.inputs[1]["image"], again["image"])


def test_arrays_of_a_batch_are_the_callers_own(dataset: Dataset) -> None:
    before = dataset.fingerprint
    batch = next(feed(dataset).batches("validation", SMALL, size=4))
    batch.inputs[0]["image"][:] = 0
    batch.targets["label"][:] = 0
    assert Dataset("image", dataset.samples, dataset.targets, dataset.labels).fingerprint == before


def test_the_test_split_is_out_of_reach(dataset: Dataset) -> None:
    data = feed(dataset)
    closed = set(splits_of(dataset).test.tolist())
    seen = {int(i) for s in ("train", "calibration", "validation") for b in data.batches(s, size=9)
            for i in b.index}  # fmt: skip
    assert not seen & closed
    with pytest.raises(DataError, match=r"no split 'test' here.*never the test split"):
        data.batches("test", SMALL, size=4)
    splits = splits_of(dataset)
    with pytest.raises(DataError, match=r"used once"):
        Data(dataset, {**splits.for_steps(), "test": splits.test}, augment=Augment(), seed=0)
    alone = Data(dataset, {"test": splits.test}, augment=Augment(), seed=0)
    assert alone.count("test") == 10


def test_raw_gives_samples_as_they_are(dataset: Dataset) -> None:
    where = np.array([4, 1])
    samples, targets = feed(dataset).raw("validation", where)
    indices = splits_of(dataset).validation[where]
    np.testing.assert_array_equal(samples["image"], dataset.samples["image"][indices])
    np.testing.assert_array_equal(targets["label"], dataset.targets["label"][indices])
    np.testing.assert_array_equal(
        feed(dataset).targets("validation")["label"][where], targets["label"]
    )


def test_order_and_view_are_chosen_apart(dataset: Dataset) -> None:
    """So that K views of each sample can be kept and met in any order."""

    def pixels(order: int | None, view: int | None) -> dict[int, bytes]:
        seen = {}
        for batch in feed(dataset).batches("train", SMALL, size=9, order=order, view=view):
            assert batch.view == view
            for i, image in zip(batch.index.tolist(), batch.inputs[0]["image"], strict=True):
                seen[i] = image.tobytes()
        return seen

    first = pixels(0, 5)
    assert pixels(7, 5) == pixels(None, 5) == first
    assert list(pixels(7, 5)) != list(first)
    assert pixels(0, 6) != first
    assert list(pixels(0, 6)) == list(first)
    plain = pixels(0, None)
    assert plain == {i: dataset.samples["image"][i].tobytes() for i in plain}


def test_batches_of_a_training_stay_what_they_were(dataset: Dataset) -> None:
    """Runs resume across versions: an epoch's order and views are the same for ever."""
    sha = hashlib.sha256()
    for batch in feed(dataset, seed=3).batches("train", SMALL, size=16, order=4, view=4):
        sha.update(batch.index.tobytes() + batch.inputs[0]["image"].tobytes())
    assert sha.hexdigest()[:16] == "b3ad83b3986e7200"


def test_without_augmentation_all_views_are_one(dataset: Dataset) -> None:
    batch = next(feed(dataset, augment=Augment()).batches("train", SMALL, size=4, view=3))
    assert batch.view is None


def test_each_part_of_the_data_has_its_own_fingerprint(dataset: Dataset, images: Maker) -> None:
    whole, splits = splits_of(dataset).for_steps(), splits_of(dataset)

    def prints(data: Data) -> list[str]:
        return [data.fingerprint(part) for part in ("training", "calibration", "validation")]

    def changed(data: Data) -> list[bool]:
        return [a != b for a, b in zip(prints(data), prints(feed(dataset)), strict=True)]

    def with_split(**others: NDArray[np.int64]) -> Data:
        return Data(dataset, {**whole, **others}, augment=CROP_FLIP, seed=0)

    assert len(set(prints(feed(dataset)))) == 3
    assert changed(feed(dataset)) == [False, False, False]
    assert changed(feed(dataset, seed=1)) == [True, False, False]
    assert changed(feed(dataset, augment=Augment())) == [True, False, False]
    assert changed(with_split(train=splits.train[:-1])) == [True, False, False]
    assert changed(with_split(calibration=splits.calibration[:-1])) == [False, True, False]
    assert changed(with_split(validation=splits.validation[1:])) == [False, False, True]
    assert changed(feed(images(41, 40))) == [True, True, True]


def test_parts_that_are_not_named_are_withheld(dataset: Dataset) -> None:
    some = feed(dataset).only({"calibration"})
    assert some.count("calibration") == 8
    for split in ("train", "validation", "test"):
        with pytest.raises(DataError, match=r"sees only what it declares in `needs`"):
            some.count(split)
    assert feed(dataset).count("train") == 60


def test_preprocess_learns_from_train(dataset: Dataset) -> None:
    found = feed(dataset).choose_preprocess(InputSpec(), root=Path())
    assert isinstance(found, ImagePreprocess)
    train = dataset.samples["image"][splits_of(dataset).train]
    assert found.mean == pytest.approx(train.reshape(-1, 3).mean(axis=0).tolist(), abs=1e-3)


def test_senseless_calls_are_refused(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="at least 1"):
        feed(dataset).batches("train", size=0)
    texts = Dataset("text", {"text": np.array(["a", "b"])}, {"label": np.array([0, 1])})
    with pytest.raises(DataError, match="crop cannot be used"):
        Data(texts, {"train": np.arange(2)}, augment=Augment(crop=1), seed=0)


def test_text_and_arrays_are_fed_too() -> None:
    texts = np.array([f"w{i % 3}" for i in range(30)], dtype=object)
    data = Dataset("text", {"text": texts}, {"label": np.arange(30) % 2})
    splits = make_splits(data, validation=4, test=4, seed=0)
    whole = Data(data, splits.for_steps(), augment=Augment(), seed=0)
    preprocess = whole.choose_preprocess(InputSpec(), root=Path())
    for batch in whole.batches("train", preprocess, size=8, order=0, view=0):
        words = [f"w{i % 3}" for i in batch.index.tolist()]
        assert batch.inputs[0]["tokens"].shape == (len(words), 1)
        again = preprocess.encode({"text": np.array(words)})
        np.testing.assert_array_equal(batch.inputs[0]["tokens"], again["tokens"])
