"""The options of augmentation, and whether they suit the data. `views.py` makes the views.

A view is a function of (seed, view number, index), in any process: exact resume, a teacher's cached
outputs and several processes all rest on that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError
from edgekd.options import Options

Axis = Literal["time", "frequency"]


class Jitter(Options):
    """Random changes of colour: a factor from 1 - x to 1 + x for each, and a turn of the hue."""

    brightness: float = Field(default=0.4, ge=0, le=1, description="largest change of brightness")
    contrast: float = Field(default=0.4, ge=0, le=1, description="largest change of contrast")
    saturation: float = Field(
        default=0.4, ge=0, le=1, description="largest change of saturation; nothing if grey"
    )
    hue: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="largest turn of the hue, as a share of the circle; nothing if grey",
    )


class Augment(Options):
    """Augmentation of training samples; teacher and student see the same view."""

    crop: int = Field(
        default=0,
        ge=0,
        le=512,
        description="images: random shift of up to this many pixels; borders are reflected",
    )
    shift: int = Field(
        default=0,
        ge=0,
        le=512,
        description="images: random shift of up to this many pixels; borders are repeated",
    )
    flip: bool = Field(
        default=False, description="images: mirror half of them left to right, at random"
    )
    resized_crop: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="images: cut out a box with this share of the area or more, resize it to the "
        "size of the image; 0.08 is usual for photographs, 0.5 for small images",
    )
    jitter: Jitter | None = Field(
        default=None,
        description="images: random brightness, contrast, saturation and hue",
    )
    trivial_augment: bool = Field(
        default=False,
        description="images: one of 14 changes with a random strength for each image "
        "(TrivialAugment, wide)",
    )
    cutout: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="images: fill a random square of this side, in pixels, with the mean colour",
    )
    mixup: float | None = Field(
        default=None,
        ge=0.05,
        le=1,
        description="blend each sample with another one; the share is drawn from Beta(x, x); 0.2 "
        "and 1 are usual; images, and arrays of floating point numbers",
    )
    cutmix: float | None = Field(
        default=None,
        ge=0.05,
        le=1,
        description="images: replace a random box by that of another image; its area is drawn from "
        "Beta(x, x); with mixup too, each sample gets one of the two at random",
    )
    time_mask: int = Field(
        default=0,
        ge=0,
        description="arrays with an axis 'time' (`axes` in [data]): replace up to this many steps "
        "by the mean of the sample",
    )
    frequency_mask: int = Field(
        default=0,
        ge=0,
        description="arrays with an axis 'frequency': replace up to this many bands by the mean",
    )

    @property
    def active(self) -> bool:
        """Whether anything is varied."""
        return self != Augment()

    @property
    def mixes(self) -> bool:
        """Whether samples are mixed with others."""
        return self.mixup is not None or self.cutmix is not None

    @property
    def masks(self) -> Mapping[Axis, int]:
        """Name of an axis -> the largest number of its places that are masked, at least 1."""
        sizes: dict[Axis, int] = {"time": self.time_mask, "frequency": self.frequency_mask}
        return {axis: size for axis, size in sizes.items() if size}


_MOVES = frozenset({"crop", "shift", "flip", "resized_crop", "trivial_augment", "cutout"})
_SUITS: Mapping[str, frozenset[str]] = {
    "image": _MOVES | {"jitter", "mixup", "cutmix"},
    "array": frozenset({"mixup", "time_mask", "frequency_mask"}),
    "text": frozenset(),
}
_EIGHTH = "an eighth of the side is usual"


def check_augment(options: Augment, dataset: Dataset) -> None:
    """Refuse augmentation that this data cannot have.

    Raises:
        DataError: with what to change.
    """
    if not options.active:
        return
    used = {name for name, value in options if value != Augment.model_fields[name].default}
    wrong = sorted(used - _SUITS[dataset.kind])
    if wrong:
        known = ", ".join(sorted(_SUITS[dataset.kind])) or "nothing"
        raise DataError(
            f"augment = {options.model_dump(exclude_defaults=True)}: {', '.join(wrong)} cannot be "
            f"used, since the data is of kind {dataset.kind!r}, of which can be varied: {known}; "
            "remove it"
        )
    _check_targets(options, used, dataset)
    if dataset.kind == "image":
        _check_sizes(options, dataset)
        if options.jitter is not None:
            _check_jitter(options.jitter, dataset.samples["image"].shape[3])
    for axis, size in options.masks.items():
        _check_mask(axis, size, dataset)
    if options.mixes and dataset.kind == "array":
        _check_blending(dataset)


def _check_targets(options: Augment, used: set[str], dataset: Dataset) -> None:
    moving = sorted(used & (_MOVES | {"mixup", "cutmix"}))
    if "mask" in dataset.targets and moving:
        raise DataError(
            f"augment ({', '.join(moving)}) moves the pixels of images, but not those of their "
            "masks; remove it, or vary images and masks alike in the data itself; jitter is "
            "possible, since it moves nothing"
        )
    if dataset.identities and options.mixes:
        raise DataError(
            "augment mixes samples (mixup, cutmix), but here samples of one label are to be found "
            "by each other, and a mixed one has two labels; remove it"
        )


def _check_sizes(options: Augment, dataset: Dataset) -> None:
    side = min(dataset.samples["image"].shape[1:3])
    if max(options.crop, options.shift) >= side:
        raise DataError(
            f"augment moves images by up to {max(options.crop, options.shift)} pixels, but their "
            f"shorter side has {side}; {_EIGHTH}"
        )
    if options.cutout >= side:
        raise DataError(
            f"augment cuts out squares of {options.cutout} pixels, but the shorter side of the "
            f"images has {side}: nothing would be left of many; half of the side is usual"
        )


def _check_jitter(options: Jitter, channels: int) -> None:
    coloured = max(options.saturation, options.hue) if channels > 1 else 0.0
    if not max(options.brightness, options.contrast, coloured):
        grey = ": grey images have no saturation and no hue" if channels == 1 else ""
        raise DataError(
            f"augment.jitter = {options.model_dump()} changes nothing{grey}; give brightness or "
            "contrast, or remove it"
        )


def masked_axes(axis: Axis, dataset: Dataset) -> dict[str, int]:
    """Return the arrays that have an axis of this name, with its place; the samples' is 0."""
    named = dataset.meaning.axes
    return {name: 1 + axes.index(axis) for name, axes in named.items() if axis in axes}


