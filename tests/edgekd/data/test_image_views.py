"""Views of images, compared with windows, squares and colours worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgekd.data import picture_changes
from edgekd.data.augment import Augment, Jitter
from edgekd.data.image_views import vary_images
from edgekd.data.picture_changes import OPERATIONS, crop_resized, jitter, pick, trivial, unit
from edgekd.data.seeded_random import below, mix

Pixels = NDArray[np.uint8]
MOVED = Augment(crop=3, flip=True, shift=2)
ALL = Augment(
    resized_crop=0.3,
    crop=2,
    shift=1,
    flip=True,
    trivial_augment=True,
    jitter=Jitter(hue=0.2),
    cutout=3,
)
EACH = [
    Augment(crop=3),
    Augment(flip=True),
    Augment(shift=2),
    Augment(resized_crop=0.3),
    Augment(jitter=Jitter(hue=0.3)),
    Augment(trivial_augment=True),
    Augment(cutout=4),
]
RANDOM = np.random.default_rng(0)
IMAGES: Pixels = RANDOM.integers(0, 256, (64, 9, 7, 3), dtype=np.uint8)
INDEX = np.arange(100, 164)
LOW, HALF, HIGH = 0, 1 << 63, (1 << 64) - 1


def view(
    images: Pixels = IMAGES,
    *,
    seed: int = 1,
    number: int = 0,
    index: NDArray[np.int64] = INDEX,
    options: Augment = MOVED,
) -> Pixels:
    return vary_images(images, seed=seed, view=number, index=index, options=options)


@pytest.mark.parametrize("options", [MOVED, ALL, *EACH])
def test_a_view_does_not_depend_on_the_batch_it_came_in(options: Augment) -> None:
    before = IMAGES.copy()
    whole = view(options=options)
    order = RANDOM.permutation(64)
    moved = view(IMAGES[order], index=INDEX[order], options=options)
    np.testing.assert_array_equal(moved, whole[order])
    for size in (1, 5, 63):
        parts = [
            view(IMAGES[i : i + size], index=INDEX[i : i + size], options=options)
            for i in range(0, 64, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(IMAGES, before)


@pytest.mark.parametrize("options", EACH)
def test_seed_number_and_index_each_change_the_view(options: Augment) -> None:
    whole = view(options=options)
    for other in (
        view(options=options, seed=2),
        view(options=options, number=1),
        view(options=options, index=INDEX + 1),
    ):
        changed = (other != whole).any(axis=(1, 2, 3)).mean()
        assert changed > 0.2


@pytest.mark.parametrize("options", [ALL, *EACH])
@pytest.mark.parametrize("shape", [(9, 7, 1), (1, 1, 1), (1, 1, 3), (1, 13, 3), (40, 3, 1)])
def test_images_of_any_form_keep_it(options: Augment, shape: tuple[int, ...]) -> None:
    pixels: Pixels = RANDOM.integers(0, 256, (50, *shape), dtype=np.uint8)
    found = view(pixels, index=np.arange(50), options=options)
    assert found.shape == pixels.shape
    assert found.dtype == np.uint8


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
    assert (unit(LOW), unit(HALF)) == (0.0, 0.5)
    assert unit(HIGH) < 1
    assert (pick(LOW, 5), pick(HALF, 5), pick(HIGH, 5)) == (0, 2, 4)


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


def test_a_resized_crop_is_a_box_of_the_wanted_area_and_aspect() -> None:
    """Columns of a ramp show where a box began and ended."""
    ramp = np.tile(np.arange(0, 240, dtype=np.uint8), (240, 1))
    found = np.asarray(crop_resized(Image.fromarray(ramp), 0.25, [LOW, HALF, LOW, HIGH]))
    assert found.shape == (240, 240)  # area 1/4, the aspect of the picture: half of each side
    assert (found[0, 0], found[0, -1]) == (0, 119)
    found = np.asarray(crop_resized(Image.fromarray(ramp), 0.25, [LOW, HIGH, HIGH, LOW]))
    wide = round(240 * (0.25 * 4 / 3) ** 0.5)  # 139 of 240 columns, up to the last
    assert (found[0, 0], found[0, -1]) == (240 - wide, 239)
    whole = crop_resized(Image.fromarray(ramp), 1.0, [HALF, HIGH, LOW, LOW])
    assert np.asarray(whole)[0, -1] == 239  # a side never exceeds the picture's


def test_jitter_by_hand() -> None:
    grey = Image.fromarray(np.array([[100, 200]], np.uint8))

    def changed(picture: Image.Image, bits: list[int], **most: float) -> list[object]:
        none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
        found = np.asarray(jitter(picture, Jitter(**{**none, **most}), bits))
        return list(found.tolist())

    assert changed(grey, [LOW] * 4) == [[100, 200]]
    assert changed(grey, [LOW] * 4, brightness=0.5) == [[50, 100]]
    assert changed(grey, [LOW] * 4, contrast=0.5) == [[125, 175]]  # half way to the mean of 150
    assert changed(grey, [LOW] * 4, saturation=1.0, hue=0.5) == [[100, 200]]
    red = Image.fromarray(np.array([[[255, 0, 0]]], np.uint8))
    assert changed(red, [LOW] * 4, saturation=1.0) == [[[76, 76, 76]]]  # its luma: 0.299 of 255
    ((turned,),) = np.asarray(jitter(red, Jitter(hue=0.5), [HALF] * 3 + [LOW]))
    assert np.abs(turned - np.array([0, 255, 255])).max() <= 3  # the complement, in 256 hues


def test_trivial_augment_by_hand() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    picture = Image.fromarray(pixels)

    def by(name: str, level: float, sign: int = 1) -> list[list[int]]:
        found: list[list[int]] = np.asarray(
            getattr(picture_changes, name)(picture, level, sign)
        ).tolist()
        return found

    one = 1.5 / 32  # a whole pixel
    assert by("translate_x", one) == np.pad(pixels, ((0, 0), (0, 1)))[:, 1:].tolist()
    assert by("translate_y", one, -1) == np.pad(pixels, ((1, 0), (0, 0)))[:-1].tolist()
    assert by("translate_x", 1.0) == [[0] * 4] * 4
    assert by("posterize", 1.0) == (pixels & 0b11000000).tolist()
    assert by("posterize", 0.0) == pixels.tolist()
    inverted = np.where(pixels < 128, pixels, 255 - pixels)
    assert by("solarize", 0.5) == inverted.tolist()  # 255 - round(127.5) = 127
    assert by("rotate", 2 / 3) == np.rot90(pixels).tolist()
    assert len(OPERATIONS) == 14
    assert np.asarray(trivial(picture, [LOW, HIGH, LOW])).tolist() == pixels.tolist()


def test_every_operation_is_drawn() -> None:
    drawn = {pick(int(bits), 14) for bits in mix(2, np.arange(300))}
    assert drawn == set(range(14))


def test_cutout_is_a_square_of_the_mean_colour() -> None:
    pixels: Pixels = RANDOM.integers(0, 256, (40, 8, 6, 2 + 1), dtype=np.uint8)
    found = view(pixels, index=np.arange(40), options=Augment(cutout=3))
    sizes = set()
    for before, after in zip(pixels, found, strict=True):
        mean = np.floor(before.reshape(-1, 3).mean(axis=0) + 0.5)
        rows, columns = np.nonzero((before != after).any(axis=2))
        box = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box == mean).all()
        sizes.add(box.shape[:2])
    assert (3, 3) in sizes
    assert max(max(size) for size in sizes) == 3
    assert min(min(size) for size in sizes) == 2  # with its centre at a border


def test_nothing_asked_nothing_done() -> None:
    assert view(options=Augment()) is IMAGES
