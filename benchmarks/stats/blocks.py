"""The blocks of a measurement as arrays, in the order of time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Measurement, ProcessRun

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """All calls of a measurement, and where its blocks begin."""

    seconds: Floats  # of every call, [calls]
    first: Ints  # the first call of each block, [blocks]
    counts: Ints  # calls of each block, [blocks]
    run: Ints  # the process that each block belongs to, 0 .. processes - 1, [blocks]
    number: Ints  # of the block in its process, [blocks]
    start_s: Floats  # of each block, of the clock of the samples, [blocks]
    elapsed_s: Floats  # [blocks]
    medians_s: Floats  # [blocks]
    levels: Floats
    """Log of the median call, and mean of the log of the calls, [2, blocks]. A slow-down of all
    calls shows in both, stalls of a fourth of the calls in the second alone."""

    @property
    def processes(self) -> int:
        """How many there are."""
        return int(self.run[-1]) + 1

    def rows(self, process: int) -> slice:
        """Return which blocks a process has."""
        return slice(*np.searchsorted(self.run, [process, process + 1]).tolist())

    def call_starts(self) -> Floats:
        """Return when each call began, of the clock of the samples, [calls].

        Where the seconds of the calls do not add up to those of their block (a fixed rate), they
        are spread evenly.
        """
        starts = np.cumsum(self.seconds) - self.seconds
        within = starts - np.repeat(starts[self.first], self.counts)
        sums = np.add.reduceat(self.seconds, self.first)
        turn = np.arange(len(self.seconds)) - np.repeat(self.first, self.counts)
        evenly = turn * np.repeat(self.elapsed_s / self.counts, self.counts)
        waited = np.repeat(np.abs(sums - self.elapsed_s) > 0.1 * self.elapsed_s, self.counts)
        return np.repeat(self.start_s, self.counts) + np.where(waited, evenly, within)

    @property
    def overlapping(self) -> bool:
        """Whether calls ran at the same time: their order means nothing."""
        return bool(self.seconds.sum() > 1.1 * self.elapsed_s.sum())


def blocks_of(measurement: Measurement) -> Blocks:
    """Lay out a measurement.

    A run without samples begins where the one before ended, and its blocks follow each other
    without a pause; the clock then counts the seconds of calls since the first.
    """
    runs = measurement.runs
    every = [block for run in runs for block in run.blocks_s]
    counts = np.array([len(block) for block in every], dtype=np.intp)
    total = int(counts.sum())
    seconds = np.fromiter(itertools.chain.from_iterable(every), np.float64, total)
    seconds = np.maximum(seconds, 1e-12)  # a logarithm is taken
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
    sizes = [len(run.blocks_s) for run in runs]
    medians = _medians(seconds, first, counts)
    means = np.add.reduceat(np.log(seconds), first) / counts
    start_s, elapsed_s = _when(runs)
    return Blocks(
        seconds=seconds,
        first=first,
        counts=counts,
        run=np.repeat(np.arange(len(runs)), sizes),
        number=np.concatenate([np.arange(size) for size in sizes]),
        start_s=start_s,
        elapsed_s=elapsed_s,
        medians_s=medians,
        levels=np.stack([np.log(medians), means]),
    )


def _medians(seconds: Floats, first: Ints, counts: Ints) -> Floats:
    """Median of each block; one sort over all of them, since there are hundreds."""
    table = np.full((len(counts), int(counts.max())), np.inf)
    table[np.arange(table.shape[1]) < counts[:, None]] = seconds
    table.sort(axis=1)
    rows = np.arange(len(counts))
    return np.asarray((table[rows, (counts - 1) // 2] + table[rows, counts // 2]) / 2)


def _when(runs: tuple[ProcessRun, ...]) -> tuple[Floats, Floats]:
    """Start and length of every block."""
    starts: list[float] = []
    elapsed: list[float] = []
    now_s = 0.0
    for run in runs:
        lengths = run.elapsed_s or tuple(sum(block) for block in run.blocks_s)
        if len(run.samples) == len(run.blocks_s) + 1:
            ends = [sample.at_s for sample in run.samples[1:]]
        else:
            ends = (now_s + np.cumsum(lengths)).tolist()
        now_s = ends[-1]
        starts += [end - length for end, length in zip(ends, lengths, strict=True)]
        elapsed += lengths
    return np.array(starts), np.array(elapsed)
