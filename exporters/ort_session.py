"""Open ONNX Runtime sessions in this process: for quality, not for timing.

Timings come from `benchmarks/runner.py`. It goes to a device without edgekd and opens its own
sessions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.benchmarks.feeds import model_inputs
from edgekd.benchmarks.wide_weights import is_wide
from edgekd.data.dataset import Arrays
from edgekd.errors import ModelError

BATCH = 64
"""Samples in one call where a file leaves its batch free."""

Level = onnxruntime.GraphOptimizationLevel
IN_FLOAT = (("session.disable_quant_qdq", "1"),)
"""Of a session that dequantizes and computes in float, as the file is written."""


def open_session(
    source: Path | bytes,
    *,
    threads: int = 1,
    level: Any = Level.ORT_ENABLE_ALL,
    written_to: Path | None = None,
    name: str = "",
    options: tuple[tuple[str, str], ...] = (),
) -> Any:
    """Open an ONNX file, or its bytes, on the CPU, quietly and deterministically.

    A file whose name says that its sums need 32 bits is computed in float, see `is_wide`.

    Args:
        source: a file, or what one contains.
        threads: of one operator; operators run one after the other.
        level: how far ONNX Runtime optimizes the graph.
        written_to: a file that gets the optimized graph.
        name: of the model in messages; its path if left out.
        options: of the session, by ONNX Runtime's own names.

    Raises:
        ModelError: it cannot be loaded: missing, broken, or an operator is not known.
    """
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = level
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    # Between calls this process has other work for its cores than to watch idle threads spin.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if isinstance(source, Path) and is_wide(source.name):
        options = (*IN_FLOAT, *options)
    for key, value in options:
        settings.add_session_config_entry(key, value)
    settings.log_severity_level = 4  # its errors also come as exceptions
    if written_to is not None:
        settings.optimized_model_filepath = str(written_to)
    model = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        named = name or ("the model" if isinstance(source, bytes) else source)
        raise ModelError(f"ONNX Runtime cannot load {named}: {_first_words(error)}") from error


def predictor(
    path: Path, *, threads: int = 1, level: Any = Level.ORT_ENABLE_ALL
) -> Callable[[Arrays], Arrays]:
    """Return a function that runs an ONNX file: named inputs to named outputs.

    Kernels are deterministic, so that equal inputs give equal outputs. Inputs that the file does
    not know are left out. A file whose first axis is fixed is called as often as it takes.

    Raises:
        ModelError: ONNX Runtime cannot load the file; when called: an input is missing or does
            not fit.
    """
    session = open_session(path, threads=threads, level=level)
    inputs = [entry.name for entry in session.get_inputs()]
    outputs = [entry.name for entry in session.get_outputs()]

    def predict(arrays: Arrays) -> Arrays:
        missing = [name for name in inputs if name not in arrays]
        if missing:
            raise ModelError(
                f"{path} needs the inputs {inputs} and {missing} were not given; "
                f"the data gives {sorted(arrays)}"
            )
        found = run(session, outputs, {name: arrays[name] for name in inputs}, name=str(path))
        return dict(zip(outputs, found, strict=True))

    fixed = batch_size(path, default=0)
    return in_batches_of(fixed, predict) if fixed else predict


def in_batches_of(size: int, predict: Callable[[Arrays], Arrays]) -> Callable[[Arrays], Arrays]:
    """Return `predict` for any number of samples, where it takes `size` of them at once.

    The last sample is repeated to fill the last batch. Inputs of other lengths than the first one
    are no samples and are given whole.
    """

    def run_all(inputs: Arrays) -> Arrays:
        samples = len(next(iter(inputs.values()), ()))
        if samples == size or not samples:
            return predict(inputs)
        rows = np.minimum(np.arange(-(-samples // size) * size), samples - 1)
        found = [
            predict(
                {
                    name: array[rows[start : start + size]] if len(array) == samples else array
                    for name, array in inputs.items()
                }
            )
            for start in range(0, len(rows), size)
        ]
        return {name: np.concatenate([part[name] for part in found])[:samples] for name in found[0]}

    return run_all


def run(session: Any, outputs: list[str], feeds: Arrays, *, name: str) -> list[NDArray[Any]]:
    """Run a session once and return its outputs in the given order.

    Raises:
        ModelError: the inputs do not fit or a kernel fails; `name` is the file in the message.
    """
    try:
        found: list[NDArray[Any]] = session.run(outputs, feeds)
    except Exception as error:
        given = {key: f"{value.dtype} {list(value.shape)}" for key, value in feeds.items()}
        raise ModelError(f"{name} cannot be run on {given}: {_first_words(error)}") from error
    return found


def batch_size(path: Path, *, default: int = BATCH) -> int:
    """Return how many samples to give a file at once: its fixed first axis, or `default`.

    Raises:
        ModelError: see `model_inputs`.
    """
    first = next((entry.shape[0] for entry in model_inputs(path) if entry.shape), "")
    return first if isinstance(first, int) else default


def optimized(
    source: Path | bytes, *, level: Any = Level.ORT_ENABLE_ALL, name: str = ""
) -> ModelProto:
    """Return the graph that ONNX Runtime would run on this machine.

    Raises:
        ModelError: it cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        target = Path(folder, "optimized.onnx")
        open_session(source, level=level, written_to=target, name=name)
        return onnx.load(target)


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
