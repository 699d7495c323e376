"""Preprocessing: raw samples to model inputs. Each model has its own.

`preprocess.json` of an artifact contains one of these; an app follows it, so every word of it
counts. What is large or has a format of its own (a vocabulary) is a file in the folder
`preprocess/` beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, field_serializer, model_validator

from edgekd.data.array_facts import ArrayFacts
from edgekd.data.dataset import Arrays, Kind, is_image
from edgekd.data.pictures import Form, fit, resize, to_channels
from edgekd.data.preprocess_base import FOLDER, StoredPreprocess, shapes
from edgekd.data.tokenizers import AnyText
from edgekd.errors import DataError, ModelError
from edgekd.store import write_atomic, write_json

Layout = Literal["nchw", "nhwc"]
"""[batch, channels, height, width] or [batch, height, width, channels]."""
FILE = "preprocess.json"


class ImagePreprocess(StoredPreprocess):
    """A picture: what the data's form says, channels, size, then (x - mean) / std per channel.

    Where height and width are not those of the form, its pixels are stretched to them.
    """

    reads: ClassVar[Kind] = "image"
    kind: Literal["image"] = "image"
    name: str = "image"
    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = Field(description="per channel, in pixel units 0..255")
    std: tuple[float, ...] = Field(description="per channel, in pixel units 0..255")
    in_graph: bool = Field(
        default=True,
        description="true: the network takes uint8 and normalises it; false: it takes normalised "
        "float32",
    )
    colours: Literal["rgb", "bgr"] = Field(
        default="rgb", description="order of the three channels, of mean and of std"
    )
    layout: Layout | None = Field(
        default=None,
        description="axes of the tensor; default: nhwc for uint8, nchw for float32",
    )
    picture: Form | None = Field(
        default=None, description="how a picture file became pixels; default: stretched"
    )

    @field_serializer("layout")
    def _explicit_layout(self, value: Layout | None) -> Layout:
        return value or self.axes

    @field_serializer("picture")
    def _explicit(self, value: Form | None) -> dict[str, Any]:
        return asdict(value or self.form)

    @property
    def form(self) -> Form:
        """What a picture file becomes first."""
        return self.picture or Form(
            height=self.height, width=self.width, channels=self.channels, resize="stretch"
        )

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
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
    def axes(self) -> Layout:
        """The order of the tensor's axes."""
        return self.layout or ("nhwc" if self.in_graph else "nchw")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The tensor's axes after the batch."""
        size = (self.height, self.width)
        return (*size, self.channels) if self.axes == "nhwc" else (self.channels, *size)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The graph's inputs in order."""
        return (self.name,)

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Input name -> the axes that may differ from call to call."""
        return {self.name: {0: "batch"}}

    def describe_inputs(self) -> list[dict[str, object]]:
        axes = ["height", "width", "channel"]
        colours = "grey" if self.channels == 1 else self.colours.upper()
        values = f"{colours} pixels, 0 to 255"
        return [
            {
                "name": self.name,
                "dtype": "uint8" if self.in_graph else "float32",
                "shape": ["batch", *self.shape],
                "axes": ["batch", *(axes if self.axes == "nhwc" else ["channel", *axes[:2]])],
                "values": values if self.in_graph else f"({values}; minus mean) / std",
            }
        ]

    def encode(self, samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return the host's part for `samples["image"]`, uint8 [n, h, w, 1 or 3].

        Whole pictures become what the data's pixels are; those pixels stay. uint8 for `in_graph`,
        the very array where all agrees; else float32, normalised. The axes are those of `layout`.

        Raises:
            DataError: the images do not fit.
        """
        image = samples.get("image")
        if image is None or not is_image(image):
            raise DataError(
                "this model takes images, uint8 [n, height, width, 1 or 3] under the name 'image'; "
                f"got {shapes(samples)}"
            )
        pixels = self._pixels(image)
        if self.colours == "bgr":
            pixels = pixels[..., ::-1]
        values: NDArray[Any] = pixels
        if not self.in_graph:
            values = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.axes == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return {self.name: np.ascontiguousarray(values)}

    def _pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 [n, height, width, channels], red first."""
        form, target = self.form, (self.height, self.width)
        if image.shape[1:] != (form.height, form.width, form.channels):
            image = to_channels(image, form.channels)
            image = np.stack([fit(one, form) for one in image])
        image = to_channels(image, self.channels)
        if image.shape[1:3] == target:
            return image
        return np.stack([resize(one, *target, form) for one in image])


class ArrayPreprocess(StoredPreprocess):
    """Named arrays, values unchanged. Those that are not named are left out."""

    reads: ClassVar[Kind] = "array"
    kind: Literal["array"] = "array"
    names: tuple[str, ...] = Field(min_length=1, description="inputs of the network, in order")
    arrays: tuple[str, ...] = Field(
        default=(), description="arrays of the data, one per input, where these have other names"
    )

    dtypes: tuple[str, ...] = Field(
        default=(), description="number types of the inputs, where the arrays have others"
    )
    facts: tuple[ArrayFacts, ...] = Field(
        default=(),
        description="type, shape, range, axes, unit and columns of each array of the data",
    )
    targets: tuple[str, ...] = Field(
        default=(), description="columns of a table that the answers stand for, in their order"
    )

    @model_validator(mode="after")
    def _one_array_per_input(self) -> Self:
        for what, named in (("arrays", self.arrays), ("number types", self.dtypes)):
            if named and len(named) != len(self.names):
                raise ValueError(f"{len(named)} {what} are named for {len(self.names)} inputs")
        return self

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
            DataError: one of them is not among `samples`, or a whole number does not fit the type.
        """
        arrays = self.arrays or self.names
        missing = [name for name in arrays if name not in samples]
        if missing:
            raise DataError(
                f"this model takes the arrays {', '.join(arrays)}; the data has "
                f"{shapes(samples)}. Give the arrays of the data these names"
            )
        found = {name: samples[array] for name, array in zip(self.names, arrays, strict=True)}
        dtypes = dict(zip(self.names, self.dtypes, strict=False))
        return {name: _as_type(array, dtypes.get(name), name) for name, array in found.items()}


