"""What does each repair of a static INT8 file give, and what does it cost?

    python -m edgekd.benchmarks.trials.repairs --lite0 FILE --json benchmarks/results/repairs.json

Two files: an EfficientNet-Lite0 that was trained on CIFAR-10 (--lite0: a float ONNX file that takes
[n, 3, 64, 64], (x - 127) / 128, bilinear), and MiniLM-L3 on news (`edgekd data cifar10 minilm-l3
minilm-l6 reuters-r8` fetches what is needed). Each is calibrated once for a layout, on 300 samples,
and written with each set of repairs. On other samples (the 10,000 test images, 300 texts) the file
is compared with the float file: signal to noise of the worst output; for images the share of right
answers and the change in points with its 95 % interval, paired by image; for texts the mean cosine
of the embeddings. The time of a call is relative to the float file's, in turns in one process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from edgekd.benchmarks.trials.ranges import minilm
from edgekd.benchmarks.trials.report import conclude, origin
from edgekd.data.dataset import Arrays
from edgekd.data.downloads import open_known
from edgekd.exporters.ort_session import open_session
from edgekd.quantization.accuracy.escalation import Accuracy
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT, XNNPACK, Layout
from edgekd.quantization.static import calibrate, write_int8

SETS: Mapping[str, Sequence[Accuracy]] = {
    "lite0": [
        *((), ("bias-correction",), ("equalize",), ("rounding",)),
        *(("bias-correction", "rounding"), "auto"),
    ],
    "minilm-l3": [
        *((), ("bias-correction",), ("smooth",), ("rounding",), ("layers-in-float",)),
        *(("smooth", "bias-correction"), "auto"),
    ],
}
LAYOUTS: Mapping[str, Sequence[Layout]] = {
    "lite0": (ONNX_RUNTIME, XNNPACK, TENSORRT),
    "minilm-l3": (ONNX_RUNTIME, TENSORRT),
}
_CALIBRATION = 300


@dataclass(frozen=True)
class Row:
    """One file."""

    network: str
    variant: str
    repairs: str
    kept: str
    """The repairs that were kept, of those that were tried."""
    snr_db: float
    right: float | None
    """Of the answers, in percent."""
    change: tuple[float, float, float] | None
    """Against the float file, in points, with the ends of its interval."""
    cosine: float | None
    seconds: float
    """From the calibrated graph to the file."""
    speedup: float
    """Median over turns."""


@dataclass(frozen=True)
class Network:
    """A float file with samples."""

    name: str
    path: Path
    calibration: Sequence[Arrays]
    tests: Sequence[Arrays]
    labels: NDArray[np.int64] | None


def main() -> None:
    """Write, compare, print and store."""
    networks, command, table = read_arguments(__doc__ or "")
    say = Console(highlight=False).print
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        for network in networks:
            for row in measure(network, Path(scratch)):
                rows.append(row)
                say("  ".join(_words(row)), markup=False)
    conclude(
        "Repairs of INT8 files",
        ["file", "accuracy", "SNR, dB", "top-1, %", "change, points", "cosine", "s", "speed-up"],
        [_words(row) for row in rows],
        {"command": command, "files": [asdict(row) for row in rows]},
        table,
    )


def read_arguments(description: str) -> tuple[list[Network], str, Path | None]:
    """Return the networks that the command names, the command without folders, and --json."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lite0", type=Path, help="a trained float file")
    parser.add_argument("--short", action="store_true", help="1,000 images, 60 texts")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    given = parser.parse_args()
    networks, command = [texts(60 if given.short else 300)], origin()["command"]
    if given.lite0 is not None:
        networks.append(images(given.lite0, 1000 if given.short else 10_000))
        command = command.replace(str(given.lite0), given.lite0.name)
    return networks, command, given.json


def measure(network: Network, folder: Path) -> list[Row]:
    """Return the rows of one network; its files are written into a folder."""
    want = _answers(network.path, network.tests)
    rows = []
    for layout in LAYOUTS[network.name]:
        target = folder / f"model.{layout.variant}.onnx"  # the name says how it is run
        calibrated = calibrate(network.path, lambda: iter(network.calibration), layout=layout)
        for accuracy in SETS[network.name]:
            begin = time.monotonic()
            said = write_int8(calibrated, target, layout=layout, accuracy=accuracy)
            seconds = time.monotonic() - begin
            got = _answers(target, network.tests)
            kept = [step["method"] for step in said.repairs[1:] if step["kept"]]
            rows.append(
                Row(
                    network.name,
                    layout.variant,
                    accuracy if isinstance(accuracy, str) else ", ".join(accuracy) or "none",
                    ", ".join(kept) or "none",
                    snr_db(want, got),
                    *right(network.labels, want, got),
                    _cosine(want, got) if network.labels is None else None,
                    seconds,
                    _speedup(network.path, target, network.tests[0]),
                )
            )
    return rows


