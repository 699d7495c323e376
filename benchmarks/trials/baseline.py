"""Does a slow-down against a stored baseline end in exit code 1, and noise in 0?

    python -m edgekd.benchmarks.trials.baseline --tries 50 --slower 5 --json FILE

A network is stored once with `edgekd bench --store`. Each try then runs `edgekd bench --baseline`,
as a user's CI would: with the same network under other bytes, and with one that does a given share
more work (more layers of the same kind, no sleep).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from edgekd.benchmarks.trials.models import convolutions
from edgekd.benchmarks.trials.report import conclude

LAYERS = 40
CHANNELS, SIZE = 32, 14


def model(folder: Path, name: str, slower: float) -> Path:
    """Write a network with so much more work than the stored one."""
    layers = LAYERS + round(LAYERS * slower)
    path = folder / name / "m.onnx"
    path.parent.mkdir(exist_ok=True)
    return convolutions(path, layers=layers, channels=CHANNELS, size=SIZE, label=name)


def edgekd_bench(folder: Path, *arguments: str) -> int:
    """Run the command; return its exit code."""
    command = [sys.executable, "-m", "edgekd", "bench", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise RuntimeError(done.stderr)
    return done.returncode


def main() -> None:
    """Run all tries, equal and slower files in turn, and count the exit codes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--slower", type=float, default=5.0, help="per cent of extra work")
    parser.add_argument("--time", type=float, default=10.0, help="seconds of each session")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    codes: dict[str, list[int]] = {"equal work": [], "more work": []}
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        folder = Path(name)
        time = ("--time", f"{arguments.time}s")
        edgekd_bench(folder, str(model(folder, "stored", 0.0)), "--store", "net", *time)
        files = {
            "equal work": model(folder, "equal", 0.0),
            "more work": model(folder, "more", arguments.slower / 100),
        }
        for number in range(arguments.tries):
            for what, file in files.items():
                codes[what].append(edgekd_bench(folder, str(file), "--baseline", "net", *time))
            ended = {what: Counter(found)[1] for what, found in codes.items()}
            print(f"{number + 1:4d}  exit code 1 so far: {ended}", flush=True)  # noqa: T201
    rows = [
        [what, str(len(found)), str(found.count(0)), str(found.count(1))]
        for what, found in codes.items()
    ]
    conclude(
        f"against a stored baseline, {arguments.slower:g} % more work in the second row",
        ["file", "tries", "exit code 0", "exit code 1"],
        rows,
        {"slower": arguments.slower / 100, "codes": codes},
        arguments.json,
    )


if __name__ == "__main__":
    main()
