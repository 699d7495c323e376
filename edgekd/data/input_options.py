"""The options of a model input in a recipe. `inputs.py` turns them into a Preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from edgekd.data.tokenizer_files import hash_tokenizer
from edgekd.errors import ModelError
from edgekd.options import Options
from edgekd.store import file_sha256, locate
from edgekd.wording import describe_root


def _left_open(value: object) -> object:
    return None if value == "auto" else value


Pixels = Annotated[
    float | tuple[float, ...] | None,
    BeforeValidator(
        _left_open, json_schema_input_type=float | tuple[float, ...] | Literal["auto"] | None
    ),
]
"""Per channel, or one value for all; None where "auto" is written, or nothing."""


class InputSpec(Options):
    """`input = {...}` of a model in a recipe: model input, where it differs from the dataset."""

    size: int | tuple[int, int] | None = Field(
        default=None, description="size in pixels: one side, or [height, width]"
    )
    channels: Literal[1, 3] | None = Field(default=None, description="1: grey, 3: RGB")
    mean: Pixels = Field(
        default=None,
        description="per channel, in pixel units 0..255; 'auto': what the file of a given network "
        "states, else what fits the labels; for a network trained here, that of the data",
    )
    std: Pixels = Field(
        default=None, description="per channel, in pixel units 0..255; 'auto' as for mean"
    )
    in_graph: bool | None = Field(
        default=None, description="true: the graph normalises its input; false: the app must"
    )
    colours: Literal["rgb", "bgr"] | None = Field(
        default=None, description="order of the colour channels, and of mean and std; default rgb"
    )
    layout: Literal["nchw", "nhwc"] | None = Field(
        default=None,
        description="axes of an ONNX file's images, if its shapes do not show them: nchw or nhwc",
    )
    name: str | None = Field(
        default=None, min_length=1, description="name of the graph's input; images only"
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="largest number of words of a text; the rest is cut off",
    )
    fixed_length: bool | None = Field(
        default=None,
        description="true: every text is padded to max_length; default: only where the network "
        "needs it",
    )
    padding: int | None = Field(
        default=None,
        ge=0,
        description="id of the padding token, if the tokenizer does not state it",
    )
    tokenizer: str | None = Field(
        default=None,
        description="tokenizer of the network: a tokenizer.json or its folder, a vocabulary (.txt "
        "or .json), or 'path/to/file.py:function' that returns the token ids of a text",
    )
    vocabulary_size: int | None = Field(
        default=None,
        ge=1,
        description="size of the vocabulary: the most frequent words of the training split",
    )
    vocabulary: str | None = Field(
        default=None,
        description="text file with one word per line, used instead of the words of the training "
        "split; texts are converted to lower case unless a word in it has a capital letter",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std, or neither (then they are computed from train)")
        if self.vocabulary is not None and self.vocabulary_size is not None:
            raise ValueError("give vocabulary (a file of words) or vocabulary_size, not both")
        if self.vocabulary is not None and self.tokenizer is not None:
            raise ValueError("give tokenizer or vocabulary (a file of words), not both")
        return self

    @property
    def height_width(self) -> tuple[int, int] | None:
        """(height, width) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def content(self, root: Path) -> dict[str, str]:
        """Return the hashes of the files that it names, relative to `root`.

        Raises:
            ModelError: a file is not there.
        """
        found = {}
        if self.vocabulary is not None:
            path = locate(self.vocabulary, root=root)
            if not path.is_file():
                raise ModelError(f"the vocabulary {path} does not exist; {describe_root()}")
            found["vocabulary"] = file_sha256(path)
        if self.tokenizer is not None:
            found["tokenizer"] = hash_tokenizer(self.tokenizer, root=root)
        return found

    @field_validator("size")
    @classmethod
    def _positive(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        sides = value if isinstance(value, tuple) else (value,)
        if any(side is not None and not 1 <= side <= 8192 for side in sides):
            raise ValueError("a side is 1 to 8192 pixels")
        return value
