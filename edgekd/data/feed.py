"""Batches, in order or shuffled: what a step sees of the data. The test split is not in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.counter import shuffled
from edgekd.data.dataset import Dataset, array_sha256
from edgekd.data.inputs import preprocess_for
from edgekd.data.preprocess import InputSpec, Preprocess
from edgekd.data.view import Augment, augment, check_augment
from edgekd.errors import DataError
from edgekd.store import digest

VISIBLE = frozenset({"train", "calibration", "validation"})
HELD_OUT = frozenset({"test"})
_PURPOSE = 3


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples, encoded for each preprocess asked for; all show the same view."""

    inputs: tuple[dict[str, NDArray[Any]], ...]
    targets: dict[str, NDArray[Any]]
    index: NDArray[np.int64]
    """The samples' numbers in the data set: what a cache of answers is keyed by."""


class Data:
    """What a step may see: train, calibration, validation. Or, for the last report, test alone."""

    def __init__(
        self,
        dataset: Dataset,
        splits: Mapping[str, NDArray[np.int64]],
        *,
        augment: Augment,
        seed: int,
    ) -> None:
        """Keep to `splits` (see `Splits.for_steps`).

        Raises:
            DataError: test stands beside another split, or `augment` does not suit the data.
        """
        if not splits or not (set(splits) <= VISIBLE or set(splits) == HELD_OUT):
            raise DataError(
                f"splits {sorted(splits)} cannot be seen together: a step sees "
                f"{', '.join(sorted(VISIBLE))}; the test split is opened alone, once, at the end"
            )
        check_augment(augment, dataset)
        self._dataset = dataset
        self._splits = dict(splits)
        self._augment = augment
        self._seed = seed

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._dataset.labels

    @property
    def kind(self) -> str:
        """Image, array or text."""
        return self._dataset.kind

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the data set, these splits, the augmentation and the seed."""
        splits = {name: array_sha256(indices) for name, indices in self._splits.items()}
        options = self._augment.model_dump(mode="json")
        return digest(self._dataset.fingerprint, splits, options, self._seed)

    def count(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self._indices(split))

    def targets(self, split: str) -> dict[str, NDArray[Any]]:
        """Return all targets of a split, in its order."""
        indices = self._indices(split)
        return {name: array[indices] for name, array in self._dataset.targets.items()}

    def raw(
        self, split: str, positions: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the samples and targets at `positions` of a split, neither encoded nor varied."""
        return self._dataset.take(self._indices(split)[positions])

    def preprocess_for(self, spec: InputSpec) -> Preprocess:
        """Return what a model described by `spec` eats; what is learned is learned from train."""
        return preprocess_for(spec, self._dataset, self._indices("train"))

    def batches(
        self, split: str, *preprocesses: Preprocess, size: int, epoch: int | None = None
    ) -> Iterator[Batch]:
        """Yield batches of `size`, the last one shorter, so that every sample comes once.

        Without `epoch`: in the split's order, not augmented. With it: shuffled by (seed, epoch) and
        augmented by (seed, epoch, index).

        Raises:
            DataError: there is no such split here.
        """
        order = self._indices(split)
        if size < 1:
            raise DataError(f"a batch of {size} samples was asked for; it needs at least 1")
        if epoch is not None:
            order = shuffled(order, _PURPOSE, self._seed, epoch)
        return self._walk(order, preprocesses, size, epoch)

    def _walk(
        self,
        order: NDArray[np.int64],
        preprocesses: tuple[Preprocess, ...],
        size: int,
        epoch: int | None,
    ) -> Iterator[Batch]:
        for start in range(0, len(order), size):
            index = order[start : start + size]
            samples, targets = self._dataset.take(index)
            if epoch is not None and self._augment.active:
                samples["image"] = augment(
                    samples["image"],
                    seed=self._seed,
                    epoch=epoch,
                    index=index,
                    options=self._augment,
                )
            inputs = tuple(preprocess.encode(samples) for preprocess in preprocesses)
            yield Batch(inputs, targets, index)

    def _indices(self, split: str) -> NDArray[np.int64]:
        if split not in self._splits:
            raise DataError(
                f"there is no split {split!r} here, only {', '.join(sorted(self._splits))}; "
                "the test split stays closed until the report"
            )
        return self._splits[split]
