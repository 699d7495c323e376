"""The inputs that a file states, and whether an array of whole numbers is one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from edgekd.data.dataset import is_image
from edgekd.data.preprocess import can_convert


class InputForm(Protocol):
    """An input of a file, with the first axis for the samples."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str:
        """As numpy calls it."""

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Fixed lengths and symbolic names."""


def is_given_as_it_is(name: str, array: NDArray[Any], inputs: Sequence[InputForm]) -> bool:
    """Return whether bytes that could be taken for images are the values of a file's only input.

    They are if the file takes whole numbers of this shape. An array that has the form of images is
    one of images, unless the file fixes that very shape, names it so and has channels first.
    """
    if len(inputs) != 1 or array.dtype.kind not in "bui":
        return False
    (given,) = inputs
    pairs = list(zip(given.shape[1:], array.shape[1:], strict=False))
    fits = len(given.shape) == array.ndim and all(isinstance(w, str) or w == h for w, h in pairs)
    if not fits or given.dtype == "?" or not can_convert(array.dtype, given.dtype):
        return False
    fixed = all(isinstance(want, int) for want, _ in pairs)
    return not is_image(array) or (fixed and name == given.name and pairs[0][0] in (1, 3))
