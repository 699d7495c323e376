"""Statistics of an ONNX file: parameters, multiplications, INT8 layers, names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from edgekd.benchmarks import operators
from edgekd.exporters.file_facts import Entry, OnnxFacts
from edgekd.exporters.onnx_files import load_onnx, messages
from edgekd.exporters.shapes import fixed_shape, fold, infer_shapes, opset_of

_QUANTIZED_INPUTS = {  # inputs that may be weights or biases as integers
    **{name: product.integers for name, product in operators.PRODUCTS.items()},
    "DequantizeLinear": (0,),
}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
_EIGHT_BITS = {TensorProto.INT8, TensorProto.UINT8}
_FOUR_BITS = {TensorProto.INT4, TensorProto.UINT4}
_COUNTED = {name for name, product in operators.PRODUCTS.items() if product.count is not None}
_COUNTED |= operators.RECURRENT


def facts(path: Path, *, lengths: Mapping[str, int] | None = None) -> OnnxFacts:
    """Read the statistics of an ONNX file.

    Counted are Conv, ConvTranspose, Gemm, MatMul and recurrent layers and their integer forms,
    products of two activations (attention) included; additions of a bias are not.

    Args:
        path: an ONNX file, untrusted.
        lengths: of symbolic axes other than the batch, for `macs`: {"sequence": 128}.

    Raises:
        ModelError: it cannot be read.
    """
    model = load_onnx(path)
    flat = onnx.inliner.inline_local_functions(model) if model.functions else model
    fixed = fixed_shape(flat, 1, lengths=lengths)
    macs, in_int8 = _count_macs(fixed)
    if macs is None:  # old exporters compute shapes in the graph: at fixed lengths these fold
        macs, in_int8 = _count_macs(infer_shapes(fold(fixed, path.name)))
    nodes = sorted(node.op_type for node in messages(flat.graph, NodeProto))
    return OnnxFacts(
        parameters=sum(math.prod(tensor.dims) for tensor in _weights(flat.graph)),
        macs=macs,
        int8_share=in_int8 / macs if macs else None,
        int8_bytes_share=_share_of_bytes(flat.graph),
        size_bytes=max(path.stat().st_size, model.ByteSize()),  # the latter with external data
        opset=opset_of(model),
        inputs=tuple(_entry(value) for value in inputs_of(model)),
        outputs=tuple(_entry(value) for value in model.graph.output),
        operators=dict(Counter(nodes)),
        float_weights=_float_weights(flat.graph),
        float_type=find_float_type(flat) or "float32",
    )


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs a caller must give: old files list their weights among them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _entry(value: ValueInfoProto) -> Entry:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "?"
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in kind.shape.dim
    )
    return Entry(value.name, dtype, shape)


def _weights(graph: GraphProto) -> Iterator[TensorProto]:
    uses: dict[str, list[tuple[str, int]]] = {}
    constants = {tensor.name: tensor for tensor in messages(graph, TensorProto) if tensor.name}
    for node in messages(graph, NodeProto):
        for i, name in enumerate(node.input):
            uses.setdefault(name, []).append((node.op_type, i))
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    for name, tensor in constants.items():
        if any(i in _QUANTIZED_INPUTS.get(op, ()) for op, i in uses.get(name, ())) or (
            tensor.data_type in _FLOATS
            and tensor.dims
            and any(i not in operators.SCALES.get(op, ()) for op, i in uses.get(name, ()))
        ):
            yield tensor


def find_float_type(model: ModelProto) -> str:
    """Return the type that most float weights and biases of a model are stored in, or ""."""
    found = Counter[int]()
    for tensor in _weights(model.graph):
        if tensor.data_type in _FLOATS:
            found[tensor.data_type] += math.prod(tensor.dims)
    kinds = [onnx.helper.tensor_dtype_to_np_dtype(kind) for kind, _ in found.most_common(1)]
    return kinds[0].name if kinds else ""


def _share_of_bytes(graph: GraphProto) -> float | None:
    """Return which share of the bytes of all weights and biases are integers of 8 bits or fewer."""
    total, small = 0.0, 0.0
    for tensor in _weights(graph):
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        share = 0.5 if tensor.data_type in _FOUR_BITS else 1.0
        size_bytes = math.prod(tensor.dims) * kind.itemsize * share
        total += size_bytes
        small += size_bytes if tensor.data_type in _EIGHT_BITS | _FOUR_BITS else 0
    return small / total if total else None


def _float_weights(graph: GraphProto) -> dict[str, float]:
    """Return which share of the elements of all weights each operator reads as floats."""
    readers: dict[str, str] = {}
    for node in messages(graph, NodeProto):
        for name in node.input:
            readers.setdefault(name, node.op_type)
    found, total = Counter[str](), 0
    for tensor in _weights(graph):
        count = math.prod(tensor.dims)
        total += count
        if tensor.data_type in _FLOATS:
            found[readers.get(tensor.name, "Constant")] += count
    return {operator: found[operator] / total for operator in sorted(found)}


def _count_macs(model: ModelProto) -> tuple[int | None, int]:
    """Return the multiplications of all layers, and of those whose factors are 8-bit integers."""
    graph = model.graph
    shapes = _shapes(graph)
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    total, in_int8 = 0, 0
    for node in graph.node:
        inner = (n for a in node.attribute for n in messages(a, NodeProto))
        if any(n.op_type in _COUNTED for n in inner):
            return None, 0  # how often a loop or branch runs is not in the file
        if node.op_type not in _COUNTED:
            continue
        sizes = [shapes.get(name) for name in node.input]
        recurrent = node.op_type in operators.RECURRENT
        macs = (
            operators.recurrent_macs(sizes)
            if recurrent
            else operators.macs(node.op_type, sizes, shapes.get(node.output[0]))
        )
        if macs is None:
            return None, 0
        total += macs
        if recurrent:
            in_int8 += macs if node.op_type == "DynamicQuantizeLSTM" else 0
            continue
        product = operators.PRODUCTS[node.op_type]
        factors = [node.input[0], node.input[product.weight]]
        if product.int8 or all(_eight_bits(name, makers, constants) for name in factors):
            in_int8 += macs
    return total, in_int8


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes that are wholly known."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes.setdefault(value.name, tuple(dim.dim_value for dim in kind.shape.dim))
    return shapes


def _eight_bits(
    name: str, makers: Mapping[str, NodeProto], constants: Mapping[str, TensorProto]
) -> bool:
    """Tell whether a tensor is dequantized from 8-bit integers, seen through views."""
    node = makers.get(name)
    while node is not None and node.op_type in operators.SAME_VALUES:
        node = makers.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear":
        return False
    stored = constants.get(node.input[0])
    if stored is not None:
        return stored.data_type in _EIGHT_BITS
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    return zero is None or zero.data_type in _EIGHT_BITS  # without a zero point it is uint8
