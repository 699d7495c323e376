"""How a cached teacher's signals are stored: half precision, or the greatest scores alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.tasks.task import SignalKind

Stored = Mapping[str, NDArray[Any]]
_LARGEST = float(np.finfo(np.float16).max)
_SCORES = ("classes", "class map", "labels")


class Packing(Protocol):
    """From a signal [n, ...] to arrays [n, ...] and back to float32."""

    def pack(self, signal: Tensor) -> Stored:
        """Return what is stored of it."""

    def unpack(self, stored: Stored) -> Tensor:
        """Return the signal as it is replayed."""


@dataclass(frozen=True)
class Whole:
    """Every number, in half precision or in float32."""

    half: bool = True
    """Numbers beyond those of half precision become the largest ones."""

    def pack(self, signal: Tensor) -> Stored:
        array = signal.float().cpu().numpy()
        if self.half:
            array = np.clip(array, -_LARGEST, _LARGEST).astype(np.float16)
        return {"whole": array}

    def unpack(self, stored: Stored) -> Tensor:
        return torch.from_numpy(stored["whole"].astype(np.float32))


@dataclass(frozen=True)
class Greatest:
    """The greatest `top` of `classes` scores; all others become equal, with their joint mass.

    So the probability of every greatest class is right, and that of all others together.
    """

    top: int
    classes: int

    def pack(self, signal: Tensor) -> Stored:
        signal = signal.float().cpu()
        value, index = signal.topk(self.top, dim=1)
        rest = signal.scatter(1, index, float("-inf")).logsumexp(dim=1, keepdim=True)
        level = rest - float(np.log(self.classes - self.top))
        number = np.uint16 if self.classes <= 1 << 16 else np.uint32
        return {
            **{f"value {n}": a for n, a in Whole().pack(value).items()},
            **{f"level {n}": a for n, a in Whole().pack(level).items()},
            "index": index.numpy().astype(number),
        }

    def unpack(self, stored: Stored) -> Tensor:
        value, level = (Whole().unpack({"whole": stored[f"{n} whole"]}) for n in ("value", "level"))
        shape = (len(value), self.classes, *value.shape[2:])
        index = torch.from_numpy(stored["index"].astype(np.int64))
        return level.expand(shape).scatter(1, index, value)


def choose_packing(kind: SignalKind | None, shape: tuple[int, ...], top: int | None) -> Packing:
    """Return how a signal of this kind (None: an inner layer) and shape [n, ...] is stored.

    Scores and layers are stored in half precision; values and vectors, which the student learns as
    they are, in float32.
    """
    if kind in ("classes", "class map") and top is not None and 1 < top + 1 < shape[1]:
        return Greatest(top, shape[1])
    return Whole(half=kind is None or kind in _SCORES)


def bytes_per_sample(stored: Stored) -> int:
    """Return the size of one sample of what is stored."""
    return sum(array.nbytes // len(array) for array in stored.values())
