"""What onnxruntime's quantizer leaves to be done: three repairs that cost no speed."""

from __future__ import annotations

from graphlib import TopologicalSorter

from onnx import ModelProto, NodeProto
from onnx_ir.passes import common

from edgekd.benchmarks.operators import QDQ
from edgekd.exporters.onnx_files import SIZE_LIMIT_BYTES, apply_passes, messages
from edgekd.quantization.node_selection import Choice


def mend(quantized: ModelProto, source: ModelProto, choice: Choice) -> ModelProto:
    """Return the graph with needless rounding and needless bytes taken out.

    1. An answer that a Gemm or MatMul gives keeps its float form: ONNX Runtime's INT8 kernels
       write float as cheaply as 8 bits, and logits of 8 bits would tie.
    2. Operators that stay float read the float tensor where it exists anyway: the quantizer
       sends its rounded form to all, which in transformers rounds the residual stream.
    3. Constants of equal value are shared, names of Q/DQ tensors shortened and inferred shapes
       left out: a fifth of a small file.

    Args:
        quantized: as the quantizer returned it.
        source: the float graph it was made from.
        choice: what was to be quantized.
    """
    result = ModelProto()
    result.CopyFrom(quantized)
    _float_answers(result)
    _float_readers(result, source, choice)
    result = apply_passes(
        result,
        common.RemoveUnusedNodesPass(),
        common.DeduplicateInitializersPass(size_limit=SIZE_LIMIT_BYTES),
    )
    _shorten(result)
    del result.graph.value_info[:]
    _sort(result)
    return result


def _float_answers(model: ModelProto) -> None:
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = [name for node in model.graph.node for name in node.input]
    for output in model.graph.output:
        dequantize = makers.get(output.name)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            continue
        quantize = makers.get(dequantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        maker = makers.get(quantize.input[0])
        alone = readers.count(quantize.input[0]) == 1 and output.name not in readers
        if maker is None or maker.op_type not in ("Gemm", "MatMul") or not alone:
            continue
        maker.output[0] = output.name
        model.graph.node.remove(quantize)
        model.graph.node.remove(dequantize)


def _float_readers(model: ModelProto, source: ModelProto, choice: Choice) -> None:
    """Let float operators read a float tensor directly where a float operator makes it."""
    chosen = set(choice.nodes)
    rounded = {name for node in source.graph.node if node.name in chosen for name in node.output}
    if choice.kind == "transformer":
        rounded = set()  # there the chosen products write float
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name in chosen or node.op_type in QDQ:
            continue
        for i, name in enumerate(node.input):
            dequantize = makers.get(name)
            if dequantize is None or dequantize.op_type != "DequantizeLinear":
                continue
            quantize = makers.get(dequantize.input[0])
            if quantize is not None and quantize.input[0] not in rounded:
                node.input[i] = quantize.input[0]


def _sort(model: ModelProto) -> None:
    """Put every node after those it reads from: the quantizer appends its own at the end.

    onnx-ir's pass gives another valid order, and so would change the bytes of every INT8 file.
    """
    nodes = list(model.graph.node)
    makers = {name: i for i, node in enumerate(nodes) for name in node.output}
    needs = {
        i: sorted(makers[name] for name in _read(node) if name in makers)
        for i, node in enumerate(nodes)
    }
    order = [nodes[i] for i in TopologicalSorter(needs).static_order()]
    del model.graph.node[:]
    model.graph.node.extend(order)


def _read(message: ModelProto | NodeProto) -> set[str]:
    """Return every name that a node takes, in subgraphs as well."""
    return {name for node in messages(message, NodeProto) for name in node.input}


def _shorten(model: ModelProto) -> None:
    """Name what Q/DQ brought by numbers, and 8-bit weights as the float ones were named."""
    outputs = {value.name for value in model.graph.output}
    taken = outputs | _read(model)
    names: dict[str, str] = {}

    def give(name: str, wish: str) -> None:
        if name not in outputs and name not in names and wish not in taken:
            names[name] = wish
            taken.add(wish)

    for node in model.graph.node:
        prefix = {"QuantizeLinear": "q", "DequantizeLinear": "dq"}.get(node.op_type)
        if prefix is None:
            continue
        node.name = f"{prefix}{len(names)}"
        give(node.output[0], f"{prefix}{len(names)}")
        for kind, name in zip(("scale", "zero"), node.input[1:], strict=False):
            give(name, f"{kind}{len(names)}")
        give(node.input[0], node.input[0].removesuffix("_quantized"))
    _rename(model, names)
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    for node in messages(model, NodeProto):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
