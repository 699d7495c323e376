"""The files of a suite: found beside it or in a package, or made from those.

What is made here is for speed alone. Random weights and random calibration give a network of the
real shape whose answers mean nothing; a model that is to be used takes `edgekd quantize`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper

from edgekd.benchmarks.feeds import random_feeds
from edgekd.errors import ModelError, one_line
from edgekd.store import locate

if TYPE_CHECKING:
    import onnx

PACKAGE = "package:"
OPSET = 17  # INT8 per channel needs 13; files of older sets are raised to this one
IR_VERSION = 8  # what came with it
CALIBRATION_CALLS = 4
OFFSETS = {("Conv", 2), ("Gemm", 2), ("BatchNormalization", 2), ("BatchNormalization", 3)}
"""Operators, and which of their inputs are added: biases and means."""


def find_file(text: str, folder: Path) -> Path:
    """Return the file that a suite in `folder` means by `text`; no package is imported.

    Args:
        text: a path, relative ones from `folder`; or "package:NAME/path/inside/it".
        folder: of the suite.

    Raises:
        ValueError: the file or package does not exist.
    """
    if not text.startswith(PACKAGE):
        path = locate(text, root=folder)
        if not path.is_file():
            raise ValueError(f"there is no file {path}; give a path relative to the suite's folder")
        return path
    name, *inside = PurePosixPath(text.removeprefix(PACKAGE)).parts or ("",)
    if not name.isidentifier() or not inside or ".." in inside:
        raise ValueError(f"{text!r} is invalid; write {PACKAGE}NAME/path/inside/it.onnx")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{text!r}: no package {name} is installed here; pip install {name}")
    for location in spec.submodule_search_locations:
        path = Path(location, *inside)
        if path.is_file():
            return path
    raise ValueError(
        f"the installed package {name} does not contain {'/'.join(inside)}; correct the path, or "
        "install the version that contains it"
    )


def fill_weights(source: Path, target: Path, *, seed: int = 0) -> None:
    """Write the network with random numbers where the file has only the shape of a weight.

    In onnx's light files each weight is a ConstantOfShape. Weights are drawn normal
    with variance 2 / fan-in (He et al. 2015, arXiv:1502.01852, section 2.2), so that signals keep
    their size; factors between 1 and 1.1, offsets between 0 and 0.1. The operator set is raised to
    17, and a Sum of two becomes the Add that exporters write today and runtimes fuse.

    Args:
        source: an ONNX file.
        target: the file to write.
        seed: of the generator; equal seeds give equal bytes.

    Raises:
        ModelError: no such weight, or the operator set cannot be raised.
    """
    model = _load(source)
    graph = model.graph
    generator = np.random.default_rng(seed)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept, filled = [], 0
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in stored:
            shape = tuple(int(n) for n in numpy_helper.to_array(stored[node.input[0]]))
            name = node.output[0]
            uses = {(n.op_type, i) for n in graph.node for i, x in enumerate(n.input) if x == name}
            weight = _weight(shape, generator, offset=uses <= OFFSETS)
            graph.initializer.append(numpy_helper.from_array(weight, name))
            filled += 1
            continue
        if node.op_type == "Sum" and len(node.input) == 2:
            node.op_type = "Add"
        kept.append(node)
    if not filled:
        raise ModelError(
            f"{source} already has its weights: random_weights replaces only those that are a "
            "ConstantOfShape; leave random_weights out"
        )
    _replace(graph.node, kept)
    used = {name for node in kept for name in node.input}
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used])
    onnx.save(_raised(model, source), target)


def quantize_at_random(
    source: Path, target: Path, *, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Write the INT8 form as Q/DQ, with ranges from random inputs: to time it, not to use it.

    Activations are uint8 and weights int8 per output channel, which is what ONNX Runtime fuses on
    CPUs. The graph is folded first, or biases would not be constants and nothing would fuse.

    Args:
        source: an ONNX file with float32 weights.
        target: the file to write.
        shapes: of inputs by name, or of one number by the symbol of a free axis.

    Raises:
        ModelError: the file cannot be quantized.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    raised, folded = target.with_suffix(".raised"), target.with_suffix(".folded")
    model = _raised(_load(source), source)
    try:
        onnx.save(model, raised)
        with _quiet():
            quant_pre_process(str(raised), str(folded), skip_symbolic_shape=True)
            quantize_static(
                str(folded),
                str(target),
                _reader(random_calls(source, shapes)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    except Exception as error:  # onnxruntime raises bare Exceptions and assertions
        reason = one_line(error)[:300]
        raise ModelError(
            f"{source} cannot be quantized with random ranges ({type(error).__name__}: {reason}); "
            "leave "
            "int8 out, and name a quantized file among the variants"
        ) from error
    finally:
        raised.unlink(missing_ok=True)
        folded.unlink(missing_ok=True)


def random_calls(
    model: Path, shapes: Mapping[str, tuple[int, ...]]
) -> list[dict[str, NDArray[Any]]]:
    """Return random inputs of a few calls, others than those that it is timed with."""
    drawn = random_feeds(
        model,
        samples=CALIBRATION_CALLS,
        shapes=shapes,
        lengths={name: shape[0] for name, shape in shapes.items() if len(shape) == 1},
        seed=1,
    )
    return [
        {name: array[call] for name, array in drawn.items()} for call in range(CALIBRATION_CALLS)
    ]


def _reader(calls: list[dict[str, NDArray[Any]]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(calls)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._left, None)

    return Reader()


def _weight(
    shape: tuple[int, ...], generator: np.random.Generator, *, offset: bool
) -> NDArray[np.float32]:
    if len(shape) < 2:
        return (0.1 * generator.random(shape) + (0 if offset else 1)).astype(np.float32)
    fan_in = max(1, int(np.prod(shape[1:])))
    normal = generator.standard_normal(shape) * np.sqrt(2 / fan_in)
    return np.asarray(normal, np.float32)


def _load(source: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(source, format="protobuf")
    except (OSError, DecodeError) as error:
        raise ModelError(
            f"{source} cannot be read as an ONNX file ({error}); copy it again"
        ) from error
    stored = {tensor.name for tensor in model.graph.initializer}
    # Before IR 4 weights had to be listed as inputs; later this means that they are not constants.
    inputs = [value for value in model.graph.input if value.name not in stored]
    _replace(model.graph.input, inputs)
    return model


def _raised(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    """Raise the operator set, unless INT8 per channel can be written in it."""
    found = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if found >= OPSET:
        return model
    model.ir_version = max(model.ir_version, IR_VERSION)
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = one_line(error)[:300]
        raise ModelError(
            f"{source} is of operator set {found} and cannot be raised to {OPSET} ({reason}); "
            "export it again with opset 18 or more"
        ) from error


def _replace(container: Any, items: list[Any]) -> None:
    del container[:]
    container.extend(items)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the quantizer's output for a file that is only timed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
