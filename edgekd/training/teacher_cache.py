"""The outputs of a teacher for some views of every sample: computed once, then replayed.

A view of a sample is a function of (seed, view number, index), so a training that takes view
`epoch % views` in each epoch meets the same views again, and needs no teacher for them. All views
are computed before the first step, in the split's own order and in fixed batches. What is replayed
is therefore the same whether it was computed just now, in a run before, or again after damage, and
a resumed training ends in the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from edgekd.data.preprocess import Preprocess
from edgekd.errors import DataError
from edgekd.options import Cache
from edgekd.progress import Progress
from edgekd.step import Context
from edgekd.store import cache_folder, digest
from edgekd.training.cache_packing import Packing, bytes_per_sample, choose_packing
from edgekd.training.cache_store import Form, Rows, ViewFolder, cut, make_room
from edgekd.training.loop import Course, TrainingBatch, choose_device, choose_workers
from edgekd.training.signals import Signals, Wanted
from edgekd.training.teacher_outputs import TeacherOutputs

CHUNK = 256
"""Samples of a batch of the teacher, and of a checksum."""
_VERSION = 1
OUTPUT, LAYER = "output", "layer"


@dataclass(frozen=True)
class CacheRequest:
    """A cache that a step asks for."""

    options: Cache
    identity: str
    """The hash of the teacher: its files, its engine, its precision."""


class CachedOutputs:
    """A teacher's signals from disk, by the number and the view of each sample."""

    def __init__(
        self,
        views: Mapping[int, Mapping[str, NDArray[Any]]],
        packings: Mapping[str, Packing],
        numbers: NDArray[np.int64],
    ) -> None:
        """Take the rows of each view, in the order of `numbers`."""
        self.preprocesses: Mapping[str, Preprocess] = {}
        """None: it needs no inputs."""
        self._views, self._packings, self._device = views, packings, choose_device()
        self._order = np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]

    @property
    def views(self) -> int:
        """The number of views of each sample."""
        return len(self._views)

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        rows = self._order[np.searchsorted(self._sorted, batch.index)]
        arrays = self._views[batch.view or 0]
        found: dict[str, dict[str, torch.Tensor]] = {OUTPUT: {}, LAYER: {}}
        for name, packing in self._packings.items():
            own = {n: array[rows] for n, array in _of(name, arrays).items()}
            kind, _, signal = name.partition(" ")
            found[kind][signal] = packing.unpack(own).to(self._device)
        return Signals(found[OUTPUT], found[LAYER])


def open_cache(
    request: CacheRequest,
    guide: TeacherOutputs,
    wanted: Wanted,
    context: Context,
    *,
    epochs: int,
) -> tuple[CachedOutputs | None, str]:
    """Compute the views that are not on disk; return what replays them, and a line on it.

    There is none, and the line says why, where not even one view fits into `max_bytes`, or the
    teacher's layers have another length in each batch, as those of texts.

    Raises:
        DataError: the cache cannot be written.
    """
    workers = choose_workers(context.data.kind, choose_device())
    course = Course(context.data, guide.preprocesses, CHUNK, workers=workers)
    first = next(course.in_order(view=0))
    signals = _flat(guide.signals(first, wanted))
    packings = {
        name: choose_packing(_kind(name, context), tuple(signal.shape), request.options.top)
        for name, signal in signals.items()
    }
    if _lengths_differ(signals, context):
        return None, "teacher cache: not used, since layers of texts differ in length by batch"
    rows = _pack(signals, packings)
    samples = context.data.count("train")
    size = bytes_per_sample(rows) * samples
    several = min(request.options.views, epochs) if first.view is not None else 1
    views, line = _count_views(request.options, size, several, samples)
    if not views:
        return None, line
    form = Form(
        key=digest(
            _VERSION,
            request.identity,
            context.data.fingerprint("training"),
            dict(context.task.signals),
            sorted(signals),
            request.options.top,
            {name: p.model_dump(mode="json") for name, p in guide.preprocesses.items()},
        ),
        samples=samples,
        chunk=CHUNK,
        arrays={name: (array.dtype.str, array.shape[1:]) for name, array in rows.items()},
    )
    store = _Store(form, guide, wanted, course, packings)
    found = store.views(views, needed=size * views, options=request.options, context=context)
    return CachedOutputs(found, packings, context.data.numbers("train")), line


