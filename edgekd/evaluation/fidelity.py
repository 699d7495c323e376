"""How near the outputs of a file are to those of what it was made from, output by output.

A float file is held against the PyTorch network right after its export (`parity_check.py`, written
as `parity.json`), any other variant against the float file of its stage, on validation samples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

from edgekd.benchmarks.stats import Estimate
from edgekd.data.preprocess import Preprocess
from edgekd.evaluation.quality import wilson
from edgekd.exporters.ort_session import BATCH, batch_size, predictor
from edgekd.store import write_json
from edgekd.tasks.reference import Reference, decibel, find_forms
from edgekd.tasks.task import Arrays, Predictor

if TYPE_CHECKING:
    from edgekd.data.batches import Data

PARITY = "parity.json"
"""Of the stage of a network: its float file beside the network in PyTorch."""
MOST_SAMPLES = 256
_SIZES = (2, 3)


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One output of a file, beside the same output of its reference."""

    output: str
    reference: str
    """"PyTorch", or the variant that the file was made from."""
    inputs: str
    """What both were run on, in words."""
    samples: int
    snr_db: float | None
    """Energy of the reference over that of the difference; None where numbers are whole."""
    worst_db: float | None = None
    """The same of the sample where it is least."""
    worst_sample: int = 0
    """The number of that sample in the data set, or among the inputs."""
    relative: float | None = None
    """Greatest difference as a share of the output's greatest magnitude."""
    agreement: Estimate | None = None
    """Percent of the samples with the same answer; None where the output has no classes."""
    note: str = ""


def compare_files(
    reference: Path, other: Path, data: Data, preprocess: Preprocess, *, name: str
) -> tuple[Fidelity, ...]:
    """Compare two files on validation samples; one row for each output that both have.

    A value that is NaN or infinite only in `other` counts as a difference that outweighs all else.

    Args:
        reference: ONNX file.
        other: a file made from it, with the same inputs.
        data: its validation split is read, up to `MOST_SAMPLES`.
        preprocess: of both files.
        name: of the reference, such as "fp32".
    """
    first, second = predictor(reference), predictor(other)
    size = min(batch_size(reference), MOST_SAMPLES)
    parts: list[tuple[Arrays, int]] = []
    task, index = None, list[int]()
    for batch in data.batches("validation", preprocess, size=size):
        inputs = batch.inputs[0]
        task = task or _task(first, inputs, size)
        want, got = (task.predict(run, inputs) for run in (first, second))
        parts.append((task.reduce(got, {}, task.reference(want)), len(batch.index)))
        index += [int(i) for i in batch.index]
        if len(index) >= MOST_SAMPLES:
            break
    if task is None:
        return ()
    joined = {key: np.concatenate([part[key] for part, _ in parts]) for key in parts[0][0]}
    return tuple(
        _row(joined, output, index, reference=name, inputs=f"{len(index)} validation samples")
        for output in task.signals
    )


def _task(run: Predictor, inputs: Arrays, size: int) -> Reference:
    have = len(next(iter(inputs.values())))
    sizes = (have, have) if size != BATCH or have < max(_SIZES) else _SIZES
    pair = [run({n: a[:k] for n, a in inputs.items()}) for k in sizes]
    return Reference(find_forms(pair[0], pair[1], sizes=(sizes[0], sizes[1])))


def _row(
    joined: Arrays, output: str, index: Sequence[int], *, reference: str, inputs: str
) -> Fidelity:
    agrees = joined.get(f"{output}/agrees")
    agreement = None
    if agrees is not None:
        n, hits = len(agrees), int((np.asarray(agrees) == 1).sum())
        low, high = wilson(hits, n)
        agreement = Estimate(100 * hits / n, 100 * low, 100 * high, n)
    signal, noise = joined.get(f"{output}/signal"), joined.get(f"{output}/noise")
    snr = worst = None
    number = 0
    if signal is not None and noise is not None:
        snr = float(decibel(np.asarray(signal.sum()), np.asarray(noise.sum())))
        each = decibel(np.maximum(signal, 0.01 * signal.mean()), noise)  # as `worst sample`
        number = int(each.argmin())
        worst = float(each[number])
    elif agrees is not None:
        number = int(np.asarray(agrees).argmin())
    return Fidelity(
        output=output,
        reference=reference,
        inputs=inputs,
        samples=len(index),
        snr_db=snr,
        worst_db=worst,
        worst_sample=index[number],
        agreement=agreement,
    )


def write_parity(folder: Path, rows: Sequence[Fidelity]) -> None:
    """Write the rows of a float file beside PyTorch into its stage."""
    write_json(folder / PARITY, [asdict(row) for row in rows])


def read_parity(folder: Path) -> tuple[Fidelity, ...]:
    """Return what `write_parity` wrote there; nothing where no network was exported."""
    path = folder / PARITY
    if not path.exists():
        return ()
    content = json.loads(path.read_text(encoding="utf8"))
    return TypeAdapter(tuple[Fidelity, ...]).validate_python(content)
