"""Preprocessing of texts: to numbers of words or of pieces, padded, with a mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from edgekd.data.dataset import Arrays, Kind
from edgekd.data.preprocess_base import StoredPreprocess, shapes
from edgekd.data.vocabulary import WORD, parse_vocabulary, vocabulary_bytes, words
from edgekd.errors import DataError

Row = tuple[Sequence[int], Sequence[int]]
"""The numbers of a text, and for each 1 or, where it is padding, 0."""
PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
SEQUENCE = "sequence"
"""Name of the axis that counts the words of a text."""


class TextInputs(StoredPreprocess, ABC):
    """What all kinds have in common: the inputs of the network, and how texts are padded."""

    reads: ClassVar[Kind] = "text"
    ids: str = Field(default="tokens", description="input with the numbers, [batch, sequence]")
    mask: str | None = Field(
        default="mask", description="input with 1 for a word and 0 for padding; null: there is none"
    )
    types: str | None = Field(
        default=None, description="input with 0 for each number; null: there is none"
    )
    positions: str | None = Field(
        default=None, description="input with 0, 1, 2, ...; null: there is none"
    )
    dtype: Literal["int64", "int32"] = Field(default="int64", description="type of all inputs")
    padding: int = Field(default=PADDING, ge=0, description="number of padding, at the end")
    min_length: int = Field(
        default=1, ge=1, le=65536, description="shorter texts are padded to this length"
    )
    max_length: int = Field(
        default=128, ge=1, le=65536, description="largest length; longer texts are cut off"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} exceeds max_length {self.max_length}")
        return self

    @property
    def pads(self) -> bool:
        """Whether a batch is padded to its longest text."""
        return not self.is_fixed

    @property
    def is_fixed(self) -> bool:
        """Whether every text gets the same length."""
        return self.min_length == self.max_length

    @property
    def fill(self) -> Mapping[str, int]:
        return {self.ids: self.padding}

    @property
    def input_names(self) -> tuple[str, ...]:
        """The graph's inputs in order."""
        names = (self.ids, self.mask, self.types, self.positions)
        return tuple(name for name in names if name is not None)

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Input name -> the axes that may differ from call to call."""
        axes = {0: "batch"} if self.is_fixed else {0: "batch", 1: SEQUENCE}
        return dict.fromkeys(self.input_names, axes)

    def changed(self, **update: object) -> Self:
        """Return it with other values of some fields, checked."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **update})

    @property
    @abstractmethod
    def known_ids(self) -> int | None:
        """One more than the largest number; None: that is up to the user's function."""

    @property
    @abstractmethod
    def common_words(self) -> Sequence[str]:
        """Words from which sentences can be made up, the commonest first."""

    @abstractmethod
    def rows(self, texts: Sequence[str]) -> list[Row]:
        """Return the numbers of each text, not yet padded, at most `max_length`, at least one.

        Raises:
            DataError: the user's function fails.
        """

    def encode(self, samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return the inputs: numbers, mask (1 = a word), ..., [n, longest text of the batch].

        Raises:
            DataError: there are no texts.
        """
        if "text" not in samples:
            raise DataError(f"this model takes texts under the name 'text'; got {shapes(samples)}")
        return self.pad(self.rows([str(text) for text in samples["text"]]))

    def pad(self, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
        """Return rows as the inputs of the network."""
        length = max([self.min_length, *(len(ids) for ids, _ in rows)])
        ids = np.full((len(rows), length), self.padding, self.dtype)
        mask = np.zeros((len(rows), length), self.dtype)
        for i, (row, seen) in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = seen
        positions = np.broadcast_to(np.arange(length, dtype=self.dtype), ids.shape)
        found = {
            self.ids: ids,
            self.mask: mask,
            self.types: np.zeros_like(ids),
            self.positions: np.ascontiguousarray(positions),
        }
        return {name: array for name, array in found.items() if name is not None}


class TextPreprocess(TextInputs):
    """Words by number: 0 is padding, 1 an unknown word (or the reverse), `vocabulary[i]` is i + 2.

    A text without a word is one unknown word, so that no text is empty.
    """

    stored_in: ClassVar[Mapping[str, str]] = {"vocabulary": "vocabulary.txt"}
    kind: Literal["text"] = "text"
    vocabulary: tuple[str, ...] = Field(min_length=1)
    unknown: int = Field(default=UNKNOWN, ge=0, le=1, description="number of an unknown word")
    lower: bool = Field(default=True, description="convert texts to lower case")
    pattern: str = Field(
        default=WORD, description="what a word is, as a regular expression of Python"
    )

    @field_validator("vocabulary")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("the vocabulary contains a duplicate word")
        return value

    @field_validator("pattern")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != WORD:
            raise ValueError("it splits words in a way of another version of edgekd")
        return value

    def file_content(self, option: str) -> bytes:
        return vocabulary_bytes(self.vocabulary)

    @classmethod
    def option_of(cls, option: str, data: bytes) -> object:
        return parse_vocabulary(data)

    @property
    def known_ids(self) -> int:
        return FIRST_WORD + len(self.vocabulary)

    @property
    def common_words(self) -> Sequence[str]:
        return self.vocabulary[:200]

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.vocabulary, FIRST_WORD)}

    def rows(self, texts: Sequence[str]) -> list[Row]:
        found: list[Row] = []
        for text in texts:
            seen = words(text, lower=self.lower)[: self.max_length]
            ids = [self._number.get(word, self.unknown) for word in seen] or [self.unknown]
            found.append((ids, [1] * len(ids)))
        return found
