"""ONNX Runtime on a CPU: it loads the file here, and its optimized graph is read.

Compared is the graph at the extended level: the last level only changes how tensors lie in memory
and renames nodes for that. Measured on an Intel Xeon with VNNI (64 channels at 28 x 28, 64 x 512
by 512 x 512), ONNX Runtime 1.31.1, one thread: Conv with int8 activations 0.1 times as fast as in
float32, ConvInteger 0.06 times; uint8 weights 0.8 (Conv) and 0.96 times (MatMul, Gemm), int8
weights 2.4 to 3.2 times. int8 MatMul and Gemm ran as fast as uint8 there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import nan, prod
from pathlib import Path

import onnxruntime
from onnx import ModelProto, NodeProto

from edgekd.benchmarks.operators import PRODUCTS, RECURRENT
from edgekd.errors import ModelError
from edgekd.exporters.lint.cpu_fusion import (
    CLIPS,
    Reason,
    is_conversion,
    neighbours,
    on_x86,
    rounded_sides,
    why_float,
)
from edgekd.exporters.lint.cpu_weights import find_dequantized_weights, find_unsafe_sums
from edgekd.exporters.lint.finding import Finding, Lint, findings_of, listed
from edgekd.exporters.lint.graph import Graph, index, label, names
from edgekd.exporters.lint.layers import WEIGHTED, layers, output_axis, wrong_axis
from edgekd.exporters.lint.provider_operators import unknown_operators
from edgekd.exporters.lint.rules import apply_rules, is_quantized
from edgekd.exporters.ort_session import Level, optimized

RUNTIME = "cpu"
_LOW_BITS = frozenset({"MatMulNBits"})
_SMALL_SHARE = 0.05
"""Of the values that layers write: converting so many costs about as much of the time at most."""


def lint_cpu(path: Path, model: ModelProto) -> Lint:
    """Load a file in ONNX Runtime and explain what of its optimized graph is not INT8.

    Args:
        path: the file.
        model: what it contains.
    """
    by = f"ONNX Runtime {onnxruntime.__version__} on this CPU"
    file = index(model)
    try:
        best = Graph((loaded := optimized(path, level=Level.ORT_ENABLE_EXTENDED)).graph, loaded)
    except ModelError as error:
        unknown = findings_of(apply_rules(file, [unknown_operators]))
        fix = "export the file again, or for another operator set; what it names is the cause"
        refused = Finding(
            rule="not-loaded",
            weight="error",
            node="",
            reason=str(error),
            fix="" if unknown else fix,
        )
        return Lint(
            file=path.name,
            runtime=RUNTIME,
            known="run here",
            by=by,
            int8_layers=0,
            quantized=is_quantized(file),
            float_layers=sum(1 for scope in file.scopes() for _ in layers(scope)),
            findings=findings_of([refused], unknown, _axes(file)),
        )
    scopes = list(best.scopes())
    found = Counter(node.op_type for scope in scopes for node in scope.nodes)
    int8 = sum(found[name] for name, product in PRODUCTS.items() if product.int8)
    floats = [node for scope in scopes for node in _float_layers(scope)]
    int8 += sum(found[name] for name in _LOW_BITS)
    rounds = bool(int8 or found["QuantizeLinear"] or found["DequantizeLinear"])
    return Lint(
        file=path.name,
        runtime=RUNTIME,
        known="run here",
        by=by,
        int8_layers=int8,
        quantized=is_quantized(file),
        float_layers=len(floats),
        quantize_left=found["QuantizeLinear"],
        dequantize_left=found["DequantizeLinear"],
        findings=findings_of(
            _axes(file),
            _weigh(file, [one for scope in scopes for one in _unfused(scope, file)]),
            *(_slow_kernels(scope) for scope in scopes),
            _untouched(file, floats) if rounds else (),
            _half(file, found),
            *(find_unsafe_sums(scope) for scope in file.scopes()),
        ),
    )


def _float_layers(graph: Graph) -> Iterator[NodeProto]:
    """Yield the products of a graph that have constant weights and run in float."""
    for node in graph.nodes:
        product = PRODUCTS.get(node.op_type)
        place = product.weight if product else 1
        known = (product is not None and not product.int8) or node.op_type in RECURRENT
        inputs = list(node.input)
        fits = known and node.op_type not in _LOW_BITS and len(inputs) > place
        if fits and graph.rounded_constant(inputs[place]) is not None:
            yield node


def _unfused(best: Graph, file: Graph) -> Iterator[Finding]:
    """Explain each QuantizeLinear and DequantizeLinear that runs by itself."""
    told: set[str] = set()
    for node in best.nodes:
        if is_conversion(node):
            continue
        reads, written = rounded_sides(best, node)
        left = [n for n in neighbours(best, node) if n.output[0] not in told]
        is_layer = node.op_type.removeprefix("Fused") in WEIGHTED and _rounded(best, node)
        if not (reads and written) and not is_layer:
            continue
        scope, original = _original(file, node)
        why = why_float(scope, original)
        told.update(n.output[0] for n in left)
        yield _finding(original, why, left)
    for found, pair in _requantized(best, file):
        told.update(n.output[0] for n in pair)
        yield found
    rest = [n for n in best.nodes if is_conversion(n) and n.output[0] not in told]
    for node, layer, why in find_dequantized_weights(best, file, rest):
        told.add(node.output[0])
        yield _finding(layer, why, [node])
    rest = [n for n in rest if n.output[0] not in told]
    yield from _edges(best, rest)


def _rounded(graph: Graph, node: NodeProto) -> bool:
    """Tell whether data and weight of a layer are both rounded."""
    return all(graph.dequantized(name) is not None for name in node.input[:2])


def _requantized(best: Graph, file: Graph) -> Iterator[tuple[Finding, list[NodeProto]]]:
    """Explain each tensor that goes from one grid of integers to another through float."""
    for node in best.nodes:
        before = best.maker(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if before is None or before.op_type != "DequantizeLinear":
            continue
        scope, original = _original(file, node)
        between = scope.maker(original.input[0])
        if between is not None and between.op_type in CLIPS:
            original, why = between, why_float(scope, between)
        else:
            why = Reason(
                "two-grids",
                "two Q/DQ pairs with other scales or zero points follow each other",
                "take one of the pairs away, or give both the same scale and zero point",
            )
        pair = [before, node]
        yield _finding(original, why, pair), pair


def _finding(node: NodeProto, why: Reason, left: Sequence[NodeProto]) -> Finding:
    return Finding(
        rule=why.rule,
        weight="warning",
        node=label(node),
        operator=node.op_type,
        reason=why.reason,
        fix=why.fix,
        detail=why.detail,
        left=names(left),
    )


def _edges(best: Graph, rest: Sequence[NodeProto]) -> Iterator[Finding]:
    """Note the conversions at the ends of integer parts: they are needed as the file is."""
    entry = [n for n in rest if n.op_type == "QuantizeLinear" and n.input[0] in best.inputs]
    leave = [n for n in rest if n.op_type == "DequantizeLinear" and n.output[0] in best.outputs]
    ends = {n.output[0] for n in [*entry, *leave]}
    inner = [n for n in rest if n.output[0] not in ends]
    sides = [f"{len(entry)} at the inputs"] * bool(entry) + [f"{len(leave)} at the outputs"] * bool(
        leave
    )
    for nodes, reason in (
        ([*entry, *leave], f"inputs and outputs of the graph are float ({', '.join(sides)})"),
        (inner, f"parts of the graph are float ({_kinds(best, inner)})"),
    ):
        if nodes:
            yield Finding(
                rule="float-edges" if nodes is inner else "entry-or-exit",
                weight="note",
                node="",
                reason=f"{reason}: tensors are converted there, which is needed",
                fix="",
                left=names(nodes),
            )


def _kinds(best: Graph, conversions: Sequence[NodeProto]) -> str:
    around = Counter[str]()
    for node in conversions:
        maker = best.maker(node.input[0])
        if node.op_type == "DequantizeLinear":
            around.update(r.op_type for r in best.readers.get(node.output[0], []))
        elif maker is not None:
            around[maker.op_type] += 1
    return listed([kind for kind, _ in around.most_common()]) or "nothing else reads them"


def _weigh(file: Graph, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Make notes of nodes without a kernel where the tensors they convert are a small share.

    A mean over 7 x 7 pixels at the end converts a thousandth of what the layers wrote.
    """
    written = _elements(file, [layer.node for layer in layers(file)])
    bare = {found.node for found in findings if found.rule == "no-kernel"}
    converted = _elements(file, [n for n in file.nodes if label(n) in bare], inputs=True)
    small = 0 < converted <= _SMALL_SHARE * written
    for found in findings:
        small_one = small and found.rule == "no-kernel"
        yield replace(found, weight="note") if small_one else found


