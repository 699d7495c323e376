"""Adaptive rounding: round weights so that the output of the layer errs least, not the weight.

Nagel et al. 2020 (AdaRound, arXiv 2004.10568, equation 6) choose up or down for each weight such
that E[(e x)^2] = e H e' is least, with e the error of the weights of one output channel and H =
E[x x'] over calibration samples. They relax it and train. Here it is descended coordinate by
coordinate: each weight in turn takes the better of its two neighbours. It never rises, and needs
no learning rate and no torch.

x are the integers of the activation's grid, and weights are taken to 1/256 of their step, so that
all sums are of whole numbers below 2**53: exact in float64, in any order, by any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.exporters.ort_session import open_session, run
from edgekd.exporters.pair_sums import LARGEST_SUM
from edgekd.quantization.accuracy.layer_errors import watch
from edgekd.quantization.plan import Grid, Layer, Plan
from edgekd.quantization.proof import Samples
from edgekd.quantization.saturation import find_partners
from edgekd.quantization.scales import round_layer

_SWEEPS = 3
"""Over all weights. The first takes nearly all that there is to gain."""
_BLOCK = 64
"""Columns between two products of whole matrices: the steps inside touch only these."""
_DAMPING = 0.01
"""Of the mean energy of an input, added to each: samples are few, and others differ."""
_MOST_INPUTS = 4608
"""Of an output: H has its square in numbers, 170 MB."""
_MOST_NUMBERS = 32 * 2**20
"""In all H that are held at once, 256 MB; the samples of these layers take about as much."""
_ROWS = 32
"""Places of one sample: neighbours tell little more."""
_FRACTION = 256.0
"""Parts of a step of a weight."""


def round_adaptively(model: ModelProto, plan: Plan, samples: Samples, *, name: str) -> Plan:
    """Return a plan whose layers round their weights for the least error of their outputs.

    Layers that read pixels, share a weight, or have very many inputs for one output stay as
    they are.

    Args:
        model: the float graph of the plan.
        plan: of it.
        samples: one at a time.
        name: of the file, for messages.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = [layer.weight for layer in plan.layers.values()]
    nodes = [
        node
        for node in model.graph.node
        if (layer := plan.layers.get(node.name)) is not None
        and layer.pixels is None
        and uses.count(layer.weight) == 1
        and _inputs(layer, weights[layer.weight]) <= _MOST_INPUTS
        and not any(a.name == "transA" and a.i for a in node.attribute)
    ]
    layers = dict(plan.layers)
    for group in _groups_of(nodes, plan.layers, weights):
        energies = _measure(model, group, plan, weights, samples, name)
        for node in group:
            layer = plan.layers[node.name]
            weight = numpy_helper.to_array(weights[layer.weight])
            layers[node.name] = _rounded(layer, weight, energies[node.name])
    return replace(plan, layers=layers)


def descend(
    exact: NDArray[np.float64],
    whole: NDArray[np.float64],
    energy: NDArray[np.float64],
    partners: Sequence[Sequence[int]] | None = None,
) -> NDArray[np.float64]:
    """Return integers that lower the error e H e' of each row, e = whole - exact.

    None of them leaves -127..127 or its place next to the exact value, unless it was given so.

    Args:
        exact: weights in units of their scale, [groups, outputs, inputs].
        whole: the same rounded to the nearest integers, -127..127.
        energy: H, [groups, inputs, inputs], symmetric.
        partners: of each input: with these it may not sum up to more than 16 bits allow.
    """
    found = whole.copy()
    low = np.minimum(np.clip(np.floor(exact), -127, 127), whole)
    high = np.maximum(np.clip(np.ceil(exact), -127, 127), whole)
    inputs = energy.shape[-1]
    diagonal = np.maximum(np.diagonal(energy, axis1=1, axis2=2), 1.0)[:, None]
    for _ in range(_SWEEPS):
        before = found.copy()
        for start in range(0, inputs, _BLOCK):
            stop = min(start + _BLOCK, inputs)
            gradient = (found - exact) @ energy[:, :, start:stop]
            for j in range(start, stop):
                wanted = found[..., j] + np.rint(-gradient[..., j - start] / diagonal[..., j])
                wanted = wanted.clip(low[..., j], high[..., j])
                for other in partners[j] if partners is not None else ():
                    sums = found[..., other]
                    wanted = wanted.clip(-LARGEST_SUM - sums, LARGEST_SUM - sums)
                step = wanted - found[..., j]
                found[..., j] = wanted
                gradient += step[..., None] * energy[:, None, j, start:stop]
        if (found == before).all():
            break
    return found


def _inputs(layer: Layer, weight: TensorProto) -> int:
    return int(np.prod(weight.dims) // weight.dims[layer.axis])


def _attribute(node: NodeProto, name: str, default: Sequence[int]) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), list(default))


