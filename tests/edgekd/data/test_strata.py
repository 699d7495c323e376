from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.data.splits import describe_missing, make_splits
from edgekd.errors import DataError


def people(*sizes: int) -> Dataset:
    """Samples of as many identities."""
    label = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    samples = {"x": np.arange(len(label), dtype=np.float32)[:, None]}
    return Dataset("array", samples, {"label": label}, identities=True)


def sizes(dataset: Dataset, rows: NDArray[np.int64]) -> set[int]:
    """How many samples of one identity are in a split."""
    return set(np.bincount(dataset.targets["label"][rows]).tolist())


@pytest.mark.parametrize("each", [2, 3, 4, 6, 50])
def test_no_identity_is_alone_in_a_split(each: int) -> None:
    dataset = people(*[each] * 40)
    splits = make_splits(dataset, validation=0.2, test=0.1, seed=each)
    for rows in (splits.train, splits.validation, splits.test):
        assert 1 not in sizes(dataset, rows)
    share = [len(rows) / len(dataset) for rows in (splits.validation, splits.test)]
    assert share == pytest.approx([0.2, 0.1], abs=0.025)
    assert describe_missing(dataset, splits) == ""


def test_identities_of_many_samples_are_in_every_split_in_their_share() -> None:
    dataset = people(100, 100, 50)
    splits = make_splits(dataset, validation=50, test=25, seed=0)
    assert np.bincount(dataset.targets["label"][splits.validation]).tolist() == [20, 20, 10]


def test_single_samples_of_an_identity_are_for_training() -> None:
    dataset = people(*[1] * 30, *[4] * 20)
    splits = make_splits(dataset, validation=0.2, test=0.1, seed=0)
    assert set(np.arange(30).tolist()) <= set(splits.train.tolist())
    with pytest.raises(DataError, match="each of the 9 labels has one sample"):
        make_splits(people(*[1] * 9), validation=0.2, test=0.1, seed=0)


def test_a_fixed_split_without_mates_is_refused_and_lone_samples_are_named() -> None:
    dataset = people(*[3] * 20)
    lone = replace(dataset, fixed={"test": np.arange(0, 60, 3)})
    with pytest.raises(DataError, match="no two samples of the test split have one label"):
        make_splits(lone, validation=0.2, test=0.1, seed=0)
    some = replace(dataset, fixed={"test": np.array([0, 1, 3, 6])})
    splits = make_splits(some, validation=0.2, test=0.1, seed=0)
    assert "2 of 4 samples of the test split have no other" in describe_missing(some, splits)


def test_any_prefix_of_a_split_has_mates() -> None:
    dataset = people(*[4] * 50)
    splits = make_splits(dataset, validation=0.2, test=0.1, seed=0)
    for rows in (splits.train, splits.validation, splits.test):
        assert 1 not in sizes(dataset, rows[:10])


def test_a_batch_of_training_contains_mates() -> None:
    dataset = people(*[4] * 50)
    data = Data(dataset, {"train": np.arange(200)}, augment=Augment(), seed=0)
    seen = []
    for batch in data.batches("train", ArrayPreprocess(names=("x",)), size=8, order=1):
        counts = np.bincount(batch.targets["label"])
        assert counts.max() >= 2
        assert 1 not in counts.tolist()
        seen += batch.index.tolist()
    assert sorted(seen) == list(range(200))
    assert seen != list(range(200))


def test_several_labels_are_split_by_the_rarest_and_a_missing_one_is_named() -> None:
    labels = np.zeros((300, 4), np.uint8)
    labels[:, 0] = 1
    labels[:30, 1] = 1
    labels[:2, 2] = 1
    dataset = Dataset(
        "array", {"x": np.zeros((300, 1), np.float32)}, {"labels": labels}, ("a", "b", "c", "d")
    )
    splits = make_splits(dataset, validation=0.2, test=0.1, seed=0)
    assert labels[splits.validation].sum(axis=0).tolist() == [60, 6, 0, 0]
    assert labels[splits.train].sum(axis=0)[2] == 2
    said = describe_missing(dataset, splits)
    assert "the data has no sample of class 'd'" in said
    assert "the test split has no sample of class 'c' (2 in all)" in said


def test_masks_are_split_by_the_rarest_class_and_unlike_ones_are_one_group() -> None:
    masks = np.zeros((100, 4, 4), np.uint8)
    masks[:10, 0, 0] = 2
    masks[:, 1, 1] = 255
    dataset = Dataset("array", {"x": np.zeros((100, 1), np.float32)}, {"mask": masks})
    splits = make_splits(dataset, validation=20, test=10, seed=0)
    assert [int((rows < 10).sum()) for rows in (splits.validation, splits.test)] == [2, 1]
    every = np.eye(100, dtype=np.uint8)
    unlike = Dataset("array", dataset.samples, {"labels": every})
    assert len(make_splits(unlike, validation=20, test=10, seed=0).validation) == 20