def _elements(graph: Graph, nodes: Sequence[NodeProto], *, inputs: bool = False) -> float:
    """Return the values that nodes write, or read and write, at batch 1; nan: not known."""
    tensors = [n.output[0] for n in nodes] + [n.input[0] for n in nodes if inputs and n.input]
    dims = [graph.dims(name) for name in tensors]
    return float(sum(prod(d or 1 for d in shape) if shape else nan for shape in dims))


def _original(file: Graph, node: NodeProto) -> tuple[Graph, NodeProto]:
    """Return the node of the file that a float node of the optimized graph was."""
    kind = node.op_type.removeprefix("Fused")
    for scope in file.scopes():
        for name in node.output:
            found = scope.makers.get(name)
            for _ in range(4):  # a fused node makes what the last of its nodes made
                if found is None or found.op_type == kind:
                    break
                found = scope.makers.get(found.input[0]) if found.input else None
            if found is not None:
                return scope, found
        if node.name:
            found = next((n for n in scope.nodes if n.name == node.name), None)
            if found is not None:
                return scope, found
    return file, node


def _axes(file: Graph) -> Iterator[Finding]:
    """Find weights whose scales lie along another axis than that of the output channels."""
    for scope in file.scopes():
        for layer in layers(scope):
            axis = wrong_axis(scope, layer)
            if axis is None or not layer.quantized:
                continue
            rank = len(scope.dims(layer.weight) or ())
            yield Finding(
                rule="weight-axis",
                weight="error",
                node=label(layer.node),
                operator=layer.node.op_type,
                reason=f"the scales of its weight lie along axis {axis}; the integer kernel takes "
                "them for those of the output channels: the result is wrong without a word, or "
                "the call fails",
                fix=f"quantize the weight along axis {output_axis(layer.node, rank)}",
            )


