"""Does calibration stay small, fast and exact?

    python -m edgekd.benchmarks.trials.calibration --json benchmarks/results/calibration.json

Memory and time: an encoder of BERT-base's size with random weights, texts of 128 tokens, one
thread. Each row is a process of its own: forward passes of the file alone, and calibration with
ranges by entropy and by percentile, with few samples and with many. Peaks are of resident memory.
The ratio of times is taken of processor seconds, for they hardly depend on what else runs.

Bytes: a convolutional network with 512 images in batches of 1, 2, 8 and 64, shuffled, with one and
two threads; an encoder with 512 texts of unlike lengths, each alone and padded in batches with
their mask, shuffled. All files of a network must be equal. Exit code 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edgekd.benchmarks.trials.bert_graph import BASE, TINY, write_bert
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.dataset import Arrays
from edgekd.store import file_sha256

TOKENS = 128
MOST_ABOVE_BYTES = 2 * 2**30
MOST_GROWTH = 1.05
MOST_TIME = 1.5
FORWARD = "forward passes"


@dataclass(frozen=True)
class Cost:
    """What one process needed."""

    work: str
    samples: int
    seconds: float
    processor_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Written:
    """One file, from the same samples as its neighbours."""

    network: str
    feeds: str
    threads: int
    sha256: str


def main() -> int:
    """Measure all; return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a tiny encoder and 64 samples")
    parser.add_argument("--json", type=Path, help="write the tables to this file")
    parser.add_argument("--child", nargs=3, metavar=("WORK", "MODEL", "SAMPLES"), help="of itself")
    given = parser.parse_args()
    if given.child:
        work, model, samples = given.child
        sys.stdout.write(json.dumps(asdict(_measure_here(work, Path(model), int(samples)))))
        return 0
    few, many = (16, 64) if given.short else (32, 512)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        costs = measure_costs(Path(folder), few, many, BASE if not given.short else TINY)
        files = write_files(Path(folder), many)
    most_time = float("inf") if given.short else MOST_TIME  # opening the file outweighs the rest
    faults = [*_judge_costs(costs, most_time), *_judge_files(files)]
    conclude(
        f"calibration of an encoder with {TOKENS} tokens a sample",
        ["work", "samples", "seconds", "processor seconds", "peak, MB"],
        [
            [c.work, str(c.samples), f"{c.seconds:.1f}", f"{c.processor_s:.1f}", _mb(c.peak_bytes)]
            for c in costs
        ],
        {},
        None,
    )
    conclude(
        "files from the same samples",
        ["network", "samples", "threads", "sha256"],
        [[w.network, w.feeds, str(w.threads), w.sha256[:16]] for w in files],
        {
            "costs": [asdict(cost) for cost in costs],
            "files": [asdict(one) for one in files],
            "faults": faults,
        },
        given.json,
    )
    Console(highlight=False).print("\n".join(faults) or "no limit is missed", markup=False)
    return int(bool(faults))


def measure_costs(folder: Path, few: int, many: int, size: dict[str, int]) -> list[Cost]:
    """Return what forward passes and calibrations need, each in a process of its own."""
    path = folder / "encoder.onnx"
    write_bert(path, **size)
    rows = [(FORWARD, few), (FORWARD, many)]
    rows += [(method, count) for method in ("percentile", "entropy") for count in (few, many)]
    found = []
    for work, count in rows:
        command = [sys.executable, "-m", __spec__.name, "--child", work, str(path), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(Cost(**json.loads(done.stdout.splitlines()[-1])))
    path.unlink()
    return found


def _measure_here(work: str, path: Path, samples: int) -> Cost:
    from edgekd.exporters.ort_session import open_session, run
    from edgekd.quantization.static import calibrate

    texts = (_text(np.random.default_rng(i), TOKENS, 900) for i in range(samples))
    begin, cpu = time.perf_counter(), time.process_time()
    if work == FORWARD:
        session = open_session(path)
        for text in texts:
            run(session, ["pooled"], text, name=str(path))
    else:
        calibrate(path, lambda: texts, ranges=work).ranges("uint8")  # type: ignore[arg-type]
    seconds, processor_s = time.perf_counter() - begin, time.process_time() - cpu
    return Cost(work, samples, seconds, processor_s, _peak_bytes())


def _peak_bytes() -> int:
    """Return the peak of this program's resident memory; getrusage has its parent's as well."""
    lines = Path("/proc/self/status").read_text(encoding="utf8").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) * 1024


