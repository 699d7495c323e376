"""Compare the outputs of two forms of a network: where they differ, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Arrays


@dataclass(frozen=True, kw_only=True)
class OutputParity:
    """One output of both forms, over all samples.

    `relative` is the greatest difference as a share of the greatest magnitude of the reference:
    a bound on the output's own scale, not on each element, since an element near zero has no useful
    scale.
    """

    max_abs: float
    relative: float
    snr_db: float
    """Energy of the reference over that of the difference, in decibels; infinite if equal."""
    worst_sample: int
    """Index along the first axis of the sample with the greatest difference."""
    finite: bool
    reason: str = ""
    """Why it is not within the tolerance; empty if it is."""


@dataclass(frozen=True)
class Parity:
    """The comparison of all outputs of two forms of one network."""

    outputs: Mapping[str, OutputParity]
    rtol: float

    @property
    def finite(self) -> bool:
        """Whether no output of either form contains NaN or infinity."""
        return all(output.finite for output in self.outputs.values())

    @property
    def ok(self) -> bool:
        """Whether every output is finite, of equal shape and within `rtol` of its scale."""
        return not any(output.reason for output in self.outputs.values())

    def __str__(self) -> str:
        """Say the worst of each output, for an error's paragraph."""
        return "; ".join(
            f"output {name!r}: {o.reason or 'equal within the tolerance'}"
            for name, o in self.outputs.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is not finite becomes None."""
        outputs = {
            name: {k: _plain(v) for k, v in asdict(o).items()} for name, o in self.outputs.items()
        }
        return {"ok": self.ok, "finite": self.finite, "rtol": self.rtol, "outputs": outputs}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def parity(reference: Arrays, other: Arrays, *, rtol: float) -> Parity:
    """Compare the outputs of two forms of one network on equal inputs.

    Args:
        reference: output name to array, [samples, ...].
        other: the same of the other form. Outputs that only it has are not compared.
        rtol: the greatest difference allowed, as a share of the reference's greatest magnitude.
    """
    outputs = {}
    for name, array in reference.items():
        if name not in other:
            reason = f"it is missing; the other model gives {sorted(other)}"
            outputs[name] = _unknown(0, finite=True, reason=reason)
        elif array.shape != other[name].shape:
            shapes = f"shape {list(other[name].shape)}, {list(array.shape)} in the reference"
            outputs[name] = _unknown(0, finite=True, reason=shapes)
        else:
            outputs[name] = _compare(array, other[name], rtol)
    return Parity(outputs, rtol)


def _unknown(worst_sample: int, *, finite: bool, reason: str) -> OutputParity:
    nan = float("nan")
    return OutputParity(
        max_abs=nan,
        relative=nan,
        snr_db=nan,
        worst_sample=worst_sample,
        finite=finite,
        reason=reason,
    )


def _compare(reference: NDArray[Any], other: NDArray[Any], rtol: float) -> OutputParity:
    a, b = (np.asarray(x, dtype=np.float64) for x in (reference, other))
    if not a.size:
        return OutputParity(
            max_abs=0.0, relative=0.0, snr_db=float("inf"), worst_sample=0, finite=True
        )
    broken = ~(np.isfinite(a) & np.isfinite(b))
    if broken.any():
        worst = int(np.argmax(_per_sample(broken.astype(np.float64))))
        reason = f"{int(broken.sum())} elements are NaN or infinite, the first in sample {worst}"
        return _unknown(worst, finite=False, reason=reason)
    difference = np.abs(a - b)
    max_abs, scale = float(difference.max()), float(np.abs(a).max())
    relative = max_abs / scale if scale else (float("inf") if max_abs else 0.0)
    noise, signal = float((difference**2).sum()), float((a**2).sum())
    with np.errstate(divide="ignore"):
        snr_db = float(10 * np.log10(np.float64(signal) / noise)) if noise else float("inf")
    worst = int(np.argmax(_per_sample(difference)))
    reason = ""
    if relative > rtol:
        reason = (
            f"differs by {max_abs:.3g}, {relative:.3g} of its scale {scale:.3g} (at most {rtol:g} "
            f"allowed), most in sample {worst}"
        )
    return OutputParity(
        max_abs=max_abs,
        relative=relative,
        snr_db=snr_db,
        worst_sample=worst,
        finite=True,
        reason=reason,
    )


def _per_sample(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the greatest element of each sample; an array without axes is one sample."""
    greatest: NDArray[np.float64] = np.atleast_1d(array)
    greatest = greatest.reshape(len(greatest), -1).max(axis=1)
    return greatest
