"""Check that a quantized graph runs in ONNX Runtime and follows the float graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.errors import ModelError, NothingToDo
from edgekd.exporters.ort_session import Level, open_session, run

Samples = Sequence[Mapping[str, NDArray[Any]]]

LEAST_SNR_DB = 0.0
"""Below it there is more error than answer. What is good enough is the gate's to judge."""


def check_follows(
    quantized: ModelProto, source: ModelProto, samples: Samples, *, name: str
) -> None:
    """Run both graphs on samples and compare every output.

    Args:
        quantized: the graph that is to be written.
        source: the float graph.
        samples: calibration samples, one at a time.
        name: of the float file, for messages.

    Raises:
        NothingToDo: ONNX Runtime cannot load or run it, an output has another shape, is NaN or
            infinite where the float one is not, or has more error than signal.
    """
    outputs = [value.name for value in source.graph.output]
    signal, noise = dict.fromkeys(outputs, 0.0), dict.fromkeys(outputs, 0.0)
    # As the file is written: kernels of old x86 CPUs clip sums, which is not a fault of the file.
    reference = open_session(bytes(source.SerializeToString()), name=name)
    try:
        fused = open_session(bytes(quantized.SerializeToString()), name="the quantized form")
        written = open_session(
            bytes(quantized.SerializeToString()), level=Level.ORT_DISABLE_ALL, name="it unfused"
        )
        for sample in samples:
            want = run(reference, outputs, dict(sample), name=name)
            run(fused, outputs, dict(sample), name="the quantized form")
            got = run(written, outputs, dict(sample), name="the quantized form")
            for output, mine, other in zip(outputs, want, got, strict=True):
                energy, error = _energies(output, mine, other)
                signal[output] += energy
                noise[output] += error
    except ModelError as error:
        raise NothingToDo(
            f"the INT8 form of {name} does not run in ONNX Runtime: {error}"
        ) from error
    for output in outputs:
        if signal[output] and noise[output]:
            snr_db = 10 * np.log10(signal[output] / noise[output])
            if snr_db < LEAST_SNR_DB:
                raise NothingToDo(
                    f"the INT8 form of {name} does not follow the float file: the error of its "
                    f"output {output!r} is greater than the output itself ({snr_db:.1f} dB)"
                )


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