def _answers(path: Path, tests: Sequence[Arrays]) -> list[NDArray[np.float32]]:
    """Return the last output of float numbers of each batch: scores, or the embedding."""
    session = open_session(path, threads=2)
    name = [one.name for one in session.get_outputs() if one.type == "tensor(float)"][-1]
    return [session.run([name], dict(batch))[0] for batch in tests]


def snr_db(want: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]) -> float:
    """Return signal to noise of answers in batches."""
    signal = sum(float(np.square(a, dtype=np.float64).sum()) for a in want)
    noise = sum(
        float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(want, got, strict=True)
    )
    return float(10 * np.log10(signal / noise))


def right(
    labels: NDArray[np.int64] | None, want: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]
) -> tuple[float | None, tuple[float, float, float] | None]:
    """Return the share of right answers, and its change with a normal interval of pairs."""
    if labels is None:
        return None, None
    before, after = (np.concatenate(one).argmax(axis=1) == labels for one in (want, got))
    change = 100 * (after.astype(float) - before)
    half = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
    middle = float(change.mean())
    return 100 * float(after.mean()), (middle, middle - half, middle + half)


def _cosine(want: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]) -> float:
    pairs = [(a.reshape(-1), b.reshape(-1)) for a, b in zip(want, got, strict=True)]
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


def _speedup(before: Path, after: Path, batch: Arrays, turns: int = 60) -> float:
    one = {name: array[:1] for name, array in batch.items()}
    sessions = [open_session(path) for path in (before, after)]
    seconds = np.empty((turns, 2))
    for turn in range(turns):
        for i, session in enumerate(sessions):
            begin = time.perf_counter()
            session.run(None, one)
            seconds[turn, i] = time.perf_counter() - begin
    return float(np.median(seconds[10:, 0] / seconds[10:, 1]))


def images(path: Path, count: int) -> Network:
    """Return a trained Lite0 with `count` test images of CIFAR-10."""
    data = open_known("cifar10")
    pictures, labels = data.samples["image"], np.asarray(data.targets["label"])
    # The test images are the last 10,000; the last of the others calibrate.
    tests = np.arange(len(pictures) - 10_000, len(pictures) - 10_000 + count)
    seen = np.arange(len(pictures) - 10_000 - _CALIBRATION, len(pictures) - 10_000)
    (name,) = [one.name for one in open_session(path).get_inputs()]
    return Network(
        "lite0",
        path,
        [{name: _pixels(pictures[i : i + 1])} for i in seen],
        [{name: _pixels(pictures[part])} for part in np.array_split(tests, len(tests) // 100)],
        labels[tests].astype(np.int64),
    )


def _pixels(images: Any) -> NDArray[np.float32]:
    pixels = torch.tensor(np.asarray(images)).permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate((pixels - 127) / 128, (64, 64), mode="bilinear")
    found: NDArray[np.float32] = scaled.numpy()
    return found


def texts(count: int) -> Network:
    """Return MiniLM-L3 with `count` texts of news."""
    path, samples = minilm(2 * max(count, _CALIBRATION))
    half = len(samples) // 2
    return Network("minilm-l3", path, samples[:_CALIBRATION], samples[half : half + count], None)


def _words(row: Row) -> list[str]:
    change = "-"
    if row.change is not None:
        middle, low, high = row.change
        change = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
    return [
        f"{row.network} {row.variant}",
        row.repairs if row.repairs == row.kept else f"{row.repairs}: {row.kept}",
        f"{row.snr_db:.1f}",
        "-" if row.right is None else f"{row.right:.2f}",
        change,
        "-" if row.cosine is None else f"{row.cosine:.4f}",
        f"{row.seconds:.1f}",
        f"{row.speedup:.2f}x",
    ]


if __name__ == "__main__":
    main()