def _check_mask(axis: Axis, size: int, dataset: Dataset) -> None:
    found = masked_axes(axis, dataset)
    arrays = {name: list(array.shape[1:]) for name, array in dataset.samples.items()}
    if not found:
        shown = ", ".join(f"{name}: {shape}" for name, shape in arrays.items())
        name, shape = next(iter(arrays.items()))
        example = ", ".join(["'...'"] * (len(shape) - 1) + [f"'{axis}'"])
        names = f"name the axes in [data], for instance axes = {{ {name} = [{example}] }}, or "
        raise DataError(
            f"augment.{axis}_mask needs an array with an axis named {axis!r}, and no axis has this "
            f"name (the shape of each sample is {shown}); {names if shape else ''}remove it"
        )
    for name, place in found.items():
        array = dataset.samples[name]
        if array.dtype.kind == "b":
            raise DataError(
                f"augment.{axis}_mask replaces values by their mean, and the array {name!r} has "
                "only true and false; remove it, or give the array as numbers"
            )
        if size >= array.shape[place]:
            raise DataError(
                f"augment.{axis}_mask = {size}, but the axis {axis!r} of {name!r} has the length "
                f"{array.shape[place]}: nothing would be left of some samples; a fifth of the "
                "length is usual"
            )


def _check_blending(dataset: Dataset) -> None:
    whole = {n: a.dtype for n, a in dataset.samples.items() if a.dtype.kind != "f"}
    if whole:
        name, number_type = next(iter(whole.items()))
        raise DataError(
            f"augment.mixup blends numbers, and the array {name!r} has whole ones ({number_type}), "
            "which may be categories or bytes of a fixed scale; give it as float32, or remove mixup"
        )
