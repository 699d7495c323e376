"""Quantize files of other people without labels, by the command, and check what was written.

    python -m edgekd.benchmarks.trials.foreign_files --json benchmarks/results/foreign-files.json

The files: the nine `light_*` topologies of the onnx package, MiniLM-L3 and open-nsfw (`edgekd data
minilm-l3 open-nsfw`), and the ten of `odd_graphs.py`. Each is given to `edgekd quantize` with an
`.npz` of inputs and no option but where the run is written. A file must end kept or rolled back,
and what was kept must be faster. Every INT8 file is loaded by ONNX Runtime alone and compared with
the float file on all samples, fused and as it is written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from rich.console import Console

from edgekd.benchmarks.trials.odd_graphs import Arrays, builders
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.downloads import fetch
from edgekd.errors import BadInput
from edgekd.evaluation.record import Record, read_record
from edgekd.exporters.model_stats import inputs_of
from edgekd.exporters.ort_session import Level, predictor
from edgekd.pipeline.without_labels import LEAST_SNR

RUN = "run"
"""The run folder, within the folder that `try_file` is given."""
SHORT = ("--set", "measure.rounds=3", "--set", "measure.blocks=2")
_IMAGES, _TEXTS = 32, 96
_LIMIT_S = 900.0


@dataclass(frozen=True)
class Row:
    """What became of one file."""

    name: str
    outcome: str
    """kept, rolled back, skipped, refused or crashed."""
    said: str
    seconds: float
    speedup: tuple[float, float, float] | None
    """(value, low, high) of the INT8 file against the float file."""
    snr_db: float | None
    """Of the worst output over all samples, of the worse of fused and unfused."""
    float_bytes: int
    int8_bytes: int | None

    @property
    def fault(self) -> str:
        """Why this is not as it must be, or ""."""
        if self.outcome in ("refused", "crashed"):
            return self.said
        if self.outcome == "kept":
            if self.snr_db is None or self.snr_db < LEAST_SNR:
                return f"kept at {self.snr_db} dB"
            if self.speedup is None or self.speedup[1] <= 1:
                return "kept and not faster"
        return ""


def main() -> int:
    """Run all, or those whose names contain a word of --only; return 1 if a file is at fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--short", action="store_true", help="few calls: speeds say little")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    rows: list[Row] = []
    say = Console(highlight=False).print
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        for name, build in all_files():
            if arguments.only and not any(word in name for word in arguments.only):
                continue
            say(f"{name} ...", end=" ")
            options = SHORT if arguments.short else ()
            rows.append(try_file(name, build, Path(scratch) / str(len(rows)), options))
            say(f"{rows[-1].outcome}, {rows[-1].seconds:.0f} s")
    conclude(
        "Files of other people, quantized without labels",
        ["file", "outcome", "speed-up of INT8", "SNR, dB", "size", "s"],
        [_words(row) for row in rows],
        {"files": [asdict(row) for row in rows]},
        arguments.json,
    )
    faults = [f"{row.name}: {row.fault}" for row in rows if row.fault]
    say("\n".join(faults) or f"{len(rows)} files, none at fault", markup=False)
    return 1 if faults else 0


def try_file(
    name: str,
    build: Callable[[], tuple[ModelProto, Arrays]],
    folder: Path,
    options: Sequence[str] = (),
) -> Row:
    """Quantize one file by the command and check what came of it."""
    folder.mkdir()
    source, data, run = folder / "model.onnx", folder / "data.npz", folder / RUN
    model, samples = build()
    onnx.save(model, source)
    np.savez(data, **samples)  # type: ignore[arg-type]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "edgekd", "quantize", str(source)),
                *("--data", str(data), "--out", str(run), *options),
            ],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        code, said = done.returncode, " ".join((done.stdout + done.stderr).split()[-60:])
    except subprocess.TimeoutExpired:
        code, said = 1, f"not done after {_LIMIT_S:.0f} s"
    seconds = time.monotonic() - begin
    size = source.stat().st_size
    if code:
        outcome = "refused" if code == 2 else "crashed"
        return Row(name, outcome, said, seconds, None, None, size, None)
    record = read_record(run)
    written = next(iter(sorted(run.glob("stages/*/model.int8.onnx"))), None)
    return Row(
        name,
        record.rungs[-1].outcome,
        record.rungs[-1].verdict,
        seconds,
        _speedup(record),
        None if written is None else measure_snr(source, written, samples),
        size,
        None if written is None else written.stat().st_size,
    )


