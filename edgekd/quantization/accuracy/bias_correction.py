"""Bias correction: take the mean error of each output channel out of the layer's bias.

Rounded weights and clipped activations shift the mean of what a layer gives (Nagel et al. 2019,
arXiv 1906.04721, section 4.2; the empirical form). The shift is measured on calibration samples
with the layer alone rounded, so that the layers do not depend on one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.quantization.accuracy.layer_errors import LayerError
from edgekd.quantization.node_selection import find_readers
from edgekd.quantization.plan import Layer, Plan


def correct_biases(
    model: ModelProto, plan: Plan, errors: Mapping[str, LayerError]
) -> tuple[ModelProto, Plan]:
    """Return the graph and its plan with the mean errors added to the biases.

    A Conv or Gemm gets its bias in the plan. The bias of a MatMul is the constant of an Add behind
    it, and is changed in the graph; without such an Add the MatMul stays as it is.

    Args:
        model: the float graph of the plan; it is not changed.
        plan: of it.
        errors: of its layers, float minus rounded.
    """
    layers: dict[str, Layer] = {}
    changed = ModelProto()
    changed.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in changed.graph.initializer}
    readers = find_readers(model)
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        layer, error = plan.layers.get(node.name), errors.get(node.name)
        if layer is None or error is None or not np.isfinite(error.mean).all():
            continue
        if node.op_type != "MatMul":
            layers[node.name] = _shifted(layer, error.mean)
        elif node.output[0] not in outputs:
            added = _added(readers.get(node.output[0], ()), readers, constants)
            if added is not None:
                _shift(added, error.mean)
    return changed, replace(plan, layers={**plan.layers, **layers})


def _shifted(layer: Layer, mean: NDArray[np.float64]) -> Layer:
    bias = mean if layer.bias is None else layer.bias.astype(np.float64) + mean
    return replace(layer, bias=bias.astype(np.float32))


def _added(
    users: Sequence[NodeProto],
    readers: Mapping[str, Sequence[NodeProto]],
    constants: Mapping[str, TensorProto],
) -> TensorProto | None:
    """Return the constant vector that the only reader of a product adds to it."""
    if len(users) != 1 or users[0].op_type != "Add" or users[0].domain:
        return None
    found = [constants[name] for name in users[0].input if name in constants]
    if len(found) != 1 or found[0].data_type != TensorProto.FLOAT or len(found[0].dims) != 1:
        return None
    return found[0] if len(readers[found[0].name]) == 1 else None


def _shift(constant: TensorProto, mean: NDArray[np.float64]) -> None:
    value = numpy_helper.to_array(constant)
    if value.shape == mean.shape:
        shifted = (value.astype(np.float64) + mean).astype(np.float32)
        constant.CopyFrom(numpy_helper.from_array(shifted, constant.name))
