"""Batches of the splits that a step may see, in order or shuffled; never of the test split."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgekd.data.ahead import run_ahead
from edgekd.data.augment import Augment
from edgekd.data.dataset import Dataset, array_sha256
from edgekd.data.epoch_order import count_per_epoch, order_epoch
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import choose_preprocess
from edgekd.data.mixing import Mixed
from edgekd.data.preprocess import Preprocess
from edgekd.data.strata import pair_up
from edgekd.data.views import Views
from edgekd.errors import DataError
from edgekd.store import digest

VISIBLE = frozenset({"train", "calibration", "validation"})
HELD_OUT = frozenset({"test"})
Part = Literal["training", "calibration", "validation", "test"]
"""The parts of the data that a result depends on. Another augmentation changes only `training`."""
SPLIT_OF: Mapping[Part, str] = {
    "training": "train",
    "calibration": "calibration",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples, encoded for each given preprocess; all have the same view."""

    inputs: tuple[dict[str, NDArray[Any]], ...]
    targets: dict[str, NDArray[Any]]
    index: NDArray[np.int64]
    """The samples' numbers in the data set. With `view`, the key of a cache of answers."""
    view: int | None
    """The number of the view; None where nothing is varied."""
    mixed: Mixed | None = None
    """The partners of the samples, where augmentation mixes them."""


class Data:
    """The splits that a step may see: train, calibration, validation. Or test, for the report."""

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
            DataError: the test split is given with another split, or `augment` does not suit the
                data.
        """
        if not splits or not (set(splits) <= VISIBLE or set(splits) == HELD_OUT):
            raise DataError(
                f"splits {sorted(splits)} cannot be used together: a step sees "
                f"{', '.join(sorted(VISIBLE))}; the test split is used once, at the end"
            )
        self._dataset = dataset
        self._shares = dataset.shares
        self._splits = dict(splits)
        self._views = Views(dataset, augment, seed=seed)
        self._seed = seed

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._dataset.labels

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of folders that were taken as classes, where nobody stated the classes."""
        return self._dataset.folders

    @property
    def kind(self) -> str:
        """Image, array or text."""
        return self._dataset.kind

    @property
    def answers(self) -> int:
        """The number of classes, labels or values for each sample; 0 without targets."""
        return self._dataset.answers

    def texts(self) -> list[str]:
        """Return the texts of the training split."""
        texts, _ = self.raw("train", np.arange(self.count("train")))
        return [str(text) for text in texts["text"]]

    def fingerprint(self, part: Part) -> str:
        """Return the sha256 over the data set and the samples of one part of it.

        The training part includes the augmentation, the weights of a mixture and the seed, which
        decide order and views. The other parts belong to the main source only.

        Raises:
            DataError: this part is not here.
        """
        indices = array_sha256(self._indices(SPLIT_OF[part]))
        if part != "training":
            return digest(self._dataset.main_fingerprint, indices)
        views, weights = self._views.identity, [share.weight for share in self._shares]
        return digest(self._dataset.fingerprint, indices, views, weights, self._seed)

    def only(self, parts: Set[Part]) -> Self:
        """Return the same data without the parts that are not named."""
        some = copy.copy(self)
        kept = {SPLIT_OF[part] for part in parts}
        some._splits = {name: i for name, i in self._splits.items() if name in kept}
        return some

    def count(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self._indices(split))

    def numbers(self, split: str) -> NDArray[np.int64]:
        """Return the numbers in the data set of the samples of a split, in its order."""
        return self._indices(split)

    def per_epoch(self, split: str) -> int:
        """Return the number of samples that `batches` yields with an order.

        In a mixture with weights that is not the number of samples of the split.
        """
        return count_per_epoch(self._indices(split), self._shares)

    def targets(self, split: str) -> dict[str, NDArray[Any]]:
        """Return all targets of a split, in its order."""
        indices = self._indices(split)
        return {name: array[indices] for name, array in self._dataset.targets.items()}

    def raw(
        self, split: str, positions: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the samples and targets at `positions` of a split, neither encoded nor varied."""
        return self._dataset.take(self._indices(split)[positions])

    def choose_preprocess(self, spec: InputSpec, *, root: Path) -> Preprocess:
        """Return the preprocessing of a model described by `spec`.

        What is learned is learned from train; files that `spec` names are relative to `root`.
        """
        return choose_preprocess(spec, self._dataset, self._indices("train"), root=root)

    def batches(
        self,
        split: str,
        *preprocesses: Preprocess,
        size: int,
        order: int | None = None,
        view: int | None = None,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield batches of `size`, the last one shorter, so that every sample comes once.

        In an order, which is for training, a single sample at the end joins the batch before it:
        statistics over one sample do not exist.

        In a mixture with weights the samples of an order are those of `order_epoch`.

        Order and view are chosen apart. A training takes the number of its epoch for both; a cache
        of K views per sample takes `view=epoch % K`.

        Args:
            split: its samples are yielded.
            preprocesses: how the samples are encoded; each gives one entry of `Batch.inputs`.
            size: samples of a batch.
            order: number of the order, a shuffle by (seed, order); None is the split's own order.
            view: number of the view: augmented by (seed, view, index); None is not augmented.
            workers: threads that prepare batches ahead; the batches are the same for any number.

        Raises:
            DataError: there is no such split here.
        """
        indices = self._indices(split)
        if size < 1:
            raise DataError(f"got a batch size of {size}; it must be at least 1")
        if order is not None:
            indices = order_epoch(indices, self._shares, seed=self._seed, number=order)
            if self._dataset.identities:
                indices = pair_up(indices, self._dataset.targets["label"])
        starts = batch_starts(len(indices), size, training=order is not None)
        varied = view if self._views.active else None
        whole = self._indices(split)
        jobs = [
            partial(self._make, indices[start:stop], preprocesses, varied, whole)
            for start, stop in pairwise([*starts, len(indices)])
        ]
        return run_ahead(jobs, workers=workers)

    def _make(
        self,
        index: NDArray[np.int64],
        preprocesses: tuple[Preprocess, ...],
        view: int | None,
        split: NDArray[np.int64],
    ) -> Batch:
        seen = self._views.take(index, view, split)
        inputs = tuple(preprocess.encode(seen.samples) for preprocess in preprocesses)
        return Batch(inputs, seen.targets, index, view, seen.mixed)

    def _indices(self, split: str) -> NDArray[np.int64]:
        if split not in self._splits:
            raise DataError(
                f"there is no split {split!r} here, only {', '.join(sorted(self._splits))}; a "
                "step sees only what it declares in `needs`, and never the test split"
            )
        return self._splits[split]


def batch_starts(samples: int, size: int, *, training: bool) -> range:
    """Return where the batches of an epoch begin; see `Data.batches`."""
    single = training and samples > size > 1 and samples % size == 1
    return range(0, samples - single, size)