def _speedup(record: Record) -> tuple[float, float, float] | None:
    evidence = record.rungs[-1].evidence
    files = evidence.files if evidence else ()
    found = next((f.speedup for f in files if f.variant == "int8"), None)
    return (found.value, found.low, found.high) if found else None


def measure_snr(source: Path, written: Path, samples: Arrays) -> float:
    """Return the signal-to-noise ratio in dB of the worst output.

    150 is that of equal ones, -150 that of NaN and infinity.
    """
    want = predictor(source, level=Level.ORT_DISABLE_ALL)(samples)
    worst = 150.0
    for level in (Level.ORT_ENABLE_ALL, Level.ORT_DISABLE_ALL):
        got = predictor(written, level=level)(samples)
        for name, mine in want.items():
            if mine.dtype.kind == "f":
                signal = np.square(mine.astype(np.float64)).sum()
                noise = np.square(mine.astype(np.float64) - got[name]).sum()
                if noise == 0:
                    continue
                ratio = signal / noise if np.isfinite(noise) else 0.0
                worst = min(worst, float(10 * np.log10(max(ratio, 1e-15))))
    return worst


def all_files() -> Iterator[tuple[str, Callable[[], tuple[ModelProto, Arrays]]]]:
    """Return each file by its name: what builds it and its samples."""
    yield from builders().items()
    for name, file, make in (
        ("minilm-l3", "paraphrase-MiniLM-L3-v2.onnx", _texts),
        ("open-nsfw", "open-nsfw.onnx", _photographs),
    ):
        try:
            folder = fetch(name)
        except BadInput as error:
            Console(highlight=False).print(f"{name}: left out: {error}", markup=False)
            continue
        yield name, _with_samples(folder / file, make)
    light = Path(onnx.__file__).parent / "backend/test/data/light"
    for path in sorted(light.glob("light_*.onnx")):
        yield path.stem, _with_samples(path, _photographs)


def _with_samples(
    path: Path, make: Callable[[ModelProto], Arrays]
) -> Callable[[], tuple[ModelProto, Arrays]]:
    def build() -> tuple[ModelProto, Arrays]:
        model = onnx.load(path)
        return model, make(model)

    return build


def _photographs(model: ModelProto) -> Arrays:
    """Return smooth pictures, for they have the statistics of photographs rather than of noise."""
    rng = np.random.default_rng(0)
    found: dict[str, NDArray[Any]] = {}
    for value in inputs_of(model):
        _, *shape = (d.dim_value for d in value.type.tensor_type.shape.dim)
        last = shape[-1] == 3  # channels
        size = shape[0] if last else shape[-1]
        coarse = rng.normal(0, 50, (_IMAGES, 3, 8, 8)).repeat(size // 8, 2).repeat(size // 8, 3)
        pictures = coarse + rng.normal(0, 10, coarse.shape)
        pictures = pictures.transpose(0, 2, 3, 1) if last else pictures
        found[value.name] = pictures.astype(np.float32)
    return found


def _texts(model: ModelProto) -> Arrays:
    """Return token numbers of 32 tokens a text, of a few topics, so that texts differ."""
    rng = np.random.default_rng(0)
    topics = rng.integers(1000, 28_000, (12, 40))
    tokens = np.stack([rng.choice(topics[i % 12], 32) for i in range(_TEXTS)])
    tokens[:, 0], tokens[:, -1] = 101, 102
    given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
    return {v.name: given.get(v.name, np.zeros_like(tokens)) for v in inputs_of(model)}


def _words(row: Row) -> list[str]:
    speed = "-"
    if row.speedup:
        value, low, high = row.speedup
        speed = f"{value:.2f}x [{low:.2f}, {high:.2f}]"
    return [
        row.name,
        row.outcome,
        speed,
        "-" if row.snr_db is None else f"{row.snr_db:.1f}",
        f"{row.float_bytes:,} → {row.int8_bytes or 0:,}",
        f"{row.seconds:.0f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
