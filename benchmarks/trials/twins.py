"""Does `edgekd bench` report differences that do not exist, and does it find those that do?

    python -m edgekd.benchmarks.trials.twins --tries 200 --time 10 --json FILE
    python -m edgekd.benchmarks.trials.twins --slower 2 --tries 50 --time 60 --json FILE

Compares two files of the same network, whose bytes differ in a label alone, or the second of which
does a given share more work (more layers of the same kind, no sleep). Every try is a session of its
own. Asked: of 200 equal pairs at most 16 are called different, and 190 of 200 end steady; of 50
pairs with 2 % more work 42 are called slower.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekd.benchmarks.bench import Measurer, bench
from edgekd.benchmarks.measurement import Session, Timing
from edgekd.benchmarks.result import Described, row
from edgekd.benchmarks.stats import Estimate, noise_floor
from edgekd.benchmarks.trials.models import convolutions
from edgekd.benchmarks.trials.report import conclude
from edgekd.store import write_atomic

LAYERS = 50
CHANNELS, SIZE = 32, 14  # small enough for the caches: arithmetic, not the neighbours, is timed


@dataclass(frozen=True, kw_only=True)
class Try:
    """One comparison."""

    verdict: str
    steady: bool  # of the ratio, which the verdict rests on
    restless: int  # files whose absolute times were not steady
    speedup: Estimate
    floor: float
    latency_s: float
    processes: int
    took_s: float
    events: tuple[str, ...]


def sessions(
    device: Measurer, folder: Path, *, count: int, slower: float, timing: Timing
) -> Iterator[Session]:
    """Time one pair of files again and again.

    Args:
        device: where.
        folder: for the two files.
        count: how many sessions.
        slower: relative extra work of the second file, in whole layers of `LAYERS`.
        timing: of each session.
    """
    plain = convolutions(folder / "plain.onnx", layers=LAYERS, channels=CHANNELS, size=SIZE)
    layers = LAYERS + round(LAYERS * slower)
    other = convolutions(
        folder / "other.onnx", layers=layers, channels=CHANNELS, size=SIZE, label="other"
    )
    for _ in range(count):
        yield bench([other], vs=plain, device=device, timing=timing).session


def kept(folder: Path) -> Iterator[Session]:
    """Read sessions that an earlier call kept: better statistics can be tried on old seconds."""
    for path in sorted(folder.glob("*.json.gz")):
        yield Session.from_json(json.loads(gzip.decompress(path.read_bytes())))


def judged(session: Session) -> Try:
    """Judge a session of two files as `edgekd bench` does."""
    floor = noise_floor(session)
    rows = [
        row(Described(Path(name), name, 1, {}, 0), measured, session, floor)
        for name, measured in zip(("plain", "other"), session.measurements, strict=True)
    ]
    other = rows[1]
    assert other.speedup is not None
    samples = [s.at_s for m in session.measurements for run in m.runs for s in run.samples]
    events = tuple(event.text for event in (other.pair.events if other.pair else ()))
    return Try(
        verdict=other.verdict,
        steady=other.pair is not None and other.pair.steady,
        restless=sum(not one.steady for one in rows),
        speedup=other.speedup,
        floor=floor,
        latency_s=other.latency_s.value,
        processes=other.latency_s.n,
        took_s=max(samples) - min(samples),
        events=events,
    )


def main() -> None:
    """Run the tries and count the verdicts."""
    from edgekd.devices import open_device

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--slower", type=float, default=0.0, help="per cent of extra work")
    parser.add_argument("--time", type=float, default=10.0, help="seconds of each session")
    parser.add_argument("--precision", type=float, default=0.5, help="per cent; may end it early")
    parser.add_argument("--claims", type=int, help="exit code 1 above so many claims")
    parser.add_argument("--steady", type=int, help="exit code 1 below so many steady ones")
    parser.add_argument("--keep", type=Path, help="a folder for the raw sessions")
    parser.add_argument("--again", type=Path, help="judge kept sessions; nothing is timed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timing = Timing(precision=arguments.precision / 100, time_limit_s=arguments.time)
    done: list[Try] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        source = sessions(
            open_device("local"),
            Path(folder),
            count=arguments.tries,
            slower=arguments.slower / 100,
            timing=timing,
        )
        for session in kept(arguments.again) if arguments.again else source:
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                packed = gzip.compress(json.dumps(session.to_json()).encode())
                write_atomic(arguments.keep / f"{len(done):04d}.json.gz", packed)
            one = judged(session)
            done.append(one)
            print(  # noqa: T201  a line per try: this runs for half an hour
                f"{len(done):4d}  {one.verdict:16s} {one.speedup.value:.4f} "
                f"[{one.speedup.low:.4f}, {one.speedup.high:.4f}]  floor {100 * one.floor:.1f} %  "
                f"{one.processes} processes  {one.took_s:.0f} s  {'; '.join(one.events)}",
                flush=True,
            )
    counts = Counter(one.verdict for one in done)
    claims, steady = counts["faster"] + counts["slower"], sum(one.steady for one in done)
    conclude(
        f"{len(done)} comparisons, {arguments.slower:g} % more work in the second file",
        ["verdict", "count"],
        [*([name, str(n)] for name, n in counts.most_common()), ["steady", str(steady)]],
        {"counts": counts, "steady": steady, "tries": [asdict(one) for one in done]},
        arguments.json,
    )
    if arguments.claims is not None and claims > arguments.claims:
        sys.exit(f"{claims} claims, at most {arguments.claims} allowed")
    if arguments.steady is not None and steady < arguments.steady:
        sys.exit(f"{steady} steady, at least {arguments.steady} asked")


if __name__ == "__main__":
    main()
