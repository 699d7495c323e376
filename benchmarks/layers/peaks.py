"""The peak rates of this machine: measured, not taken from a data sheet.

A peak of arithmetic is the best that ONNX Runtime itself reached on a large matrix product or a
3 x 3 convolution, both on data in the cache: what a layer can reach in this runtime. Neither is
the limit of the silicon, and a layer with an even better kernel may be a little above.

Bandwidth is counted as STREAM counts it (J. McCalpin, IEEE TCCA newsletter, December 1995): bytes
read plus bytes written. What a store fetches before it writes (write-allocate) is not counted. It
costs all the same, so the best of three is taken: a copy, which the C library may lead around the
cache, a sum of two arrays into a third, and a change of sign in place, which fetches nothing twice.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.layers import copying, memory
from edgekd.benchmarks.measurement import Candidate, Setup

ROUNDS = 4
BLOCK_S = 0.08
WARM_S = 0.05
LIMIT_S = 300.0

Key = str | tuple[int, str]  # an operator, or a working set and what is done with it


@dataclass(frozen=True)
class Bandwidth:
    """The bandwidth of memory for a working set of so many bytes."""

    working_set_bytes: int
    bytes_per_s: float  # the best of this working set, and of all that are larger
    kernels: Mapping[str, float] = field(default_factory=dict)  # of this one alone


@dataclass(frozen=True)
class Peaks:
    """Of one machine in one runtime with a number of threads."""

    threads: int
    runtime: str
    fp32: Mapping[str, float]  # operator -> multiply-accumulates per second; two operations each
    int8: Mapping[str, float]  # unsigned inputs, signed weights
    memory: tuple[Bandwidth, ...]  # from the smallest cache to main memory

    @property
    def fp32_macs_per_s(self) -> float:
        """The best of the operators."""
        return max(self.fp32.values())

    @property
    def int8_macs_per_s(self) -> float:
        """The best of the operators."""
        return max(self.int8.values())

    @property
    def memory_bytes_per_s(self) -> float:
        """Of main memory."""
        return self.memory[-1].bytes_per_s

    def bandwidth(self, working_set_bytes: float | None) -> float:
        """Return bytes per second of the nearest memory that fits the working set.

        None, a size that is not known, is taken for larger than every cache.
        """
        for level in self.memory:
            if working_set_bytes is not None and working_set_bytes <= level.working_set_bytes:
                return level.bytes_per_s
        return self.memory_bytes_per_s

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{**value, "memory": tuple(Bandwidth(**level) for level in value["memory"])})


_KNOWN: dict[tuple[int, str], Peaks] = {}


def peaks(threads: int = 1, *, python: str = sys.executable) -> Peaks:
    """Measure the peaks of this machine; about ten seconds, once per process and setup.

    Each kernel runs in a child process of its own, all are interleaved in random blocks, and the
    best call of all blocks counts: a peak is a maximum.

    Raises:
        MeasureError: a process crashed, was refused, or hung.
    """
    if (threads, python) not in _KNOWN:
        _KNOWN[threads, python] = _measure(threads, python)
    return _KNOWN[threads, python]


def _measure(threads: int, python: str) -> Peaks:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        known = kernels(Path(folder), threads)
        best_s, runtime = fastest([k.arguments for k in known.values()], python=python)
    return of_rates(threads, runtime, rates(known, best_s))


@dataclass(frozen=True)
class Kernel:
    """One way to work hard."""

    arguments: Sequence[str]  # of the runner
    amount: int  # of each call: multiply-accumulates, or bytes


def kernels(folder: Path, threads: int) -> dict[Key, Kernel]:
    """Return all that a peak is measured on.

    Args:
        folder: takes the files; it must live until all is measured.
        threads: of each kernel.
    """
    from edgekd.benchmarks.layers import workloads  # imports onnx

    found: dict[Key, Kernel] = {}
    for operator in workloads.OPERATORS:
        work = workloads.write(folder, operator, threads=threads)
        candidate = Candidate(work.file, work.feeds, Setup(threads=threads))
        found[operator] = Kernel(arguments_of(candidate), work.macs)
    for size in (*memory.CACHED_BYTES, memory.main_memory_bytes()):
        for kernel in copying.KERNELS:
            arguments = memory.moving(work.feeds, kernel, size, threads=threads)
            found[size, kernel] = Kernel(arguments, memory.moved(kernel, size))
    return found


def fastest(
    arguments: Sequence[Sequence[str]], *, python: str, rounds: int = ROUNDS
) -> tuple[list[float], str]:
    """Return the seconds of the fastest call of each child, and the runtime of the first.

    Args:
        arguments: of the runner, one for each child.
        python: the interpreter.
        rounds: blocks of each child, interleaved with those of all others in random order.

    Raises:
        MeasureError: a child crashed, was refused, or hung.
    """
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(Child(words, python=python, name="a peak", limit_s=LIMIT_S))
            for words in arguments
        ]
        for child in children:
            child.ask(ready=True)  # all have imported; from here on one works at a time
        runtime, *_ = [child.ask(load=True)["runtime"] for child in children]
        for child in children:
            child.ask(warm=WARM_S)
        best_s = [float("inf")] * len(children)
        for _ in range(rounds):
            for i in random.sample(range(len(children)), len(children)):
                best_s[i] = min(best_s[i], *children[i].ask(run=BLOCK_S)["block_s"])
    return best_s, runtime


def rates(known: Mapping[Key, Kernel], best_s: Sequence[float]) -> dict[Key, float]:
    """Return what each kernel did per second at its best."""
    pairs = zip(known.items(), best_s, strict=True)
    return {key: kernel.amount / seconds for (key, kernel), seconds in pairs}


def of_rates(threads: int, runtime: str, found: Mapping[Key, float]) -> Peaks:
    """Return the peaks of what `kernels` reached.

    What a larger working set reached, a smaller one can as well: several threads on tiny arrays
    spend more on Python than on memory.
    """
    from edgekd.benchmarks.layers import workloads  # imports onnx

    moving = [(*key, rate) for key, rate in found.items() if not isinstance(key, str)]
    return Peaks(
        threads=threads,
        runtime=runtime,
        fp32={operator: found[operator] for operator in workloads.FP32},
        int8={operator: found[operator] for operator in workloads.INT8},
        memory=tuple(
            Bandwidth(
                working_set_bytes=size,
                bytes_per_s=max(rate for other, _, rate in moving if other >= size),
                kernels={kernel: rate for other, kernel, rate in moving if other == size},
            )
            for size in sorted({size for size, _, _ in moving})
        ),
    )