def can_convert(dtype: np.dtype[Any], wanted: str) -> bool:
    """Return whether numbers of one type may become another: whole ones whole, others others."""
    try:
        kinds = {dtype.kind, np.dtype(wanted).kind}
    except TypeError:  # a type that numpy does not know
        return False
    return kinds <= set("bui") or kinds == {"f"}


def _as_type(array: NDArray[Any], wanted: str | None, name: str) -> NDArray[Any]:
    if wanted is None or array.dtype == wanted:
        return array
    converted: NDArray[Any] = array.astype(wanted)
    if array.dtype.kind != "f" and not np.array_equal(converted, array):
        raise DataError(
            f"the input {name!r} is {wanted}, and the data has {array.dtype} values from "
            f"{array.min()} to {array.max()}, which do not fit; check these values"
        )
    return converted


Preprocess = Annotated[
    ImagePreprocess | ArrayPreprocess | AnyText,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Preprocess] = TypeAdapter(Preprocess)
_KINDS: Mapping[str, type[StoredPreprocess]] = {
    one.model_fields["kind"].default: one for one in get_args(get_args(Preprocess)[0])
}


def read_preprocess(folder: Path) -> Preprocess:
    """Read `preprocess.json` of an artifact, and the files that belong to it.

    Raises:
        ModelError: one of them is missing or damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
        files = content.pop("files", {})
        content.pop("inputs", None)  # they follow from the rest
        kind = _KINDS.get(content.get("kind"), StoredPreprocess)
        if files != kind.files():
            raise ValueError(f"files is {files}, expected is {kind.files()}")
        for option, name in files.items():
            path = folder / name
            content[option] = kind.option_of(option, path.read_bytes())
        return _ADAPTER.validate_python(content)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}); it describes how samples become model inputs and "
            "is written with every model: take it from the same run"
        ) from error


def write_preprocess(folder: Path, preprocess: Preprocess) -> None:
    """Write `preprocess.json` and the files that belong to it."""
    files = preprocess.files()
    shutil.rmtree(folder / FOLDER, ignore_errors=True)  # those of another model
    content = preprocess.model_dump(mode="json", exclude=set(files))
    for option, name in files.items():
        (folder / FOLDER).mkdir(exist_ok=True)
        write_atomic(folder / name, preprocess.file_content(option))
    inputs = preprocess.describe_inputs()
    more = {"files": files, "inputs": inputs}
    write_json(folder / FILE, {**content, **{key: value for key, value in more.items() if value}})


def copy_preprocess(source: Path, target: Path) -> None:
    """Copy `preprocess.json` and the files that belong to it from one folder to another."""
    shutil.copyfile(source / FILE, target / FILE)
    if (source / FOLDER).is_dir():
        shutil.copytree(source / FOLDER, target / FOLDER, dirs_exist_ok=True)
