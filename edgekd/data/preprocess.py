"""From raw samples to what a model eats. It belongs to the model: teacher and student may differ.

`preprocess.json` of an artifact holds one of these; an app follows it, so every word of it counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from edgekd.data.dataset import Arrays, is_image
from edgekd.data.resize import resize, to_pixels, to_planes
from edgekd.errors import DataError, ModelError
from edgekd.options import Options
from edgekd.store import write_json

FILE = "preprocess.json"
PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
_WORD = re.compile(r"\w+")


class ImagePreprocess(Options):
    """An image of one size: bilinear resize, channel change, then (x - mean) / std per channel."""

    kind: Literal["image"] = "image"
    name: str = "image"
    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = Field(description="per channel, in pixel units 0..255")
    std: tuple[float, ...] = Field(description="per channel, in pixel units 0..255")
    in_graph: bool = Field(
        default=True,
        description="the network takes uint8 [batch, height, width, channels] and normalises by "
        "itself; false: the host gives float32 [batch, channels, height, width]",
    )

    @model_validator(mode="after")
    def _per_channel(self) -> Self:
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(f"{what} has {len(values)} values for {self.channels} channels")
        if min(self.std) < 1:
            raise ValueError(
                f"std {list(self.std)} is below 1: mean and std count in pixel units 0..255; "
                "multiply values for pixels in 0..1 by 255"
            )
        return self

    @property
    def input_names(self) -> tuple[str, ...]:
        """The graph's inputs in order."""
        return (self.name,)

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Input name -> the axes that may differ from call to call."""
        return {self.name: {0: "batch"}}

    def encode(self, samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return the host's part for `samples["image"]`, uint8 [n, h, w, 1 or 3].

        uint8 [n, height, width, channels] for `in_graph`, the very array where size and channels
        agree already; else float32 [n, channels, height, width], normalised, not rounded between.

        Raises:
            DataError: there are no such images.
        """
        image = samples.get("image")
        if image is None or not is_image(image):
            raise DataError(
                "this model takes images, uint8 [n, height, width, 1 or 3] under the name 'image'; "
                f"got {_shapes(samples)}"
            )
        target = (self.height, self.width, self.channels)
        if self.in_graph and image.shape[1:] == target:
            return {self.name: image}
        planes = resize(to_planes(image, self.channels), height=self.height, width=self.width)
        if self.in_graph:
            return {self.name: to_pixels(planes)}
        mean = np.array(self.mean, np.float32)[:, None, None]
        std = np.array(self.std, np.float32)[:, None, None]
        return {self.name: (planes - mean) / std}


class ArrayPreprocess(Options):
    """Named arrays, passed through unchanged."""

    kind: Literal["array"] = "array"
    names: tuple[str, ...] = Field(min_length=1)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The graph's inputs in order."""
        return self.names

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Input name -> the axes that may differ from call to call."""
        return {name: {0: "batch"} for name in self.names}

    def encode(self, samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return the named arrays.

        Raises:
            DataError: one of them is not among `samples`.
        """
        missing = [name for name in self.names if name not in samples]
        if missing:
            raise DataError(
                f"this model takes the arrays {', '.join(self.names)}; the data has "
                f"{_shapes(samples)}. Name the arrays of the data so"
            )
        return {name: samples[name] for name in self.names}


class TextPreprocess(Options):
    r"""Words (`\w+`) by number: 0 is padding, 1 an unknown word, `vocabulary[i]` is i + 2."""

    kind: Literal["text"] = "text"
    vocabulary: tuple[str, ...] = Field(min_length=1)
    max_length: int = Field(
        default=128, ge=1, le=65536, description="words; longer texts are cut off"
    )
    lower: bool = Field(default=True, description="texts are put in lower case first")

    @field_validator("vocabulary")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a word stands twice in the vocabulary")
        return value

    @property
    def input_names(self) -> tuple[str, ...]:
        """The graph's inputs in order."""
        return ("tokens", "mask")

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Input name -> the axes that may differ from call to call."""
        return {name: {0: "batch", 1: "sequence"} for name in self.input_names}

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.vocabulary, FIRST_WORD)}

    def encode(self, samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return tokens and mask (1 = a word), int64 [n, longest text of the batch, at least 1].

        Raises:
            DataError: there are no texts.
        """
        if "text" not in samples:
            raise DataError(f"this model takes texts under the name 'text'; got {_shapes(samples)}")
        number = self._number
        rows = [
            [
                number.get(word, UNKNOWN)
                for word in words(str(text), lower=self.lower)[: self.max_length]
            ]
            for text in samples["text"]
        ]
        length = max([1, *map(len, rows)])
        tokens = np.full((len(rows), length), PADDING, np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return {"tokens": tokens, "mask": mask}


Preprocess = Annotated[
    ImagePreprocess | ArrayPreprocess | TextPreprocess, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[Preprocess] = TypeAdapter(Preprocess)


class InputSpec(Options):
    """`input = {...}` of a model in a recipe: what it eats, where that differs from the data."""

    size: int | tuple[int, int] | None = Field(
        default=None, description="pixels: one side, or [height, width]"
    )
    channels: Literal[1, 3] | None = Field(default=None, description="1 grey, 3 RGB")
    mean: float | tuple[float, ...] | None = Field(
        default=None, description="in pixel units 0..255"
    )
    std: float | tuple[float, ...] | None = Field(default=None, description="in pixel units 0..255")
    in_graph: bool | None = Field(
        default=None, description="false: the app normalises, not the network"
    )
    name: str | None = Field(
        default=None, min_length=1, description="of the graph's input, for images"
    )
    max_length: int | None = Field(default=None, ge=1, le=65536, description="words of a text")
    vocabulary_size: int | None = Field(default=None, ge=1, description="words that are told apart")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std, or neither (then they are computed from train)")
        return self

    @field_validator("size")
    @classmethod
    def _positive(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        sides = value if isinstance(value, tuple) else (value,)
        if any(side is not None and not 1 <= side <= 8192 for side in sides):
            raise ValueError("a side is 1 to 8192 pixels")
        return value


def words(text: str, *, lower: bool) -> list[str]:
    """Return the words of a text in order."""
    return _WORD.findall(text.lower() if lower else text)


def build_vocabulary(texts: Iterable[str], *, size: int, lower: bool = True) -> tuple[str, ...]:
    """Return the `size` commonest words, commonest first, equals in alphabetical order.

    Raises:
        DataError: there is no word in the texts.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(str(text), lower=lower))
    if not counts:
        raise DataError("the training texts hold no word; look at the text column of the data")
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return tuple(ranked[:size])


def read_preprocess(folder: Path) -> Preprocess:
    """Read `preprocess.json` of an artifact.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = folder / FILE
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}); it says how samples become the model's inputs and "
            "is written with every model: take it from the same run"
        ) from error


def write_preprocess(folder: Path, preprocess: Preprocess) -> None:
    """Write `preprocess.json`."""
    write_json(folder / FILE, preprocess.model_dump(mode="json"))


def _shapes(samples: Arrays) -> str:
    found = (f"{name}: {array.dtype} {list(array.shape)}" for name, array in samples.items())
    return ", ".join(found) or "nothing"