def _group_count(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def _groups_of(
    nodes: Sequence[NodeProto], layers: Mapping[str, Layer], weights: Mapping[str, TensorProto]
) -> Iterator[list[NodeProto]]:
    """Cut layers into parts whose H fit into memory together."""
    part: list[NodeProto] = []
    held = 0
    for node in nodes:
        layer = layers[node.name]
        size = _group_count(node) * _inputs(layer, weights[layer.weight]) ** 2
        if part and held + size > _MOST_NUMBERS:
            yield part
            part, held = [], 0
        part.append(node)
        held += size
    if part:
        yield part


def _measure(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    plan: Plan,
    weights: Mapping[str, TensorProto],
    samples: Samples,
    name: str,
) -> dict[str, NDArray[np.float64]]:
    """Return H of each layer, [groups, inputs, inputs], in squares of a step of the activation."""
    tensors = list(dict.fromkeys(plan.layers[node.name].data for node in nodes))
    session = open_session(watch(model, tensors), name=name)
    seen: dict[str, list[NDArray[np.int16]]] = {node.name: [] for node in nodes}
    for sample in samples:
        arrays = dict(zip(tensors, run(session, tensors, dict(sample), name=name), strict=True))
        for node in nodes:
            layer = plan.layers[node.name]
            patches = cut_patches(node, arrays[layer.data], weights[layer.weight].dims[2:])
            seen[node.name].append(_steps(patches, plan.tensors[layer.data]))
    found: dict[str, NDArray[np.float64]] = {}
    for node in nodes:
        whole = np.concatenate(seen.pop(node.name), axis=1).astype(np.float64)
        found[node.name] = np.matmul(whole.transpose(0, 2, 1), whole)
    return found


def _steps(array: NDArray[np.float32], grid: Grid) -> NDArray[np.int16]:
    """Return an activation in steps of its grid, 0 for what is 0."""
    ends = np.iinfo(grid.dtype)
    whole = np.clip(np.rint(array / grid.scale) + grid.zero, ends.min, ends.max) - grid.zero
    result: NDArray[np.int16] = whole.astype(np.int16)
    return result


def cut_patches(
    node: NodeProto, array: NDArray[np.float32], kernel: Sequence[int]
) -> NDArray[np.float32]:
    """Return what a layer multiplies by its weight, [groups, places, inputs], at some places.

    Args:
        node: a Conv, MatMul or Gemm.
        array: what it reads.
        kernel: of a Conv, its lengths.
    """
    if node.op_type != "Conv":
        rows = array.reshape(1, -1, array.shape[-1])
        return rows[:, :: max(1, rows.shape[1] // _ROWS)]
    rank = len(kernel)
    groups = _group_count(node)
    pads, strides = _pads(node, array.shape[2:], kernel), _attribute(node, "strides", [1] * rank)
    dilations = _attribute(node, "dilations", [1] * rank)
    padded = np.pad(array, [(0, 0), (0, 0), *pads])
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    axes = tuple(range(2, 2 + rank))
    windows = sliding_window_view(padded, spans, axis=axes)
    places = tuple(slice(None, None, s) for s in strides)
    inside = tuple(slice(None, None, d) for d in dilations)
    windows = windows[(slice(None), slice(None), *places, *inside)]
    flat = np.moveaxis(windows, 1, 1 + rank)  # [batch, places..., channels, kernel...]
    shape = flat.shape
    count = int(np.prod(shape[: 1 + rank]))
    chosen = np.unravel_index(np.arange(0, count, max(1, count // _ROWS)), shape[: 1 + rank])
    some = flat[chosen].reshape(len(chosen[0]), groups, -1)
    result: NDArray[np.float32] = np.ascontiguousarray(some.transpose(1, 0, 2))
    return result


def _pads(node: NodeProto, lengths: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
    rank = len(kernel)
    mode = next((a.s for a in node.attribute if a.name == "auto_pad"), b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        strides = _attribute(node, "strides", [1] * rank)
        dilations = _attribute(node, "dilations", [1] * rank)
        found = []
        for n, k, s, d in zip(lengths, kernel, strides, dilations, strict=True):
            needed = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            small, large = needed // 2, needed - needed // 2
            found.append((small, large) if mode == b"SAME_UPPER" else (large, small))
        return found
    pads = _attribute(node, "pads", [0] * (2 * rank)) if mode == b"NOTSET" else [0] * (2 * rank)
    return list(zip(pads[:rank], pads[rank:], strict=True))


def _rounded(layer: Layer, weight: NDArray[np.float32], energy: NDArray[np.float64]) -> Layer:
    """Return a layer with integers of its own."""
    shape = [1] * weight.ndim
    shape[layer.axis] = -1
    scaled = weight.astype(np.float64) * layer.factor / layer.scale.reshape(shape)
    rows = np.moveaxis(np.rint(scaled * _FRACTION) / _FRACTION, layer.axis, 0)
    nearest = np.moveaxis(round_layer(layer, weight), layer.axis, 0).astype(np.float64)
    by_group = (len(energy), len(rows) // len(energy), -1)
    damped, places = energy.copy(), np.arange(energy.shape[-1])
    means = np.rint(_DAMPING * damped[:, places, places].mean(axis=1, keepdims=True))
    damped[:, places, places] += means
    partners = find_partners(np.moveaxis(weight, layer.axis, 0)[0]) if layer.pairwise else None
    found = descend(rows.reshape(by_group), nearest.reshape(by_group), damped, partners)
    back = np.moveaxis(found.reshape(rows.shape), 0, layer.axis).astype(np.int8)
    return replace(layer, integers=np.ascontiguousarray(back))
