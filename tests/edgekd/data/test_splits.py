from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset
from edgekd.data.splits import Splits, describe_missing, make_splits
from edgekd.errors import DataError

Maker = Callable[..., Dataset]


def same(a: Splits, b: Splits) -> bool:
    return a.to_json() == b.to_json()


def share(dataset: Dataset, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bincount(dataset.targets["label"][indices])
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_splits_are_disjoint_cover_all_and_calibration_is_of_train(
    images: Maker, seed: int
) -> None:
    dataset = images(40, 31, 29)
    splits = make_splits(dataset, validation=0.2, test=17, calibration=12, seed=seed)
    parts = [splits.train, splits.validation, splits.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert [len(part) for part in parts] == [63, 20, 17]
    assert len(splits.calibration) == len(set(splits.calibration.tolist())) == 12
    assert set(splits.calibration.tolist()) <= set(splits.train.tolist())


def test_classes_keep_their_share(images: Maker) -> None:
    dataset = images(60, 30, 10)
    splits = make_splits(dataset, validation=0.2, test=0.1, calibration=20, seed=0)
    assert share(dataset, splits.validation).tolist() == [12, 6, 2]
    assert share(dataset, splits.test).tolist() == [6, 3, 1]
    assert share(dataset, splits.train).tolist() == [42, 21, 7]
    assert share(dataset, splits.calibration).tolist() == [12, 6, 2]


def test_a_rare_class_is_in_every_split(images: Maker) -> None:
    dataset = images(300, 3)
    splits = make_splits(dataset, validation=10, test=10, calibration=10, seed=0)
    for part in (splits.train, splits.validation, splits.test):
        assert share(dataset, part)[1] == 1


def test_splits_are_a_function_of_the_seed_alone(images: Maker) -> None:
    dataset = images(30, 30)

    def make(seed: int) -> Splits:
        return make_splits(dataset, validation=0.1, test=0.1, calibration=9, seed=seed)

    np.random.seed(1)
    first = make(3)
    np.random.seed(2)
    assert same(first, make(3))
    other = make(4)
    assert set(first.test.tolist()) != set(other.test.tolist())
    assert set(first.validation.tolist()) != set(other.validation.tolist())


def test_any_prefix_is_mixed(images: Maker) -> None:
    """Else the first calibration batches of a sorted image folder would show one class."""
    dataset = images(200, 200)
    order = np.argsort(dataset.targets["label"], kind="stable")
    by_class = Dataset("image", *dataset.take(order), dataset.labels)
    splits = make_splits(by_class, validation=100, test=100, calibration=100, seed=0)
    for part in (splits.train, splits.calibration, splits.validation, splits.test):
        assert 8 <= share(by_class, part[:40])[0] <= 32


def test_what_the_source_fixes_is_kept(images: Maker) -> None:
    dataset = images(50, 50)
    fixed = replace(dataset, fixed={"train": np.arange(70), "test": np.arange(70, 90)})
    splits = make_splits(fixed, validation=0.1, test=0.5, calibration=5, seed=0)
    assert sorted(splits.test.tolist()) == list(range(70, 90))
    assert sorted([*splits.train.tolist(), *splits.validation.tolist()]) == list(range(70))
    assert len(splits.validation) == 7


def test_fixed_validation_and_test_leave_the_rest_to_train(images: Maker) -> None:
    dataset = images(50, 50)
    fixed = replace(dataset, fixed={"validation": np.arange(20), "test": np.arange(20, 40)})
    splits = make_splits(fixed, validation=0.3, test=0.3, calibration=60, seed=0)
    assert sorted(splits.validation.tolist()) == list(range(20))
    assert sorted(splits.train.tolist()) == list(range(40, 100))


def test_without_labels_nothing_is_stratified() -> None:
    values = {"value": np.zeros((20, 2), np.float32)}
    dataset = Dataset("array", {"x": np.zeros((20, 3), np.float32)}, values)
    splits = make_splits(dataset, validation=4, test=4, seed=0)
    assert (len(splits.train), len(splits.calibration)) == (12, 12)


def test_default_calibration_is_512_of_a_large_train_split(images: Maker) -> None:
    splits = make_splits(images(400, 400, height=1, width=1), validation=20, test=20, seed=0)
    assert len(splits.calibration) == 512


def test_more_calibration_than_train_is_refused_with_both_numbers(images: Maker) -> None:
    with pytest.raises(DataError, match=r"(?s)calibration = 99 .* has 80; give 1 to 80"):
        make_splits(images(50, 50), validation=10, test=10, calibration=99, seed=0)


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        (0, 0.1, "neither a share"),
        (0.1, -3, "neither a share"),
        (1.0, 0.1, "neither a share"),
        (0.1, 100, "needs 100 samples, but 100 are left"),
        (60, 50, "needs 60 samples, but 50 are left"),
    ],
)
def test_impossible_sizes_are_refused(
    images: Maker, validation: float, test: float, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_splits(images(50, 50), validation=validation, test=test, seed=0)


def test_one_class_is_refused(images: Maker) -> None:
    with pytest.raises(DataError, match=r"all 9 samples are of class 'c0'.*at least 2 classes"):
        make_splits(images(9), validation=2, test=2, seed=0)


def test_a_class_without_samples_is_named(images: Maker) -> None:
    dataset = images(9, 0, 9)
    splits = make_splits(dataset, validation=3, test=3, seed=0)
    assert describe_missing(dataset, splits) == "the data has no sample of class 'c1'"


def test_a_class_too_rare_for_every_split_is_for_training_and_named(images: Maker) -> None:
    dataset = images(50, 2)
    splits = make_splits(dataset, validation=10, test=10, calibration=10, seed=0)
    assert share(dataset, splits.train).tolist() == [30, 2]
    found = describe_missing(dataset, splits)
    assert "validation split has no sample of class 'c1' (2 in all)" in found
    assert "test split has no sample of class 'c1'" in found
    assert "train split" not in found


def test_a_fixed_test_split_that_lacks_a_class_is_used_and_named(images: Maker) -> None:
    dataset = images(20, 20)
    only = np.flatnonzero(dataset.targets["label"] == 0)[:5]
    fixed = replace(dataset, fixed={"test": only})
    splits = make_splits(fixed, validation=4, test=1, seed=0)
    assert sorted(splits.test.tolist()) == only.tolist()
    assert describe_missing(fixed, splits) == (
        "the test split has no sample of class 'c1' (20 in all), so the report does not show it"
    )


def test_many_rare_classes_are_named_in_few_words(images: Maker) -> None:
    dataset = images(50, *[2] * 9)
    found = describe_missing(dataset, make_splits(dataset, validation=9, test=9, seed=0))
    assert "'c5' (2 in all) and 4 more" in found
    alone = images(2, 2)
    with pytest.raises(DataError, match="each of the 2 classes has fewer than 3 samples"):
        make_splits(alone, validation=1, test=1, seed=0)


def test_steps_do_not_see_test(images: Maker) -> None:
    splits = make_splits(images(20, 20), validation=4, test=4, seed=0)
    assert sorted(splits.for_steps()) == ["calibration", "train", "validation"]


def test_few_samples_of_each_split_are_a_part_of_it(images: Maker) -> None:
    whole = make_splits(images(100, 100, 200), validation=0.25, test=0.25, calibration=50, seed=1)
    few = whole.few({"train": 60, "calibration": 20, "validation": 10, "test": 1000})
    assert [len(part) for part in (few.train, few.calibration, few.validation)] == [60, 20, 10]
    train = set(few.train.tolist())
    assert set(few.calibration.tolist()) <= train <= set(whole.train.tolist())
    assert (few.test == whole.test).all()
