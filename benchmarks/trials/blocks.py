"""How much wider are intervals if each process has fewer blocks, and how much time does that save?

    python -m edgekd.benchmarks.trials.blocks --json benchmarks/results/blocks.json

Times a file and one with 10 % more work in sessions of 40 blocks per process. The intervals of the
speed-up are then computed from the first 10, 20 and 40 blocks of every process: same sessions, same
processes. The seconds are those from the first of these blocks to the last.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.benchmarks.measurement import Measurement, Session, Timing
from edgekd.benchmarks.stats import speedup
from edgekd.benchmarks.trials.report import conclude
from edgekd.benchmarks.trials.twins import sessions
from edgekd.devices import open_device

COUNTS = (10, 20, 40)
TIMING = Timing(rounds=8, blocks=max(COUNTS))


def shortened(measurement: Measurement, count: int) -> Measurement:
    """Return a measurement with the first `count` blocks of each process."""
    runs = tuple(
        replace(
            run,
            blocks_s=run.blocks_s[:count],
            elapsed_s=run.elapsed_s[:count],
            cpu_s=run.cpu_s[:count],
            samples=run.samples[: count + 1],
        )
        for run in measurement.runs
    )
    return replace(measurement, runs=runs)


def width(session: Session, count: int) -> float:
    """Return half of the width of the speed-up's interval, relative, from so many blocks."""
    plain, other = (shortened(one, count) for one in session.measurements)
    found = speedup(plain, other, floor=0.0)
    return float(np.log(found.high / found.low) / 2)


def blocks_s(session: Session, count: int) -> float:
    """Return the seconds of so many sweeps over all processes of a session."""
    whole = [*session.measurements, session.twin]
    rounds = zip(*(one.runs for one in whole), strict=True)
    ends = [[run.samples[i].at_s for run in runs for i in (0, count)] for runs in rounds]
    return float(sum(max(one) - min(one) for one in ends))


def compared(found: Sequence[Session]) -> dict[int, dict[str, float]]:
    """Return the median width and the mean seconds by the number of blocks."""
    return {
        count: {
            "half_width": float(np.median([width(one, count) for one in found])),
            "seconds": float(np.mean([blocks_s(one, count) for one in found])),
        }
        for count in COUNTS
    }


def main() -> None:
    """Time, compare and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=12)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        found = list(
            sessions(
                open_device("local"),
                Path(folder),
                count=arguments.tries,
                slower=0.1,
                timing=TIMING,
            )
        )
    by_count = compared(found)
    most = by_count[max(COUNTS)]
    rows = [
        [
            str(count),
            f"{100 * one['half_width']:.2f} %",
            f"{one['half_width'] / most['half_width']:.2f}",
            f"{one['seconds']:.1f} s",
        ]
        for count, one in by_count.items()
    ]
    content: dict[str, Any] = {"tries": arguments.tries, "by_blocks": by_count}
    columns = ["blocks", "half width", f"of that of {max(COUNTS)}", "blocks of a session"]
    conclude("blocks per process", columns, rows, content, arguments.json)


if __name__ == "__main__":
    main()
