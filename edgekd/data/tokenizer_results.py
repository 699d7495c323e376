"""Read what a user's tokenizer returns: lists, arrays, tensors, dicts with a mask, encodings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekd.errors import DataError

_IDS = ("input_ids", "ids", "tokens", "token_ids")
_MASKS = ("attention_mask", "mask")
Found = tuple[list[Any], list[int]]
"""The numbers or words of a text, and its mask."""


def parse_rows(value: object, count: int, name: str) -> list[Found]:
    """Return the numbers (or words) and the mask of each of `count` texts.

    Raises:
        DataError: the value is something else.
    """
    ids, mask = _parts(value)
    if isinstance(value, Sequence) and mask is None and len(value) == count:
        return [parse_row(one, name) for one in value]
    rows = list(ids) if hasattr(ids, "__iter__") else []
    masks = [None] * len(rows) if mask is None else list(mask)
    if len(rows) != count or len(masks) != count:
        raise _strange(value, name)
    return [_row(row, seen, name, value) for row, seen in zip(rows, masks, strict=True)]


def parse_row(value: object, name: str) -> Found:
    """Return the numbers (or words) and the mask of one text.

    Raises:
        DataError: the value is something else.
    """
    ids, mask = _parts(value)
    return _row(ids, mask, name, value)


def _parts(value: Any) -> tuple[Any, Any]:
    if isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "__getitem__")):
        keys = set(value.keys())
        ids = next((value[key] for key in _IDS if key in keys), None)
        return ids, next((value[key] for key in _MASKS if key in keys), None)
    if hasattr(value, "ids") and hasattr(value, "attention_mask"):  # of the tokenizers library
        return value.ids, value.attention_mask
    return value, None


def _row(ids: Any, mask: Any, name: str, value: object) -> Found:
    if ids is None or isinstance(ids, str):
        raise _strange(value, name)
    try:
        array = np.asarray(ids)
        seen = np.ones(array.shape[-1:], np.int64) if mask is None else np.asarray(mask)
    except (ValueError, TypeError) as error:
        raise _strange(value, name) from error
    if array.ndim == 2 and len(array) == 1:
        array, seen = array[0], seen[-1] if seen.ndim == 2 else seen
    if array.ndim == 1 and not len(array):
        return [], []
    if array.ndim != 1 or seen.shape != array.shape or array.dtype.kind not in "iuUT":
        raise _strange(value, name)
    if array.dtype.kind in "iu" and int(array.min()) < 0:
        raise DataError(
            f"the tokenizer {name} returned the number {int(array.min())}; numbers of words start "
            "at 0"
        )
    used = int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else len(seen)  # without its own padding
    return array[:used].tolist(), (seen[:used] != 0).astype(int).tolist()


def _strange(value: object, name: str) -> DataError:
    shown = " ".join(repr(value).split())
    return DataError(
        f"the tokenizer {name} returned {type(value).__name__} {shown[:80]}; expected for each "
        "text are its numbers (a list or an array of whole numbers), its words (a list), or a dict "
        "with input_ids and attention_mask"
    )
