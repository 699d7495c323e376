"""What all kinds of preprocessing have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from edgekd.data.dataset import Arrays, Kind
from edgekd.options import Options

FOLDER = "preprocess"
"""Folder of the files that belong to preprocess.json."""


class StoredPreprocess(Options):
    """Base of all kinds: what it reads, and which options are stored in files of their own."""

    reads: ClassVar[Kind]
    """The kind of samples that it encodes. Several kinds of preprocessing may read one."""
    stored_in: ClassVar[Mapping[str, str]] = {}
    """Option -> its file in the folder `preprocess/`; the other options are in preprocess.json."""

    @property
    def pads(self) -> bool:
        """Whether a batch is padded to its longest sample."""
        return False

    @property
    def fill(self) -> Mapping[str, int]:
        """Input -> the value that fills it up to a longer shape, where that is not 0."""
        return {}

    def describe_inputs(self) -> list[dict[str, object]]:
        """Return what preprocess.json says of the inputs beside the options they follow from."""
        return []

    def file_content(self, option: str) -> bytes:
        """Return the content of the file that stores `option`, one of `stored_in`."""
        raise NotImplementedError

    @classmethod
    def option_of(cls, option: str, data: bytes) -> object:
        """Return the value of `option` from the content of its file.

        Raises:
            ValueError: the content is damaged.
        """
        raise NotImplementedError

    @classmethod
    def files(cls) -> dict[str, str]:
        """Return option -> path of its file, relative to the folder of preprocess.json."""
        return {option: f"{FOLDER}/{name}" for option, name in cls.stored_in.items()}


def shapes(samples: Arrays) -> str:
    """Return names, types and shapes of arrays, for messages."""
    found = (f"{name}: {array.dtype} {list(array.shape)}" for name, array in samples.items())
    return ", ".join(found) or "nothing"
