"""Which augmentation suits which data: what does not is refused before any work."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edgekd.data.array_facts import ArrayOptions
from edgekd.data.augment import Augment, Jitter, check_augment
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError

Maker = Callable[..., Dataset]


def arrays(x: NDArray[np.generic], *axes: str) -> Dataset:
    meaning = ArrayOptions(axes={"x": axes} if axes else {})
    return Dataset("array", {"x": x}, {"label": np.zeros(len(x), np.int64)}, meaning=meaning)


def test_nothing_suits_texts() -> None:
    text = Dataset("text", {"text": np.array(["a", "b"])}, {"label": np.array([0, 1])})
    check_augment(Augment(), text)
    for options in (Augment(flip=True), Augment(mixup=0.2), Augment(time_mask=2)):
        with pytest.raises(DataError, match=r"of kind 'text'.*can be varied: nothing; remove it"):
            check_augment(options, text)


@pytest.mark.parametrize(
    "options",
    [
        Augment(crop=1),
        Augment(resized_crop=0.5),
        Augment(jitter=Jitter()),
        Augment(trivial_augment=True),
        Augment(cutout=2),
        Augment(cutmix=1.0),
    ],
)
def test_changes_of_images_do_not_suit_arrays_even_if_these_are_images(options: Augment) -> None:
    (name,) = options.model_dump(exclude_defaults=True)
    floats = arrays(np.zeros((4, 3, 8, 8), np.float32))
    with pytest.raises(DataError, match=rf"{name} cannot be used, .* of kind 'array'.*mixup"):
        check_augment(options, floats)


def test_a_move_wider_than_the_image_is_refused(images: Maker) -> None:
    with pytest.raises(DataError, match=r"up to 6 pixels.* shorter side has 6"):
        check_augment(Augment(crop=6), images(2, 2))
    check_augment(Augment(crop=5), images(2, 2))
    with pytest.raises(DataError, match=r"squares of 4 pixels.* shorter side .* has 4"):
        check_augment(Augment(cutout=4), images(2, 2, width=4))
    check_augment(Augment(cutout=3), images(2, 2, width=4))


def test_a_jitter_that_changes_nothing_is_refused(images: Maker) -> None:
    only_hue = Augment(jitter=Jitter(brightness=0, contrast=0, saturation=0.5, hue=0.5))
    check_augment(only_hue, images(2, 2))
    with pytest.raises(DataError, match=r"changes nothing: grey images have no saturation"):
        check_augment(only_hue, images(2, 2, channels=1))
    nothing = Augment(jitter=Jitter(brightness=0, contrast=0, saturation=0))
    with pytest.raises(DataError, match=r"changes nothing; give brightness"):
        check_augment(nothing, images(2, 2))


def test_masks_of_images_stay_where_they_are(images: Maker) -> None:
    plain = images(2, 2)
    masks = Dataset("image", plain.samples, {"mask": np.zeros((4, 6, 6), np.uint8)})
    check_augment(Augment(jitter=Jitter()), masks)
    for options in (Augment(flip=True), Augment(mixup=1.0), Augment(cutout=2)):
        with pytest.raises(DataError, match=r"not those of their masks; .*jitter is possible"):
            check_augment(options, masks)


def test_samples_that_are_found_by_each_other_have_one_label_each(images: Maker) -> None:
    plain = images(2, 2)
    people = Dataset("image", plain.samples, plain.targets, plain.labels, identities=True)
    check_augment(Augment(flip=True), people)
    with pytest.raises(DataError, match=r"mixes samples .* two labels"):
        check_augment(Augment(mixup=0.2), people)


def test_whole_numbers_are_not_blended() -> None:
    for number_type in (np.uint8, np.int64, np.bool_):
        with pytest.raises(DataError, match=r"'x' has whole ones .* give it as float32"):
            check_augment(Augment(mixup=0.2), arrays(np.zeros((4, 5), number_type)))
    check_augment(Augment(mixup=0.2), arrays(np.zeros((4, 5), np.float16)))


def test_a_mask_needs_an_axis_of_that_name() -> None:
    signal = np.zeros((4, 16), np.float32)
    with pytest.raises(DataError, match=r"axes = \{ x = \['time'\] \}"):
        check_augment(Augment(time_mask=3), arrays(signal))
    with pytest.raises(DataError, match=r"sample is x: \[\]\); remove it"):
        check_augment(Augment(time_mask=3), arrays(np.zeros(4, np.float32)))
    both = np.zeros((4, 8, 16), np.int16)
    with pytest.raises(DataError, match=r"named 'frequency'.*axes = \{ x = \['...', 'frequency'"):
        check_augment(Augment(frequency_mask=3), arrays(both, "sensor", "time"))
    check_augment(Augment(time_mask=15, frequency_mask=7), arrays(both, "frequency", "time"))
    with pytest.raises(DataError, match=r"time_mask = 16, .* has the length 16"):
        check_augment(Augment(time_mask=16), arrays(both, "frequency", "time"))
    with pytest.raises(DataError, match=r"only true and false"):
        check_augment(Augment(time_mask=2), arrays(np.zeros((4, 16), np.bool_), "time"))


@pytest.mark.parametrize(
    "values",
    [{"resized_crop": 0}, {"mixup": 0.01}, {"cutmix": 2}, {"jitter": {"hue": 0.6}}, {"cutout": -1}],
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augment.model_validate(values)
