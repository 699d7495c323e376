from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.augment import Augment, augment, check_augment
from edgekd.data.dataset import Dataset
from edgekd.data.seeded_random import below, mix
from edgekd.errors import DataError

Maker = Callable[..., Dataset]
Pixels = NDArray[np.uint8]
ALL = Augment(crop=3, flip=True, shift=2)
RANDOM = np.random.default_rng(0)
IMAGES: Pixels = RANDOM.integers(0, 256, (64, 9, 7, 3), dtype=np.uint8)
INDEX = np.arange(100, 164)


def view(
    images: Pixels = IMAGES,
    *,
    seed: int = 1,
    number: int = 0,
    index: NDArray[np.int64] = INDEX,
    options: Augment = ALL,
) -> Pixels:
    return augment(images, seed=seed, view=number, index=index, options=options)


def test_a_view_does_not_depend_on_the_batch_it_came_in() -> None:
    whole = view()
    order = RANDOM.permutation(64)
    np.testing.assert_array_equal(view(IMAGES[order], index=INDEX[order]), whole[order])
    for size in (1, 5, 63):
        parts = [view(IMAGES[i : i + size], index=INDEX[i : i + size]) for i in range(0, 64, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("options", [Augment(crop=3), Augment(flip=True), Augment(shift=2)])
def test_seed_number_and_index_each_change_the_view(options: Augment) -> None:
    whole = view(options=options)
    for other in (
        view(options=options, seed=2),
        view(options=options, number=1),
        view(options=options, index=INDEX + 1),
    ):
        changed = (other != whole).any(axis=(1, 2, 3)).mean()
        assert changed > 0.2


def test_seed_and_number_do_not_stand_for_each_other() -> None:
    assert (view(seed=1, number=2) != view(seed=2, number=1)).any()


def test_the_numbers_stay_what_they_are() -> None:
    """Runs resume across versions: the same words give the same bits for ever."""
    assert mix(0).tolist() == [0xE220A8397B1DCDAF]  # first output of splitmix64 for seed 0
    assert mix(1, 2, np.array([3, 4])).shape == (2,)
    assert mix(-1).shape == (1,)


def test_draws_are_uniform() -> None:
    drawn = below(mix(7, np.arange(70_000)), 7)
    counts = np.bincount(drawn, minlength=7)
    assert len(counts) == 7
    assert (np.abs(counts - 10_000) < 500).all()  # about five standard deviations


def test_flip_mirrors_half_of_the_images() -> None:
    pixels: Pixels = RANDOM.integers(0, 256, (2000, 2, 5, 1), dtype=np.uint8)
    found = view(pixels, index=np.arange(2000), options=Augment(flip=True))
    mirrored = (found == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (found == pixels).all(axis=(1, 2, 3))
    assert (mirrored | kept).all()
    assert 900 < mirrored.sum() < 1100


def test_crop_is_a_window_of_the_reflected_image() -> None:
    found = view(options=Augment(crop=2))
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    seen = set()
    for image, frame in zip(found, padded, strict=True):
        places = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if (frame[y : y + 9, x : x + 7] == image).all()
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(5))


def test_shift_repeats_the_border() -> None:
    found = view(options=Augment(shift=3))
    padded = np.pad(IMAGES, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    for image, frame in zip(found, padded, strict=True):
        places = [(y, x) for y in range(7) for x in range(7)]
        assert any((frame[y : y + 9, x : x + 7] == image).all() for y, x in places)


def test_nothing_asked_nothing_done() -> None:
    assert view(options=Augment()) is IMAGES


def test_image_options_do_not_suit_texts() -> None:
    text = Dataset("text", {"text": np.array(["a", "b"])}, {"label": np.array([0, 1])})
    check_augment(Augment(), text)
    with pytest.raises(DataError, match=r"'flip': True.* of kind 'text'; remove it"):
        check_augment(Augment(flip=True), text)


def test_a_move_wider_than_the_image_is_refused(images: Maker) -> None:
    with pytest.raises(DataError, match=r"up to 6 pixels.* shorter side has 6"):
        check_augment(Augment(crop=6), images(2, 2))
    check_augment(Augment(crop=5), images(2, 2))
