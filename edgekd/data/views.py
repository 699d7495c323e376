"""Views of training samples: a function of (seed, view number, index), whatever the kind of data.

No batch and no process shows in a view. Exact resume, a teacher's cached outputs and workers that
encode ahead all rest on that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.augment import Augment, check_augment, masked_axes
from edgekd.data.dataset import Dataset
from edgekd.data.image_views import vary_images
from edgekd.data.mixing import Mixed, blend, draw_cutmix, draw_partners, draw_shares, paste_boxes
from edgekd.data.signal_masks import mask_axis

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Seen:
    """Some samples as they are seen in a view."""

    samples: dict[str, NDArray[Any]]
    targets: dict[str, NDArray[Any]]
    mixed: Mixed | None = None
    """Their partners, if they were mixed."""


class Views:
    """The views of the samples of a data set."""

    def __init__(self, dataset: Dataset, options: Augment, *, seed: int) -> None:
        """Make views by these options.

        Raises:
            DataError: they do not suit the data.
        """
        check_augment(options, dataset)
        self._dataset, self._options, self._seed = dataset, options, seed
        self._masks = [
            (name, place, most, lane)
            for lane, (axis, most) in enumerate(sorted(options.masks.items()))
            for name, place in masked_axes(axis, dataset).items()
        ]

    @property
    def active(self) -> bool:
        """Whether views differ from the samples."""
        return self._options.active

    @property
    def identity(self) -> object:
        """What the views depend on besides data and seed, as JSON."""
        return [self._options.model_dump(mode="json"), [list(mask) for mask in self._masks]]

    def take(self, index: Indices, view: int | None, split: Indices) -> Seen:
        """Return the samples at `index` as view number `view`; None: as they are.

        Partners of mixed samples are drawn from `split`, and seen in the same view.
        """
        if view is None or not self.active:
            return Seen(*self._dataset.take(index))
        samples, targets = self._varied(index, view)
        if not self._options.mixes:
            return Seen(samples, targets)
        partners = draw_partners(index, split, seed=self._seed, view=view)
        others, their_targets = self._varied(partners, view)
        samples, share = self._mix(samples, others, index, view)
        return Seen(samples, targets, Mixed(their_targets, share))

    def _varied(
        self, index: Indices, view: int
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        samples, targets = self._dataset.take(index)
        seed = self._seed
        if self._dataset.kind == "image":
            pixels = samples["image"]
            samples["image"] = vary_images(
                pixels, seed=seed, view=view, index=index, options=self._options
            )
        for name, axis, most, lane in self._masks:
            samples[name] = mask_axis(
                samples[name], axis, most, index, seed=seed, view=view, lane=lane
            )
        return samples, targets

    def _mix(
        self,
        samples: dict[str, NDArray[Any]],
        others: dict[str, NDArray[Any]],
        index: Indices,
        view: int,
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
        """Return the mixed samples, and the share of each that is its own."""
        options, seed = self._options, self._seed
        kinds = {"mixup": options.mixup is not None, "cutmix": options.cutmix is not None}
        cut = draw_cutmix(index, **kinds, seed=seed, view=view)
        share = np.zeros(len(index), np.int64)
        for alpha, rows in ((options.mixup, ~cut), (options.cutmix, cut)):
            if alpha is not None:
                share[rows] = draw_shares(alpha, index[rows], seed=seed, view=view)
        found = {name: blend(array, others[name], share) for name, array in samples.items()}
        if cut.any():
            own = samples["image"][cut], others["image"][cut]
            pasted, left = paste_boxes(*own, share[cut], index[cut], seed=seed, view=view)
            found["image"][cut], share[cut] = pasted, left
        return found, (share / 256).astype(np.float32)
