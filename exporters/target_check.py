"""What a target wrote is run beside the file that it was made from, before it is called a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.feeds import Input, model_inputs, random_feeds
from edgekd.data.dataset import Arrays
from edgekd.errors import ModelError
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import Parity, parity
from edgekd.exporters.target import Source

GOLDEN = Path("golden/inputs.npz")
CALLS = 4
RTOL: Mapping[Variant | None, float] = {FP32: 1e-4, None: 1e-4, "fp16": 1e-2}
"""Of an output's scale; kernels of INT8 files round differently, to 5 %."""
_INT8 = 0.05


def sample_inputs(source: Source, file: Path) -> list[dict[str, NDArray[Any]]]:
    """Return inputs of a few calls: the golden ones of a bundle, else random ones.

    Raises:
        ModelError: the file cannot be read.
    """
    inputs = model_inputs(file)
    stored = source.path / GOLDEN
    if stored.is_file():
        found = _golden(stored, inputs)
        if found:
            return found
    lengths = {symbol: usual for symbol, (_, usual, _) in source.lengths.items()}
    drawn = random_feeds(file, inputs=inputs, samples=CALLS, lengths=lengths)
    return [{name: np.asarray(array[i]) for name, array in drawn.items()} for i in range(CALLS)]


def _golden(path: Path, inputs: Sequence[Input]) -> list[dict[str, NDArray[Any]]]:
    names = {entry.name for entry in inputs}
    rows: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for key in stored.files:
                number, _, name = key.partition("/")
                if name in names:
                    rows.setdefault(number, {})[name] = stored[key]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read ({error}); copy the bundle again") from error
    return [row for row in rows.values() if set(row) == names]


def answers(file: Path, inputs: Sequence[Arrays]) -> list[Arrays]:
    """Run an ONNX file on some calls.

    Raises:
        ModelError: ONNX Runtime cannot load or run it.
    """
    run = predictor(file)
    return [run(one) for one in inputs]


def describe_difference(
    want: Sequence[Arrays], got: Sequence[Arrays], variant: Variant | None
) -> tuple[bool, str]:
    """Return whether outputs are equal within the tolerance of a variant, and in words how near."""
    limit = RTOL.get(variant, _INT8)
    found = [parity(_numbers(a), _numbers(b), rtol=limit) for a, b in zip(want, got, strict=True)]
    wrong = next((one for one in found if not one.ok), None)
    if wrong is not None:
        return False, str(wrong)
    worst = max((_worst(one) for one in found), default=0.0)
    return True, f"within {100 * worst:.2g} % of the scale of its outputs, on {len(found)} calls"


def _worst(found: Parity) -> float:
    return max((output.relative for output in found.outputs.values()), default=0.0)


def _numbers(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the outputs that can be compared; infinite values that both have are set to zero."""
    return {
        n: np.nan_to_num(np.asarray(a, np.float64), posinf=0, neginf=0) for n, a in arrays.items()
    }