@dataclass(frozen=True)
class _Store:
    """The views of one teacher on disk, and what computes them."""

    form: Form
    guide: TeacherOutputs
    wanted: Wanted
    course: Course
    packings: Mapping[str, Packing]

    def views(
        self, count: int, *, needed: int, options: Cache, context: Context
    ) -> dict[int, dict[str, NDArray[Any]]]:
        folder = cache_folder() / "teachers" / self.form.key[:40]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)
            with FileLock(folder / ".lock"):  # another run with this teacher waits, then reads
                for left in folder.glob("*.*"):  # by a run that was killed
                    if left.is_dir():
                        shutil.rmtree(left)
                make_room(folder, needed=needed, limit=options.bytes)
                return {
                    view: self._view(
                        ViewFolder(folder / f"{view:04d}", self.form),
                        view,
                        context.progress,
                        f"teacher, view {view + 1} of {count}",
                    )
                    for view in range(count)
                }
        except OSError as error:
            raise DataError(
                f"the teacher cache {folder} cannot be written ({error.strerror or error}); set "
                "EDGEKD_CACHE to a folder with free space, lower max_bytes, or leave out `cache`"
            ) from error

    def _view(
        self, stored: ViewFolder, view: int, progress: Progress, title: str
    ) -> dict[str, NDArray[Any]]:
        old, bad = stored.read()
        if not bad:
            return old
        with progress.track(title, self.form.samples) as tick:

            def chunks() -> Iterator[Rows]:
                batches = self.course.in_order(view=view)
                for i, (batch, bounds) in enumerate(zip(batches, self.form.bounds, strict=True)):
                    if i in bad:
                        yield _pack(_flat(self.guide.signals(batch, self.wanted)), self.packings)
                    else:
                        yield cut(old, *bounds)
                    tick(len(batch.index))

            stored.write(chunks())
        written, still_bad = stored.read()
        if still_bad:
            raise OSError(None, "what was written is not what is read back")
        return written


def _count_views(options: Cache, size: int, wanted: int, samples: int) -> tuple[int, str]:
    """Return how many views of `size` bytes each are stored, and a line that says so."""
    fit = options.bytes // size
    one = f"{samples:,} samples, {_bytes(size)}, or {_bytes(1000 * size // samples)} per 1,000"
    if not fit:
        more = f"exceeds max_bytes = {options.max_bytes}"
        return 0, f"teacher cache: not used: one view of {one}, {more}"
    views = min(wanted, fit)
    several = f"{views} views of {one}, each" if views > 1 else f"1 view of {one}"
    missing = f"; {wanted} do not fit into max_bytes = {options.max_bytes}"
    return views, f"teacher cache: {several}{missing if views < wanted else ''}"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _flat(signals: Signals) -> dict[str, torch.Tensor]:
    outputs = {f"{OUTPUT} {name}": value for name, value in signals.outputs.items()}
    return {**outputs, **{f"{LAYER} {name}": value for name, value in signals.layers.items()}}


def _kind(name: str, context: Context) -> Any:
    kind, _, signal = name.partition(" ")
    return context.task.signals[signal] if kind == OUTPUT else None


def _pack(
    signals: Mapping[str, torch.Tensor], packings: Mapping[str, Packing]
) -> dict[str, NDArray[Any]]:
    return {
        f"{name}|{part}": array
        for name, signal in signals.items()
        for part, array in packings[name].pack(signal).items()
    }


def _of(name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return what is stored of one signal."""
    start = f"{name}|"
    return {n.removeprefix(start): array for n, array in arrays.items() if n.startswith(start)}


def _lengths_differ(signals: Mapping[str, torch.Tensor], context: Context) -> bool:
    """Whether layers of texts are compared, whose length is that of the longest of a batch."""
    inner = [value for name, value in signals.items() if name.startswith(LAYER)]
    return context.data.kind == "text" and any(value.ndim > 2 for value in inner)