def _judge_costs(costs: Sequence[Cost], most_time: float) -> Iterator[str]:
    by = {(cost.work, cost.samples): cost for cost in costs}
    many = max(cost.samples for cost in costs)
    few = min(cost.samples for cost in costs)
    plain = by[FORWARD, many]
    for method in ("percentile", "entropy"):
        cost, small = by[method, many], by[method, few]
        above = cost.peak_bytes - plain.peak_bytes
        if above > MOST_ABOVE_BYTES:
            yield f"{method}: {_mb(above)} MB above the forward passes"
        if cost.peak_bytes > MOST_GROWTH * small.peak_bytes:
            yield f"{method}: peak {_mb(cost.peak_bytes)} MB, {_mb(small.peak_bytes)} with {few}"
        ratio = cost.processor_s / plain.processor_s
        if ratio > most_time:
            yield f"{method}: {ratio:.2f} times the time of the forward passes"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def write_files(folder: Path, count: int) -> list[Written]:
    """Return the files of both networks, each from the same samples in different ways."""
    rng = np.random.default_rng(1)
    images = {"x": rng.standard_normal((count, 3, 32, 32)).astype(np.float32)}
    texts = [_text(rng, int(rng.integers(3, 40)), 900) for _ in range(count)]
    order, other = rng.permutation(count), rng.permutation(count)
    ways = [(f"batches of {size}", _batches(images, size)) for size in (1, 2, 8, 64)]
    ways.append(("shuffled", _batches(images, 8, order)))
    network = _convolutional(folder / "images.onnx")
    found = [
        _write(network, "images", name, feeds, threads)
        for name, feeds in ways
        for threads in (1, 2)
    ]
    encoder = folder / "texts.onnx"
    write_bert(encoder, **TINY)
    in_ways = [
        ("one by one", lambda: iter(texts)),
        ("shuffled", lambda: iter([texts[i] for i in order])),
        ("padded, batches of 8", _padded(texts, np.arange(count), 8)),
        ("padded, shuffled", _padded(texts, other, 8)),
    ]
    for threads in (1, 2):
        found += [_write(encoder, "texts", name, feeds, threads) for name, feeds in in_ways]
    return found


def _judge_files(files: Sequence[Written]) -> Iterator[str]:
    for network in {one.network for one in files}:
        count = len({one.sha256 for one in files if one.network == network})
        if count > 1:
            yield f"{network}: {count} different files"


def _write(
    source: Path, network: str, name: str, feeds: Callable[[], Iterator[Arrays]], threads: int
) -> Written:
    from edgekd.quantization.static import quantize_int8

    target = source.with_suffix(".int8.onnx")
    quantize_int8(source, target, feeds, ranges="auto", threads=threads)
    return Written(network, name, threads, file_sha256(target))


def _convolutional(path: Path) -> Path:
    import torch

    from edgekd.models import resnet20

    torch.manual_seed(0)
    network = resnet20().train()
    with torch.no_grad():
        network(torch.randn(64, 3, 32, 32))  # statistics of the batch norms
    torch.onnx.export(
        network.eval(),
        (torch.randn(2, 3, 32, 32),),
        path,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}},
        dynamo=False,
    )
    return path


def _batches(
    arrays: Arrays, size: int, order: NDArray[Any] | None = None
) -> Callable[[], Iterator[Arrays]]:
    count = len(next(iter(arrays.values())))
    rows = np.arange(count) if order is None else order

    def feeds() -> Iterator[Arrays]:
        for start in range(0, count, size):
            yield {name: array[rows[start : start + size]] for name, array in arrays.items()}

    return feeds


def _text(rng: np.random.Generator, length: int, words: int) -> dict[str, NDArray[Any]]:
    return {
        "input_ids": rng.integers(1, words, (1, length)),
        "attention_mask": np.ones((1, length), np.int64),
    }


def _padded(
    texts: Sequence[Arrays], order: NDArray[Any], size: int
) -> Callable[[], Iterator[Arrays]]:
    def feeds() -> Iterator[Arrays]:
        for start in range(0, len(texts), size):
            some = [texts[i] for i in order[start : start + size]]
            length = max(text["input_ids"].shape[1] for text in some)
            yield {
                name: np.concatenate(
                    [
                        np.pad(text[name], ((0, 0), (0, length - text[name].shape[1])))
                        for text in some
                    ]
                )
                for name in some[0]
            }

    return feeds


if __name__ == "__main__":
    sys.exit(main())
