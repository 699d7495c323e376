"""Choose the preprocessing of a model from the recipe and the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edgekd.data.array_facts import describe_arrays
from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.pictures import to_channels
from edgekd.data.preprocess import (
    ArrayPreprocess,
    ImagePreprocess,
    Preprocess,
)
from edgekd.data.tokenizer_files import open_named, words_of
from edgekd.data.tokenizers import AnyText
from edgekd.data.vocabulary import build_vocabulary, read_vocabulary
from edgekd.errors import DataError
from edgekd.store import locate
from edgekd.wording import has_recipe, option

_FIELDS = {
    "image": {"size", "channels", "mean", "std", "in_graph", "colours", "layout", "name"},
    "text": {
        *("max_length", "fixed_length", "padding"),
        *("vocabulary_size", "vocabulary", "tokenizer"),
    },
    "array": set[str](),
}
_SAMPLE_VALUES = 20_000_000  # float32 at once when mean and std are computed
_VOCABULARY = 10_000


def choose_preprocess(
    spec: InputSpec, dataset: Dataset, train: NDArray[np.int64], *, root: Path
) -> Preprocess:
    """Return the preprocessing that `spec` describes; the data decides what `spec` leaves open.

    Mean, std and vocabulary are learned from the indices `train` only. Files that
    `spec` names are relative to `root`.

    Raises:
        DataError: `spec` has options of another kind of data, or values that do not fit.
    """
    given = {name for name in spec.model_fields_set if getattr(spec, name) is not None}
    wrong = sorted(given - _FIELDS[dataset.kind])
    if wrong:
        known = ", ".join(sorted(_FIELDS[dataset.kind])) or "none"
        raise DataError(
            f"{', '.join(dict.fromkeys(map(show_input_option, wrong)))} cannot be used: the "
            "data is of kind "
            f"{dataset.kind!r}, whose input options are: {known}; leave it out"
        )
    if dataset.kind == "array":
        facts = describe_arrays(dataset.samples, train, dataset.columns)
        targets = next((dataset.columns.get(name, ()) for name in dataset.targets), ())
        return ArrayPreprocess(names=tuple(dataset.samples), facts=facts, targets=targets)
    if dataset.kind == "text":
        return _text(spec, dataset.samples["text"][train], root)
    return _image(spec, dataset, train)


def show_input_option(name: str) -> str:
    """Return an option of a model's input as the caller wrote it."""
    scale = {"mean": option("normalize"), "std": option("normalize"), "size": option("data.size")}
    shown = f"model.input.{name}"
    return shown if has_recipe() else scale.get(name, shown)


def _text(spec: InputSpec, texts: NDArray[Any], root: Path) -> AnyText:
    size = spec.vocabulary_size or _VOCABULARY
    if spec.tokenizer is not None:
        found: AnyText = open_named(
            spec.tokenizer, texts.tolist(), root=root, max_length=spec.max_length, size=size
        )
    elif spec.vocabulary is not None:
        found = words_of(read_vocabulary(locate(spec.vocabulary, root=root)), spec.max_length)
    else:
        found = words_of(build_vocabulary(texts, size=size), spec.max_length)
    changes: dict[str, object] = {}
    if spec.padding is not None:
        changes["padding"] = spec.padding
    if spec.fixed_length:
        changes["min_length"] = found.max_length
    return found.changed(**changes) if changes else found


def _image(spec: InputSpec, dataset: Dataset, train: NDArray[np.int64]) -> ImagePreprocess:
    image = dataset.samples["image"]
    own_height, own_width, own_channels = image.shape[1:]
    size = spec.size or (own_height, own_width)
    height, width = size if isinstance(size, tuple) else (size, size)
    channels = spec.channels or own_channels
    if spec.mean is None or spec.std is None:
        mean, std = _statistics(image, train, channels)
    else:
        mean, std = _per_channel(spec.mean, channels), _per_channel(spec.std, channels)
    values: dict[str, Any] = {"height": height, "width": width, "channels": channels}
    try:
        return ImagePreprocess(
            **values,
            mean=mean,
            std=std,
            name=spec.name or "image",
            in_graph=spec.in_graph is not False,
            colours=spec.colours or "rgb",
            layout=spec.layout,
            picture=dataset.form,
        )
    except ValidationError as error:
        reasons = "; ".join(str(one["msg"]) for one in error.errors())
        raise DataError(f"input = {spec.model_dump(exclude_none=True)}: {reasons}") from error


def _per_channel(value: float | tuple[float, ...], channels: int) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * channels


def _statistics(
    image: NDArray[np.uint8], train: NDArray[np.int64], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel in pixel units, of up to 1,000 images from all of `train`."""
    per_image = int(np.prod(image.shape[1:3])) * 3
    count = min(len(train), 1000, max(16, _SAMPLE_VALUES // per_image))
    spread = train[np.linspace(0, len(train) - 1, count).astype(np.int64)]
    pixels = to_channels(image[spread], channels)
    mean = pixels.mean(axis=(0, 1, 2), dtype=np.float64)
    std = np.maximum(pixels.std(axis=(0, 1, 2), dtype=np.float64), 1.0)  # a constant channel
    return tuple(round(float(v), 4) for v in mean), tuple(round(float(v), 4) for v in std)
