"""Check that a quantized graph runs in ONNX Runtime and follows the float graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.errors import ModelError, NothingToDo
from edgekd.exporters.ort_session import Level, open_session, run

Samples = Sequence[Mapping[str, NDArray[Any]]]

LEAST_SNR_DB = 0.0
"""Below it there is more error than answer. What is good enough is the gate's to judge."""


class FloatAnswers:
    """The outputs of a float graph on some samples, computed once; quantized forms follow them."""

    def __init__(self, source: ModelProto, samples: Samples, *, name: str) -> None:
        """Run the float graph.

        Args:
            source: the float graph.
            samples: calibration samples, one at a time.
            name: of the float file, for messages.

        Raises:
            ModelError: it cannot be run.
        """
        self.name = name
        self.samples = samples
        self.outputs = [value.name for value in source.graph.output]
        session = open_session(bytes(source.SerializeToString()), name=name)
        self._answers = [run(session, self.outputs, dict(s), name=name) for s in samples]

    def compare(self, quantized: ModelProto) -> dict[str, float]:
        """Return noise / signal of each output of a quantized form: energies over all samples.

        An output without float values, or without signal, has no noise.

        Raises:
            ModelError: ONNX Runtime cannot load or run it, an output has another shape, or is NaN
                or infinite where the float one is not.
        """
        # As the file is written: what kernels of one processor round otherwise decides nothing.
        session = open_session(
            bytes(quantized.SerializeToString()), level=Level.ORT_DISABLE_ALL, name="it unfused"
        )
        signal, noise = dict.fromkeys(self.outputs, 0.0), dict.fromkeys(self.outputs, 0.0)
        for sample, want in zip(self.samples, self._answers, strict=True):
            got = run(session, self.outputs, dict(sample), name="the quantized form")
            for output, mine, other in zip(self.outputs, want, got, strict=True):
                energy, error = _energies(output, mine, other)
                signal[output] += energy
                noise[output] += error
        return {name: noise[name] / signal[name] if signal[name] else 0.0 for name in self.outputs}

    def head(self, count: int) -> FloatAnswers:
        """Return those of the first samples."""
        found = copy(self)
        found.samples, found._answers = self.samples[:count], self._answers[:count]
        return found

    def worst(self, quantized: ModelProto) -> float:
        """Return noise / signal of the worst output; infinite: the form does not run."""
        try:
            return max(self.compare(quantized).values(), default=0.0)
        except ModelError:
            return float("inf")


def check_follows(quantized: ModelProto, answers: FloatAnswers, *, form: str = "INT8") -> None:
    """Run a quantized graph, fused and as it is written, and compare every output.

    Raises:
        NothingToDo: ONNX Runtime cannot load or run it, an output has another shape, is NaN or
            infinite where the float one is not, or has more error than signal.
    """
    try:
        fused = open_session(bytes(quantized.SerializeToString()), name="the quantized form")
        for sample in answers.samples:
            run(fused, answers.outputs, dict(sample), name="the quantized form")
        noise = answers.compare(quantized)
    except ModelError as error:
        raise NothingToDo(
            f"the {form} form of {answers.name} does not run in ONNX Runtime: {error}"
        ) from error
    for output, share in noise.items():
        if decibel(share) < LEAST_SNR_DB:
            raise NothingToDo(
                f"the {form} form of {answers.name} does not follow the float file: the error of "
                f"its output {output!r} is greater than the output itself ({decibel(share):.1f} dB)"
            )


def decibel(share: float) -> float:
    """Return the signal-to-noise ratio in dB of noise / signal; infinite without noise."""
    return float(-10 * np.log10(share)) if share > 0 else float("inf")


def _energies(name: str, want: NDArray[Any], got: NDArray[Any]) -> tuple[float, float]:
    """Return the energy of an output and of its error; what is not finite in float is passed over.

    Raises:
        ModelError: the shapes differ, or only the quantized form is not finite.
    """
    if want.shape != got.shape:
        raise ModelError(f"output {name!r} has shape {list(got.shape)}, not {list(want.shape)}")
    if want.dtype.kind != "f":
        return 0.0, 0.0
    fit = np.isfinite(want)
    a, b = want[fit].astype(np.float64), got[fit].astype(np.float64)
    if not np.isfinite(b).all():
        raise ModelError(f"output {name!r} is NaN or infinite where the float file's is finite")
    return float((a**2).sum()), float(((a - b) ** 2).sum())
