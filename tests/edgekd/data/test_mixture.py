"""Further sources give training samples; what decides stays with the main source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.mixture import Extra, mix_sources
from edgekd.data.preprocess import ImagePreprocess
from edgekd.data.source import Source, open_source
from edgekd.data.splits import Splits, make_splits
from edgekd.data.stored_splits import SplitOptions, run_splits, write_splits
from edgekd.errors import DataError
from edgekd.progress import Silent

Maker = Callable[..., Dataset]
RANDOM = np.random.default_rng(3)
PLAIN = ImagePreprocess(height=6, width=6, mean=(127,) * 3, std=(64,) * 3)


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> Path:
    return cache


def pixels(count: int, *, side: int = 6) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def main(images: Maker) -> Dataset:
    return images(30, 30)


OTHER = Dataset("image", {"image": pixels(9)}, {"label": np.arange(9) % 2}, ("c0", "c1"))


def mixed(main: Dataset, other: Dataset = OTHER, *, weight: float | None = None) -> Dataset:
    extra = Extra(name="the mixed source 'other'", dataset=other, weight=weight)
    return mix_sources(main, [extra], progress=Silent())


def split(dataset: Dataset) -> Splits:
    return make_splits(dataset, validation=10, test=10, calibration=8, seed=0)


def data_of(dataset: Dataset) -> Data:
    return Data(dataset, split(dataset).for_steps(), augment=Augment(flip=True), seed=0)


def test_a_mixture_is_one_data_set_the_main_source_first(main: Dataset) -> None:
    whole = mixed(main)
    together = np.concatenate([main.samples["image"], OTHER.samples["image"]])
    np.testing.assert_array_equal(whole.samples["image"], together)
    labels = np.concatenate([main.targets["label"], OTHER.targets["label"]])
    np.testing.assert_array_equal(whole.targets["label"], labels)
    assert isinstance(whole.samples["image"], np.memmap), "memory stays flat"
    assert mixed(main).fingerprint == whole.fingerprint != main.fingerprint
    assert replace(whole, known_sha256={}).fingerprint == whole.fingerprint


def test_all_that_decides_is_of_the_main_source_as_if_it_were_alone(main: Dataset) -> None:
    alone, whole = split(main), split(mixed(main))
    for name in ("validation", "test", "calibration"):
        assert getattr(whole, name).tolist() == getattr(alone, name).tolist()
    assert sorted(whole.train.tolist()) == sorted([*alone.train.tolist(), *range(60, 69)])
    first, second = data_of(main), data_of(mixed(main, weight=0.5))
    for part in ("calibration", "validation"):
        assert first.fingerprint(part) == second.fingerprint(part)


def test_weights_change_what_is_trained_on_and_nothing_else(main: Dataset) -> None:
    half, double = (data_of(mixed(main, weight=weight)) for weight in (0.5, 2.0))
    assert half.fingerprint("training") != double.fingerprint("training")
    assert half.fingerprint("calibration") == double.fingerprint("calibration")
    assert mixed(main, weight=0.5).fingerprint == mixed(main, weight=2.0).fingerprint
    assert (half.per_epoch("train"), double.per_epoch("train")) == (60, 120)
    seen = [b.index for b in half.batches("train", PLAIN, size=7, order=1, view=1)]
    assert [len(index) for index in seen] == [7] * 8 + [4]
    assert (np.concatenate(seen) >= 60).sum() == 20


def test_stored_splits_of_a_mixture_are_read_back(main: Dataset, tmp_path: Path) -> None:
    options = SplitOptions(validation=10, test=0.2, calibration=8, seed=0)
    for dataset in (mixed(main), mixed(replace(main, fixed={"train": np.arange(40)}))):
        write_splits(tmp_path, options.make(dataset), options, dataset)
        found, remark = run_splits(tmp_path, options, dataset)
        assert (found.to_json(), remark) == (options.make(dataset).to_json(), "")
        (tmp_path / "splits.json").unlink()


def test_a_further_source_keeps_its_own_test_samples_out(main: Dataset) -> None:
    for fixed, kept in (({"test": [0, 1]}, range(2, 9)), ({"train": [3, 4]}, [3, 4])):
        indices = {name: np.array(value) for name, value in fixed.items()}
        whole = mixed(main, replace(OTHER, fixed=indices))
        expected = OTHER.samples["image"][list(kept)]
        np.testing.assert_array_equal(whole.samples["image"][60:], expected)


def test_samples_of_the_main_source_do_not_come_back_by_another(
    main: Dataset, listener: Any
) -> None:
    """They could be in its test split."""
    again = main.take(np.array([5, 9]))[0]["image"]
    both = np.concatenate([again, OTHER.samples["image"]])
    twice = Dataset("image", {"image": both}, {"label": np.arange(11) % 2}, ("c0", "c1"))
    for _ in range(2):  # the second time from the cache
        extra = Extra(name="other", dataset=twice, weight=None)
        whole = mix_sources(main, [extra], progress=listener)
        assert whole.targets["label"][60:].tolist() == (np.arange(2, 11) % 2).tolist()
    assert (
        listener.said
        == ["other: 2 of 11 samples are left out, because they are also in the main source"] * 2
    )
    with pytest.raises(DataError, match="no training sample to the main source"):
        mixed(main, main)


def test_classes_go_by_name(main: Dataset) -> None:
    swapped = replace(OTHER, labels=("c1", "c0"))
    expected = (1 - OTHER.targets["label"]).tolist()
    assert mixed(main, swapped).targets["label"][60:].tolist() == expected
    numbered = replace(OTHER, labels=("0", "1"))
    assert mixed(main, numbered).targets["label"][60:].tolist() == [i % 2 for i in range(9)]
    with pytest.raises(DataError, match=r"class 'dog' of .*'other' is not a class .* \(c0, c1\)"):
        mixed(main, replace(OTHER, labels=("c0", "dog")))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Dataset("array", {"image": np.ones((4, 2))}, {}), "of kind 'array' .* of kind 'image'"),
        (replace(OTHER, samples={"image": pixels(9, side=7)}), r"uint8 \[7, 7, 3\] .*same size"),
        (replace(OTHER, targets={}), r"targets none and the main source label: int64 \[\]"),
    ],
)
def test_sources_that_do_not_fit_together_are_refused(
    main: Dataset, other: Dataset, reason: str
) -> None:
    with pytest.raises(DataError, match=rf"'other' .*{reason}"):
        mixed(main, other)


def test_the_licence_names_every_source(main: Dataset) -> None:
    assert mixed(replace(main, licence="CC0"), replace(OTHER, licence="CC0")).licence == "CC0"
    assert mixed(replace(main, licence="CC0"), OTHER).licence == "CC0 and unknown"


def test_a_recipe_mixes_texts_and_folders(tmp_path: Path, paint: Callable[..., Path]) -> None:
    (tmp_path / "a.csv").write_text("text,label\none,x\ntwo,y\nthree,x\nfour,y\n")
    (tmp_path / "b.csv").write_text("text,label\nfive,y\ntwo,y\n")
    table: dict[str, Any] = {"path": "a.csv", "mix": [{"path": "b.csv", "weight": 0.25}]}
    texts = open_source(Source.model_validate(table), root=tmp_path)
    assert texts.samples["text"].tolist() == ["one", "two", "three", "four", "five"]
    assert texts.targets["label"].tolist() == [0, 1, 0, 1, 1]
    assert [(s.start, s.stop, s.weight) for s in texts.shares] == [(0, 4, None), (4, 5, 0.25)]
    for i in range(2):
        folder = paint(f"cat/{i}.png", (i, 0, 0))
        paint(f"dog/{i}.png", (i, 9, 0))
        for name in ("cat", "dog"):
            paint(f"../more/{name}/{i}.png", (i, 50, len(name) + ord(name[0])), width=20, height=10)
    table = {"path": folder.name, "mix": [{"path": "more"}]}
    photos = open_source(Source.model_validate(table), root=tmp_path)
    assert photos.samples["image"].shape == (8, 8, 8, 3), "decoded to the main source's size"
