"""Injected faults: is each found, named correctly, and never taken for a steady state?

    python -m edgekd.benchmarks.trials.injected --sessions 200 --json FILE
    python -m edgekd.benchmarks.trials.injected --sessions 0 --real 20

Synthetic sessions have the noise of real machines (`synthetic.py`) and one fault, or none: those
must end steady. With --real a process is timed block after block, and half-way a second one starts
to compete for its core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.measurement import Candidate, Measurement, ProcessRun, Sample
from edgekd.benchmarks.stats import Steadiness, noise_floor, steadiness
from edgekd.benchmarks.trials.models import convolutions
from edgekd.benchmarks.trials.report import conclude
from edgekd.benchmarks.trials.synthetic import CONDITIONS, Fault, Noise, Shape, session

LUCKY, USUAL = Noise(luck=0.03), Noise(luck=0.01)
SIX = Shape()
LONG = Shape(rounds=1, blocks=100, calls=40, candidates=1)
FRAMES = Shape(blocks=4, calls=500)  # as at a fixed rate
REAL_BLOCKS = 60
REAL_BLOCK_S = 0.03


@dataclass(frozen=True)
class Case:
    """One fault in one kind of session."""

    name: str
    noise: Noise
    fault: Fault
    shape: Shape = SIX
    found_as: str = ""  # the event it must be called; "": nothing is put in


CASES = (
    Case("none, luck 1 %", USUAL, Fault()),
    Case("none, luck 3 %", LUCKY, Fault()),
    Case("none, one long process", USUAL, Fault(), LONG),
    Case("step of 8 %", USUAL, Fault("step", 0.08), found_as="step"),
    Case("step of 20 %, luck 3 %", LUCKY, Fault("step", 0.2), found_as="step"),
    Case("step of 10 % in each process", USUAL, Fault("step", 0.1, inside=True), found_as="step"),
    Case("step of 5 %, long", USUAL, Fault("step", 0.05), LONG, "step"),
    Case("ramp of 10 %", USUAL, Fault("ramp", 0.1, 0.0), found_as="ramp"),
    Case("ramp of 30 %, luck 3 %", LUCKY, Fault("ramp", 0.3, 0.0), found_as="ramp"),
    Case(
        "ramp of 10 % in each process",
        USUAL,
        Fault("ramp", 0.1, 0.0, inside=True),
        found_as="ramp",
    ),
    Case("ramp of 10 %, long", USUAL, Fault("ramp", 0.1, 0.0), LONG, "ramp"),
    Case(
        "stall of 0.8 calls every 50",
        USUAL,
        Fault("stall", 0.8, period_calls=50),
        found_as="periodic stall",
    ),
    Case(
        "stall of 2 calls every 100 ms, long blocks",
        USUAL,
        Fault("stall", 2.0, period_s=0.1),
        FRAMES,
        "periodic stall",
    ),
    Case(
        "stall of 0.8 calls every 100, long",
        USUAL,
        Fault("stall", 0.8, period_calls=100),
        LONG,
        "periodic stall",
    ),
    Case(
        "stall of 2 calls every 100 ms, long",
        USUAL,
        Fault("stall", 2.0, period_s=0.1),
        LONG,
        "periodic stall",
    ),
    Case("throttling by 20 %", USUAL, Fault("throttling", 0.2), found_as="throttling"),
    Case("throttling by 20 %, long", USUAL, Fault("throttling", 0.2), LONG, "throttling"),
)


@dataclass(frozen=True)
class Counted:
    """What became of one case."""

    name: str
    sessions: int
    steady: int
    named: int  # sessions with an event of the right name
    events: dict[str, int]


def count(case: Case, sessions: int, *, seed: int = 0) -> Counted:
    """Draw sessions of one case and judge each."""
    generator = np.random.default_rng([seed, *case.name.encode()])
    states = [judged(case, generator) for _ in range(sessions)]
    kinds = _kinds(states)
    named = sum(any(e.kind == case.found_as for e in state.events) for state in states)
    return Counted(case.name, sessions, sum(s.steady for s in states), named, kinds)


def _kinds(states: Sequence[Steadiness]) -> dict[str, int]:
    """Count the sessions that have an event of each kind."""
    return dict(Counter(str(kind) for s in states for kind in {e.kind for e in s.events}))


def judged(case: Case, generator: np.random.Generator) -> Steadiness:
    """Judge one session; a step and throttling begin anywhere in its middle."""
    fault = case.fault
    if fault.kind in ("step", "throttling"):
        fault = replace(fault, start=generator.uniform(0.3, 0.7))
    fault = replace(fault, phase=generator.uniform(0, 1))
    drawn = session(case.noise, fault, case.shape, generator)
    first = drawn.measurements[0]
    if case.shape.rounds == 1:
        return steadiness(first, floor=0.0)
    beside = (*drawn.measurements, drawn.twin)
    return steadiness(first, floor=noise_floor(drawn), beside=beside)


def competed(*, load: bool) -> Steadiness:
    """Time a real process on one core, and half-way let another compete for that core."""
    core = min(os.sched_getaffinity(0))
    rival = None
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        model = convolutions(Path(folder) / "m.onnx", layers=10, size=14)
        feeds = Path(folder) / "f.npz"
        np.savez(feeds, x=np.ones((1, 1, 32, 14, 14), np.float32))
        arguments = arguments_of(Candidate(model, feeds))
        with Child(arguments, python=sys.executable, name="m.onnx", limit_s=60.0) as child:
            child.ask(ready=True)
            os.sched_setaffinity(child.pid, {core})
            child.ask(load=True)
            child.ask(warm=0.2)
            answers = [child.ask(sample=True)]
            try:
                for block in range(REAL_BLOCKS):
                    if load and block == REAL_BLOCKS // 2:
                        rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                        os.sched_setaffinity(rival.pid, {core})
                    answers.append(child.ask(run=REAL_BLOCK_S))
            finally:
                if rival is not None:
                    rival.kill()
                    rival.wait()
    run = ProcessRun(
        round=0,
        load_s=0.0,
        first_s=0.0,
        blocks_s=tuple(tuple(answer["block_s"]) for answer in answers[1:]),
        peak_memory_bytes=0,
        elapsed_s=tuple(answer["elapsed_s"] for answer in answers[1:]),
        cpu_s=tuple(answer["cpu_s"] for answer in answers[1:]),
        samples=tuple(Sample(**answer["sample"]) for answer in answers),
    )
    return steadiness(Measurement("real", "none", CONDITIONS, (run,)), floor=0.0)


def main() -> None:
    """Count, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="of each case")
    parser.add_argument("--real", type=int, default=0, help="real processes with a competitor")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = [count(case, arguments.sessions) for case in CASES] if arguments.sessions else []
    if arguments.real:
        states = [competed(load=True) for _ in range(arguments.real)]
        named = sum(any(e.kind == "contention" for e in state.events) for state in states)
        steady = sum(state.steady for state in states)
        found.append(Counted("a real competitor", len(states), steady, named, _kinds(states)))
    rows = [
        [c.name, str(c.sessions), str(c.steady), str(c.named), str(c.events or "")] for c in found
    ]
    conclude(
        "faults put in on purpose",
        ["what", "sessions", "called steady", "called by its name", "events"],
        rows,
        {"cases": [asdict(c) for c in found]},
        arguments.json,
    )


if __name__ == "__main__":
    main()