def _slow_kernels(best: Graph) -> Iterator[Finding]:
    """Find integer kernels that are slower than float ones."""
    for node in best.nodes:
        kind = node.op_type
        if kind == "ConvInteger":
            yield Finding(
                rule="conv-integer",
                weight="warning",
                node=label(node),
                operator=kind,
                reason="ConvInteger, of dynamic quantization, has no fast kernel: it is far "
                "slower than Conv in float32",
                fix="quantize convolutions statically, with samples (edgekd quantize), or leave "
                "them in float",
            )
        product = PRODUCTS.get(kind)
        if product is None or not product.int8 or not on_x86():
            continue
        if kind == "QLinearConv" and best.dtype(node.input[2]) == "int8":
            yield Finding(
                rule="signed-activations",
                weight="warning",
                node=label(node),
                operator=kind,
                reason="it computes on int8 activations, for which x86 has no fast convolution: "
                "far slower than float32",
                fix="quantize again with uint8 activations and int8 weights, in Q/DQ format "
                "(edgekd quantize; onnxruntime: activation_type=QuantType.QUInt8)",
            )
        elif len(node.input) > product.weight and _unsigned_weight(best, node, product.weight):
            yield Finding(
                rule="unsigned-weights",
                weight="warning",
                node=label(node),
                operator=kind,
                reason="its weights are uint8, and the 8-bit products of x86 (vpmaddubsw, "
                "vpdpbusd) are of uint8 activations with int8 weights",
                fix="quantize weights as int8, symmetric, per channel (onnxruntime: "
                "weight_type=QuantType.QInt8)",
            )


def _unsigned_weight(best: Graph, node: NodeProto, place: int) -> bool:
    return best.dtype(node.input[place]) == "uint8" and node.op_type not in _LOW_BITS


def _untouched(file: Graph, floats: Sequence[NodeProto]) -> Iterator[Finding]:
    """Note the layers that the file itself leaves in float."""
    bare = [
        (scope, layer)
        for scope in file.scopes()
        for layer in layers(scope)
        if layer.rounded is None
    ]
    if not floats or not bare:
        return
    for _, layer in bare:
        yield Finding(
            rule="float-layer",
            weight="note",
            node=label(layer.node),
            operator=layer.node.op_type,
            reason="the file stores its weight in float, and it runs in float",
            fix="",
        )


def _half(file: Graph, found: Counter[str]) -> Iterator[Finding]:
    before = sum(n.op_type == "Cast" for scope in file.scopes() for n in scope.nodes)
    halves = any(file.dtype(name) == "float16" for name in file.constants)
    if halves and found["Cast"] > before:
        yield Finding(
            rule="float16-on-cpu",
            weight="warning",
            node="",
            reason=f"the file is float16 and the CPU computes in float32: {found['Cast'] - before} "
            "Cast nodes were added",
            fix="run the float32 or the INT8 file on CPUs",
        )
