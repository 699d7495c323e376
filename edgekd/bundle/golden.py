"""Golden outputs: what each variant computes for a few samples, and the tolerance.

The tolerance is a share of the output's scale (its greatest magnitude over all golden samples).
FP32 kernels of different CPUs add in different order: 1e-4. An INT8 file rounds at every layer, and
kernels round differently: ResNet-20 differs by 1.7 % of the scale between ONNX Runtime's fused
integer kernels and the same graph computed in float, so 5 % is allowed; more means another file, or
sums that were cut off, which `edgekd.quantization.saturation` prevents. Besides, a winner that
leads by more than the tolerance must win.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.feeds import Input, save_feeds
from edgekd.bundle.manifest import Tolerance
from edgekd.bundle.samples import JPEG, WANTED, Sample
from edgekd.data.preprocess import ImagePreprocess, Preprocess
from edgekd.errors import ModelError, VerifyFailed

Arrays = Mapping[str, NDArray[Any]]
Predictor = Callable[[Arrays], Arrays]

INPUTS = "golden/inputs.npz"
RULE = (
    "absolute: the greatest difference of any element. same_winner: an answer whose greatest class "
    "leads the second by more than that must keep it. fp32 1e-4, fp16 1 %, INT8 5 % of the scale."
)
_RELATIVE: Mapping[str, float] = {FP32: 1e-4, "fp16": 1e-2}
_INT8 = 0.05
_LEAST_SCALE = 1e-6
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Answered:
    """One sample, the tensors it becomes, and the outputs by variant.

    The first axis of tensors and outputs is 1. A file that takes more at once gets the sample as
    often as it takes.
    """

    sample: Sample
    inputs: Arrays
    outputs: Mapping[Variant, Arrays]


def answer(
    samples: Sequence[Sample],
    preprocess: Preprocess,
    predictors: Mapping[Variant, Predictor],
    *,
    batch: int = 1,
) -> list[Answered]:
    """Ask every variant; samples with an answer that is not finite come only if all have one.

    Then the infinite or NaN values must be the same in all variants.

    `batch` is how many samples the files take at once.

    Raises:
        ModelError: none is left.
    """
    found = []
    for sample in samples:
        inputs = {n: np.repeat(a, batch, axis=0) for n, a in preprocess.encode(sample).items()}
        outputs = {variant: dict(ask(inputs)) for variant, ask in predictors.items()}
        if all(_gaps_agree(outputs, name) for name in next(iter(outputs.values()))):
            found.append(Answered(sample, inputs, outputs))
    if not found:
        raise ModelError(
            f"{', '.join(predictors)}: all {len(samples)} golden samples give NaN or infinity, so "
            "there are no outputs to verify. Check the training and the scale of the input"
        )
    return [one for one in found if _is_finite(one)] or found


def _is_finite(one: Answered) -> bool:
    return all(np.isfinite(a).all() for said in one.outputs.values() for a in said.values())


def _gaps_agree(outputs: Mapping[Variant, Arrays], name: str) -> bool:
    """Return whether an output is infinite or NaN in the same places everywhere, if anywhere.

    A mask of minus infinity is ordinary; an output without any number is not.
    """
    first, *others = (np.asarray(said[name], np.float64) for said in outputs.values())
    gaps = ~np.isfinite(first)
    if gaps.any() and gaps.all():
        return False
    return all(
        np.array_equal(~np.isfinite(other), gaps)
        and np.array_equal(other[gaps], first[gaps], equal_nan=True)
        for other in others
    )


def choose(answered: Sequence[Answered], *, winners: str | None) -> list[Answered]:
    """Return up to four: those with a clear winner first, with different winners where possible.

    Args:
        answered: in order of preference.
        winners: the output of kind "classes", [1, classes]; None: the first four are taken.
    """
    if winners is None:
        return list(answered[:WANTED])
    limits = tolerances(answered, {winners})
    seen: set[int] = set()
    groups: tuple[list[Answered], ...] = ([], [], [])
    for one in answered:
        clear = all(
            _lead(said[winners]) > limits[variant][winners].absolute
            for variant, said in one.outputs.items()
        )
        winner = int(next(iter(one.outputs.values()))[winners].argmax())
        groups[0 if clear and winner not in seen else 1 if clear else 2].append(one)
        if clear:
            seen.add(winner)
    return [one for group in groups for one in group][:WANTED]


def _lead(output: NDArray[Any]) -> float:
    """Return how far the greatest class is before the second; rows of [n, classes] are equal."""
    second, first = np.sort(np.asarray(output[0], np.float64))[-2:]
    return float(first - second)


def has_winner(output: NDArray[Any]) -> bool:
    """Tell whether an output is one row of two classes or more, or that row several times."""
    is_row = output.ndim == 2 and output.shape[0] >= 1 and output.shape[1] >= 2
    return is_row and np.allclose(output, output[:1])


def tolerances(
    answered: Sequence[Answered], winners: set[str]
) -> dict[Variant, dict[str, Tolerance]]:
    """Return variant -> output -> how far it may be off; whole numbers must be equal."""
    limits: dict[Variant, dict[str, Tolerance]] = {}
    for variant, outputs in answered[0].outputs.items():
        relative = _RELATIVE.get(variant, _INT8)
        limits[variant] = {}
        for name, first in outputs.items():
            scale = max(_greatest(one.outputs[variant][name]) for one in answered)
            absolute = relative * max(scale, _LEAST_SCALE) if first.dtype.kind == "f" else 0.0
            same = name in winners and has_winner(first)
            limits[variant][name] = Tolerance(absolute=absolute, same_winner=same)
    return limits


def _greatest(output: NDArray[Any]) -> float:
    return float(np.abs(output[np.isfinite(output)]).max(initial=0.0))


def input_tolerances(
    answered: Sequence[Answered], files: Sequence[Mapping[str, str]], preprocess: Preprocess
) -> tuple[dict[str, float], ...]:
    """Return for each sample: input -> how far an app's tensor may be off.

    Pixels: 1, for libraries round differently (the loader of the bundle gets them exactly); 8 where
    the sample is a JPEG, which decoders do not read alike. Normalised pixels: the same in their
    unit. Other floats: 1e-4 of the scale. Other numbers: equal.
    """
    found = []
    for one, names in zip(answered, files, strict=True):
        limits = {}
        for name, array in one.inputs.items():
            limits[name] = 1e-4 * _greatest(array) if array.dtype.kind == "f" else 0.0
            if isinstance(preprocess, ImagePreprocess):
                levels = 8.0 if any(file.endswith(JPEG) for file in names.values()) else 1.0
                limits[name] = levels / (1.0 if preprocess.in_graph else min(preprocess.std))
        found.append(limits)
    return tuple(found)


def compare(expected: NDArray[Any], got: NDArray[Any], limit: Tolerance) -> tuple[float, str]:
    """Return the greatest difference, and what is wrong ("" if nothing is)."""
    if expected.shape != got.shape:
        return np.inf, f"has shape {list(got.shape)}, {list(expected.shape)} was expected"
    if expected.dtype != got.dtype:
        return np.inf, f"has type {got.dtype}, {expected.dtype} was expected"
    if expected.dtype.kind not in "biuf":
        return np.inf, f"has type {expected.dtype}, and numbers were expected"
    a, b = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    gaps = ~np.isfinite(a)
    if not np.isfinite(b[~gaps]).all():
        return np.inf, "contains NaN or infinity"
    if not np.array_equal(a[gaps], b[gaps], equal_nan=True):
        return np.inf, "lacks the infinity or NaN that was expected"
    difference = float(np.abs(a[~gaps] - b[~gaps]).max(initial=0.0))
    if difference > limit.absolute:
        return difference, f"differs by {difference:.3g}, {limit.absolute:.3g} is allowed"
    if limit.same_winner and has_winner(a) and _lead(a) > limit.absolute:
        old, new = int(a[0].argmax()), int(b[0].argmax())
        if old != new:
            return difference, f"predicts class {new}, class {old} was expected"
    return difference, ""


def without_filling(expected: NDArray[Any], got: NDArray[Any]) -> NDArray[Any]:
    """Return an output of a file with fixed axes without what it gives for filled-up inputs.

    A text is padded to the length of such a file; an output for each word is then longer.
    """
    longer = expected.ndim == got.ndim and all(
        have >= want for have, want in zip(got.shape, expected.shape, strict=True)
    )
    return got[tuple(map(slice, expected.shape))] if longer else got


def fit(
    arrays: Arrays, inputs: Sequence[Input], fill: Mapping[str, int] | None = None
) -> dict[str, NDArray[Any]]:
    """Return what a file takes; a fixed axis that is longer (padded text) is filled.

    Args:
        arrays: by the names of the inputs.
        inputs: of the file.
        fill: input -> value, where that is not 0.

    Raises:
        VerifyFailed: an input is missing, or too long for the file.
    """
    fitted = {}
    for entry in inputs:
        array = arrays.get(entry.name)
        if array is None or array.ndim != len(entry.shape):
            raise VerifyFailed(f"no golden array fits the input {entry.name!r} of this file")
        missing = [
            axis - have if isinstance(axis, int) else 0
            for axis, have in zip(entry.shape, array.shape, strict=True)
        ]
        if min(missing, default=0) < 0:
            raise VerifyFailed(
                f"the golden array {entry.name!r} has shape {list(array.shape)}, "
                f"and the file takes {list(entry.shape)}"
            )
        fitted[entry.name] = np.pad(
            array, [(0, n) for n in missing], constant_values=(fill or {}).get(entry.name, 0)
        )
    return fitted


def write_arrays(path: Path, rows: Sequence[Arrays]) -> None:
    """Write arrays of several samples as an .npz with the keys `<number>/<name>`."""
    save_feeds(path, {f"{i}/{name}": a for i, row in enumerate(rows) for name, a in row.items()})


def read_arrays(path: Path, count: int) -> list[dict[str, NDArray[Any]]]:
    """Read what `write_arrays` wrote, from an untrusted folder.

    Raises:
        VerifyFailed: it is damaged, too large, or contains no arrays of one of `count` samples.
    """
    rows: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > _MOST_BYTES:
                raise ValueError(f"it unpacks to more than {_MOST_BYTES:,} bytes")
            for member in members:
                number, slash, name = member.filename.removesuffix(".npy").partition("/")
                if not (slash and number.isdecimal() and int(number) < count):
                    raise ValueError(f"{member.filename!r} does not belong to a sample")
                with archive.open(member) as file:
                    rows[int(number)][name] = np.lib.format.read_array(file, allow_pickle=False)
    except (
        *(OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError),
        *(NotImplementedError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise VerifyFailed(
            f"{path.name!r} cannot be read ({error}); copy the bundle again"
        ) from error
    empty = [str(i) for i, row in enumerate(rows) if not row]
    if empty:
        raise VerifyFailed(f"{path.name!r} lacks the samples {', '.join(empty)}")
    return rows
