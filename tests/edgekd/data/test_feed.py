from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset
from edgekd.data.feed import Data
from edgekd.data.preprocess import ImagePreprocess, InputSpec
from edgekd.data.splits import Splits, make_splits
from edgekd.data.view import Augment
from edgekd.errors import DataError

Maker = Callable[..., Dataset]
SMALL = ImagePreprocess(height=6, width=6, mean=(127,) * 3, std=(64,) * 3)
LARGE = ImagePreprocess(height=12, width=12, mean=(127,) * 3, std=(64,) * 3)


def splits_of(dataset: Dataset) -> Splits:
    return make_splits(dataset, validation=10, test=10, calibration=8, seed=0)


@pytest.fixture
def dataset(images: Maker) -> Dataset:
    return images(40, 40)


def feed(dataset: Dataset, *, seed: int = 0, augment: Augment | None = None) -> Data:
    options = Augment(crop=2, flip=True) if augment is None else augment
    return Data(dataset, splits_of(dataset).for_steps(), augment=options, seed=seed)


def order(data: Data, epoch: int | None, size: int = 7) -> NDArray[np.int64]:
    return np.concatenate([b.index for b in data.batches("train", size=size, epoch=epoch)])


def test_every_sample_comes_once_and_the_last_batch_is_short(dataset: Dataset) -> None:
    data = feed(dataset)
    for epoch in (None, 0):
        sizes = [len(b.index) for b in data.batches("train", SMALL, size=7, epoch=epoch)]
        assert sizes == [7] * 8 + [4]
        assert sorted(order(data, epoch).tolist()) == sorted(splits_of(dataset).train.tolist())


def test_without_an_epoch_samples_come_in_order_and_unvaried(dataset: Dataset) -> None:
    data, splits = feed(dataset), splits_of(dataset)
    for split, indices in splits.for_steps().items():
        batches = list(data.batches(split, SMALL, size=3))
        np.testing.assert_array_equal(np.concatenate([b.index for b in batches]), indices)
        seen = np.concatenate([b.inputs[0]["image"] for b in batches])
        np.testing.assert_array_equal(seen, dataset.samples["image"][indices])
        labels = np.concatenate([b.targets["label"] for b in batches])
        np.testing.assert_array_equal(labels, dataset.targets["label"][indices])


def test_order_is_a_function_of_seed_and_epoch(dataset: Dataset) -> None:
    first = order(feed(dataset), 3)
    np.testing.assert_array_equal(order(feed(dataset), 3, size=11), first)
    assert (order(feed(dataset), 4) != first).any()
    assert (order(feed(dataset, seed=1), 3) != first).any()


def test_a_view_is_the_same_in_any_batch_size(dataset: Dataset) -> None:
    def views(size: int) -> NDArray[np.uint8]:
        batches = feed(dataset).batches("train", SMALL, size=size, epoch=2)
        return np.concatenate([b.inputs[0]["image"] for b in batches])

    np.testing.assert_array_equal(views(1), views(60))
    index = order(feed(dataset), 2)
    assert (views(60) != dataset.samples["image"][index]).any()


def test_all_preprocesses_see_the_same_view(dataset: Dataset) -> None:
    for batch in feed(dataset).batches("train", SMALL, LARGE, size=16, epoch=1):
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
    with pytest.raises(DataError, match=r"no split 'test' here.*until the report"):
        data.batches("test", SMALL, size=4)
    splits = splits_of(dataset)
    with pytest.raises(DataError, match=r"opened alone"):
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


def test_fingerprint_follows_all_that_is_fed(dataset: Dataset, images: Maker) -> None:
    splits = splits_of(dataset)
    fewer = {"train": splits.train[:-1]}
    found = [
        feed(dataset),
        feed(dataset, seed=1),
        feed(dataset, augment=Augment()),
        feed(images(41, 40)),
        Data(dataset, fewer, augment=Augment(crop=2, flip=True), seed=0),
    ]
    assert len({data.fingerprint for data in found}) == len(found)
    assert feed(dataset).fingerprint == feed(dataset).fingerprint


def test_preprocess_learns_from_train(dataset: Dataset) -> None:
    found = feed(dataset).preprocess_for(InputSpec())
    assert isinstance(found, ImagePreprocess)
    train = dataset.samples["image"][splits_of(dataset).train]
    assert found.mean == pytest.approx(train.reshape(-1, 3).mean(axis=0).tolist(), abs=1e-3)


def test_senseless_calls_are_refused(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="at least 1"):
        feed(dataset).batches("train", size=0)
    texts = Dataset("text", {"text": np.array(["a", "b"])}, {"label": np.array([0, 1])})
    with pytest.raises(DataError, match="for images"):
        Data(texts, {"train": np.arange(2)}, augment=Augment(crop=1), seed=0)


def test_text_and_arrays_are_fed_too() -> None:
    texts = np.array([f"w{i % 3}" for i in range(30)], dtype=object)
    data = Dataset("text", {"text": texts}, {"label": np.arange(30) % 2})
    splits = make_splits(data, validation=4, test=4, seed=0)
    whole = Data(data, splits.for_steps(), augment=Augment(), seed=0)
    preprocess = whole.preprocess_for(InputSpec())
    for batch in whole.batches("train", preprocess, size=8, epoch=0):
        words = [f"w{i % 3}" for i in batch.index.tolist()]
        assert batch.inputs[0]["tokens"].shape == (len(words), 1)
        again = preprocess.encode({"text": np.array(words)})
        np.testing.assert_array_equal(batch.inputs[0]["tokens"], again["tokens"])
