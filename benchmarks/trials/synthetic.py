"""Synthetic sessions: realistic noise, and one injected fault.

The clock of a synthetic session is kept call by call, so that a fault can hang on wall-clock time,
on the number of a call, or on the age of a process. Candidates take turns as in a real session.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import (
    Conditions,
    Measurement,
    ProcessRun,
    Sample,
    Session,
    Timing,
)

Floats = NDArray[np.float64]

START_S = 0.35  # of a process: import, load, first call
WARM_S = 0.1
BETWEEN_S = 0.002  # uncounted calls before each block
CLOCK_HZ = 3e9


@dataclass(frozen=True)
class Noise:
    """What makes equal work take unequal time. Standard deviations are of the logarithm."""

    luck: float = 0.01  # of a process, from where its memory lies
    block: float = 0.01  # of a block within its process
    correlation: float = 0.4  # of neighbouring blocks: AR(1)
    burst_share: float = 1 / 30  # of blocks, slowed by 5 to 30 %
    call: float = 0.01  # of a call, Student's distribution with 3 degrees of freedom
    spike_share: float = 0.003  # of calls, 1.3 to 4 times as slow


@dataclass(frozen=True)
class Shape:
    """How much is timed."""

    rounds: int = 6
    blocks: int = 40
    calls: int = 4  # per block
    call_s: float = 1e-3
    candidates: int = 2  # the twin comes on top


@dataclass(frozen=True)
class Fault:
    """What is put in.

    A step, a ramp and throttling begin at `start` and end at `end`, both shares of the session or,
    with `inside`, of each process. Stalls come every `period_s` or every `period_calls`.
    """

    kind: str = "none"
    size: float = 0.0  # relative: 0.2 is 20 % slower; of a stall: times a call, on top
    start: float = 0.5
    end: float = 1.0
    inside: bool = False
    period_s: float = 0.0
    period_calls: int = 0
    phase: float = 0.0  # 0 to 1, of a period

    def slow(self, share: Floats) -> Floats:
        """Return the factor on time at these shares of the session or process."""
        if self.kind == "ramp":
            done = np.clip((share - self.start) / (self.end - self.start), 0, 1)
            return np.asarray(1 + self.size * done)
        if self.kind in ("step", "throttling"):
            return np.asarray(1 + self.size * ((share >= self.start) & (share < self.end)))
        return np.ones_like(share)


CONDITIONS = Conditions(
    device="synthetic",
    cpu="none",
    runtime="none",
    provider="none",
    threads=1,
    os="none",
    python="3",
    governor=None,
    emulated=False,
)


def session(noise: Noise, fault: Fault, shape: Shape, generator: np.random.Generator) -> Session:
    """Draw a session; its last candidate is the twin of the first."""
    return _Drawn(noise, fault, shape, generator).session()


@dataclass
class _Drawn:
    noise: Noise
    fault: Fault
    shape: Shape
    generator: np.random.Generator
    now_s: float = 1000.0

    def session(self) -> Session:
        count = self.shape.candidates + 1
        rounds = [self._round(number, count) for number in range(self.shape.rounds)]
        *measurements, twin = [
            Measurement("synthetic", "none", CONDITIONS, runs) for runs in zip(*rounds, strict=True)
        ]
        timing = Timing(rounds=max(2, self.shape.rounds), blocks=self.shape.blocks)
        return Session(tuple(measurements), twin, timing)

    def _round(self, number: int, count: int) -> Sequence[ProcessRun]:
        self.now_s += count * (START_S + WARM_S)
        processes = [self._process() for _ in range(count)]
        for block in range(self.shape.blocks):
            for index in self.generator.permutation(count):
                self._block(processes[index], number, block)
        return [process.run(number) for process in processes]

    def _process(self) -> _Process:
        n, noise = self.shape.blocks, self.noise
        shocks = self.generator.normal(0, 1, n)
        wander = np.empty(n)
        wander[0] = shocks[0]
        for i in range(1, n):
            rest = math.sqrt(1 - noise.correlation**2)
            wander[i] = noise.correlation * wander[i - 1] + rest * shocks[i]
        bursts = self.generator.random(n) < noise.burst_share
        slowed = bursts * np.log1p(self.generator.uniform(0.05, 0.3, n))
        level = self.generator.normal(0, noise.luck) + noise.block * wander + slowed
        return _Process(
            level, [], [], [Sample(at_s=self.now_s, own_s=0.0, clock_hz=self._clock_hz(1.0))]
        )

    def _block(self, process: _Process, number: int, block: int) -> None:
        shape, noise, draw = self.shape, self.noise, self.generator
        self.now_s += BETWEEN_S
        start_s = self.now_s
        n = shape.calls
        tail = np.clip(noise.call * draw.standard_t(3, n), -0.2, 1.0)
        spikes = (draw.random(n) < noise.spike_share) * np.log(draw.uniform(1.3, 4, n))
        seconds = shape.call_s * np.exp(process.level[block] + tail + spikes)
        share = self._share(number, block, n)
        slow = self.fault.slow(share)
        seconds = self._stalled(seconds * slow, start_s, block * n)
        self.now_s += float(seconds.sum())
        process.blocks.append(seconds)
        process.elapsed.append(float(seconds.sum()))
        process.samples.append(
            Sample(
                at_s=self.now_s,
                own_s=self.now_s - start_s,
                clock_hz=self._clock_hz(float(np.mean(slow))),
                throttled=int(self.fault.kind == "throttling" and bool(slow[-1] > 1)),
            )
        )

    def _share(self, number: int, block: int, calls: int) -> Floats:
        within = (block + np.arange(calls) / calls) / self.shape.blocks
        return within if self.fault.inside else (number + within) / self.shape.rounds

    def _stalled(self, seconds: Floats, start_s: float, first: int) -> Floats:
        fault = self.fault
        stall_s = fault.size * self.shape.call_s
        if fault.period_calls:
            number = first + np.arange(len(seconds))
            hit = number % fault.period_calls == int(fault.phase * fault.period_calls)
            return np.asarray(seconds + stall_s * hit)
        if fault.period_s:
            seconds = seconds.copy()
            turn = math.ceil(start_s / fault.period_s - fault.phase)
            while True:
                at_s = (turn + fault.phase) * fault.period_s - start_s
                index = int(np.searchsorted(np.cumsum(seconds), at_s))
                if index >= len(seconds):
                    break
                seconds[index] += stall_s
                turn += 1
        return seconds

    def _clock_hz(self, slow: float) -> float | None:
        if self.fault.kind != "throttling":
            return None
        return CLOCK_HZ / slow * (1 + self.generator.normal(0, 0.005))


@dataclass
class _Process:
    level: Floats
    blocks: list[Floats]
    elapsed: list[float]
    samples: list[Sample]

    def run(self, number: int) -> ProcessRun:
        return ProcessRun(
            round=number,
            load_s=START_S,
            first_s=WARM_S,
            blocks_s=tuple(tuple(block.tolist()) for block in self.blocks),
            peak_memory_bytes=1,
            elapsed_s=tuple(self.elapsed),
            samples=tuple(self.samples),
        )
