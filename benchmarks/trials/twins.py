"""Does `edgekd bench` claim what is not there, and does it find what is?

    python -m edgekd.benchmarks.trials.twins --tries 200 --time 10 --json FILE
    python -m edgekd.benchmarks.trials.twins --slower 2 --tries 50 --time 60 --json FILE

Compares two files of the same network, whose bytes differ in a label alone, or the second of which
does a given share more work (more layers of the same kind, no sleep). Every try is a session of its
own. Asked: of 200 equal pairs at most 16 are called different, and 190 of 200 end steady; of 50
pairs with 2 % more work 42 are called slower.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekd.benchmarks.bench import Measurer, bench
from edgekd.benchmarks.measurement import Timing
from edgekd.benchmarks.statistics import Estimate
from edgekd.benchmarks.trials.models import chain
from edgekd.benchmarks.trials.report import conclude

LAYERS = 100


@dataclass(frozen=True)
class Try:
    """One comparison."""

    verdict: str
    steady: bool
    speedup: Estimate
    floor: float
    latency_s: float
    processes: int
    took_s: float
    events: tuple[str, ...]


def tries(
    device: Measurer, folder: Path, *, count: int, slower: float, timing: Timing
) -> Iterator[Try]:
    """Compare one pair of files again and again.

    Args:
        device: where.
        folder: for the two files.
        count: how many sessions.
        slower: relative extra work of the second file, in whole layers of `LAYERS`.
        timing: of each session.
    """
    plain = chain(folder / "plain.onnx", layers=LAYERS)
    other = chain(folder / "other.onnx", layers=LAYERS + round(LAYERS * slower), label="other")
    for _ in range(count):
        start = time.monotonic()
        result = bench([other], vs=plain, device=device, timing=timing)
        row = result.rows[1]
        assert row.speedup is not None
        yield Try(
            row.verdict,
            row.steady,
            row.speedup,
            result.floor,
            row.latency_s.value,
            row.latency_s.n,
            time.monotonic() - start,
            tuple(event.text for r in result.rows for event in r.steadiness.events),
        )


def main() -> None:
    """Run the tries and count the verdicts."""
    from edgekd.devices import open_device

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--slower", type=float, default=0.0, help="per cent of extra work")
    parser.add_argument("--time", type=float, default=10.0, help="seconds of each session")
    parser.add_argument("--precision", type=float, default=0.5, help="per cent; may end it early")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timing = Timing(precision=arguments.precision / 100, time_limit_s=arguments.time)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        done: list[Try] = []
        slower = arguments.slower / 100
        for one in tries(
            open_device("local"),
            Path(folder),
            count=arguments.tries,
            slower=slower,
            timing=timing,
        ):
            done.append(one)
            print(  # noqa: T201  a line per try: this runs for half an hour
                f"{len(done):4d}  {one.verdict:16s} {one.speedup.value:.4f} "
                f"[{one.speedup.low:.4f}, {one.speedup.high:.4f}]  floor {100 * one.floor:.1f} %  "
                f"{one.processes} processes  {one.took_s:.0f} s  {'; '.join(one.events)}",
                flush=True,
            )
    counts = Counter(one.verdict for one in done)
    steady = sum(one.steady for one in done)
    conclude(
        f"{len(done)} comparisons, {arguments.slower:g} % more work in the second file",
        ["verdict", "count"],
        [*([name, str(n)] for name, n in counts.most_common()), ["steady", str(steady)]],
        {"counts": counts, "steady": steady, "tries": [asdict(one) for one in done]},
        arguments.json,
    )


if __name__ == "__main__":
    main()
