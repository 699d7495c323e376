"""Why ONNX Runtime left a node of a Q/DQ graph in float on the CPU.

It replaces a node, the DequantizeLinear nodes before it and the QuantizeLinear behind it by one
integer kernel, if all of them fit. What must fit is in its qdq_selectors.cc, read at several
versions; tests try each rule below in the installed version, with and without the fault.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import NamedTuple

from onnx import NodeProto

from edgekd.benchmarks.operators import QDQ
from edgekd.exporters.lint.finding import listed
from edgekd.exporters.lint.graph import Graph, Quantization, attribute, names

REQUANTIZES = frozenset(
    {"Conv", "MatMul", "Gemm", "Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"}
    | {"LeakyRelu", "Sigmoid", "Softmax", "Where"}
)
"""Operators with an integer kernel that writes on a grid of its own."""
SAME_GRID = frozenset(
    {"MaxPool", "Resize", "Expand", "Flatten", "Gather", "GatherElements", "Reshape", "Slice"}
    | {"Squeeze", "Tile", "Transpose", "Unsqueeze", "ReduceMax", "ReduceMin", "Split"}
)
"""Operators that run on integers as they are, if both sides have one grid."""
CLIPS = ("Relu", "Clip")
X86 = ("x86_64", "amd64", "i386", "i686")
_CONVOLVES = ("Conv", "MatMul", "Gemm")
_FLOAT_RESULT = ("MatMul", "Gemm")
"""Have a kernel that writes float: nothing needs to stand behind them."""
_BITS_16 = ("int16", "uint16")


class Reason(NamedTuple):
    """Why, and what to do."""

    rule: str
    reason: str
    fix: str
    detail: str = ""


Rule = Callable[[Graph, NodeProto], Reason | None]


def on_x86() -> bool:
    """Tell whether this machine's CPU is an x86: its kernels want unsigned activations."""
    return platform.machine().lower() in X86


def why_float(graph: Graph, node: NodeProto) -> Reason:
    """Return the first rule that explains why a node between Q/DQ runs in float."""
    for rule in _RULES:
        found = rule(graph, node)
        if found is not None:
            return found
    return Reason(
        "unexplained",
        "none of the rules that lint knows explains it: ONNX Runtime left it in float",
        "report it with this file, or leave its tensors in float",
    )


def data_inputs(node: NodeProto) -> list[str]:
    """Return the inputs that an integer kernel takes in 8 bits."""
    inputs = list(node.input)
    if node.op_type in ("Conv", "Gemm", "MatMul", "Add", "Mul"):
        return inputs[:2]
    if node.op_type == "Where":
        return inputs[1:3]
    return inputs if node.op_type == "Concat" else inputs[:1]


def quantizers(graph: Graph, node: NodeProto) -> tuple[list[NodeProto], NodeProto | None]:
    """Return what reads the output of a node, and the Relu or Clip that is passed over."""
    readers = graph.readers.get(node.output[0], [])
    if len(readers) == 1 and readers[0].op_type in CLIPS and node.op_type in REQUANTIZES:
        return graph.readers.get(readers[0].output[0], []), readers[0]
    return readers, None


def _lacks_kernel(node: NodeProto) -> bool:
    kind = node.op_type
    has = (not node.domain and kind in REQUANTIZES | SAME_GRID) or kind in ("ArgMax", *CLIPS, *QDQ)
    return not has


_INSTEAD = {
    "HardSigmoid": "use edgekd quantize on the float file: it writes a HardSigmoid as an addition "
    "whose grid clips, and additions have an 8-bit kernel. With other tools the conversions stay, "
    "unless the network is trained with Sigmoid, which has a kernel",
    "HardSwish": "a network with Relu or Relu6 in its place runs in INT8 throughout",
    "ReduceMean": "GlobalAveragePool computes the mean over all pixels in 8 bits",
}


def _instead(kind: str) -> str:
    """Return what to do about an operator without an 8-bit kernel."""
    return _INSTEAD.get(
        kind,
        f"between 8-bit layers the conversions are the price of {kind}, and only a network with "
        "another operator avoids them; next to other float operators take the Q/DQ pairs between "
        f"{kind} and these away",
    )


def _no_kernel(_: Graph, node: NodeProto) -> Reason | None:
    if not _lacks_kernel(node):
        return None
    return Reason(
        "no-kernel",
        f"ONNX Runtime has no 8-bit {node.op_type} on the CPU: it computes it in float between two "
        "conversions",
        _instead(node.op_type),
    )


def _clip_alone(graph: Graph, node: NodeProto) -> Reason | None:
    if node.op_type not in CLIPS:
        return None
    kind = node.op_type
    return Reason(
        "clip-between",
        f"a {kind} stands between two Q/DQ pairs: it has no 8-bit kernel, and only goes where it "
        "follows its layer directly",
        f"take away the pair in front of the {kind}, and quantize only behind it with the lowest "
        "integer as zero point (0 for uint8)",
    )


def _opset(graph: Graph, node: NodeProto) -> Reason | None:
    if node.op_type != "MaxPool" or graph.opset >= 12:
        return None
    return Reason(
        "opset",
        f"MaxPool takes 8-bit integers from operator set 12 on, and the file has {graph.opset}",
        "export with operator set 13 or newer",
    )


def _computed_weight(graph: Graph, node: NodeProto) -> Reason | None:
    if node.op_type not in ("Conv", "Gemm") or graph.dequantized(node.input[1]) is not None:
        return None
    if graph.rounded_constant(node.input[1]) is not None:
        return None
    return Reason(
        "computed-weight",
        "its weight is computed by the graph or fed, and is not quantized",
        "make the weight a constant (fold constants when exporting), or leave the layer in float",
    )


def _float_input(graph: Graph, node: NodeProto) -> Reason | None:
    bare = [name for name in data_inputs(node) if name and graph.dequantized(name) is None]
    if node.op_type in ("Conv", "Gemm"):  # float weights are rounded by ONNX Runtime itself
        bare = [name for name in bare if graph.rounded_constant(name) is None]
    if not bare:
        return None
    makers = [graph.maker(name) for name in bare]
    lacking = [made.op_type for made in makers if made is not None and _lacks_kernel(made)]
    if node.op_type in ("Add", "Mul", "Concat", "Where") and "Constant" not in lacking and lacking:
        return Reason(
            "float-input",
            f"an input of it is the float result of {lacking[0]}, which has no 8-bit kernel on the "
            "CPU, and the 8-bit kernel of this node needs all inputs quantized",
            _instead(lacking[0]),
            listed(bare),
        )
    constant = all(graph.constant(name) is not None for name in bare)
    return Reason(
        "float-input",
        f"{'a constant' if constant else 'an'} input of it is float, and the 8-bit kernel needs "
        "all inputs quantized",
        "quantize this input too"
        + (": store the constant as 8-bit integers with a DequantizeLinear" if constant else "")
        + ", or take the other Q/DQ around the node away",
        listed(bare),
    )


def _types(graph: Graph, node: NodeProto) -> Reason | None:
    found = [q for q in map(graph.dequantized, data_inputs(node)) if q is not None]
    kinds = {q.dtype for q in found}
    if kinds & set(_BITS_16):
        return Reason(
            "16-bit",
            "it reads 16-bit integers; the CPU has kernels for 8 bits",
            "quantize activations to uint8, or leave the node in float",
            listed(sorted(kinds)),
        )
    if any(q.scale is None or q.zero is None for q in found):
        return Reason(
            "computed-scale",
            "a scale or zero point of its inputs is computed by the graph",
            "store scales and zero points as constants",
        )
    if node.op_type in _CONVOLVES and found and found[0].axis is not None:
        return Reason(
            "per-channel-activation",
            "its activation has a scale for each channel; kernels take one scale per tensor",
            "quantize activations per tensor; only weights per channel",
        )
    return None


def _output(graph: Graph, node: NodeProto) -> Reason | None:
    readers, clip = quantizers(graph, node)
    rounding = [n for n in readers if n.op_type == "QuantizeLinear"]
    if node.op_type in _FLOAT_RESULT and not rounding:
        return None
    last = clip or node
    if node.output[0] in graph.outputs or last.output[0] in graph.outputs:
        return Reason(
            "is-output",
            "its float result is an output of the graph, so that it cannot be written in 8 bits",
            "quantize the output and return what the DequantizeLinear gives",
        )
    others = [n for n in readers if n.op_type != "QuantizeLinear"]
    if not rounding:
        beyond = [n for n in others if n.op_type in CLIPS]
        then = " behind the " + beyond[0].op_type if beyond else ""
        return Reason(
            "no-output-q",
            f"nothing quantizes its result{then}: it is read in float",
            "add a Q/DQ pair behind it" + (f",{then}" if then else ""),
            f"read by {listed(names(others))}",
        )
    if others:
        return Reason(
            "float-reader",
            "its result is quantized, and other nodes read it in float as well",
            "let these nodes read what the DequantizeLinear gives",
            f"also read by {listed(names(others))}",
        )
    if len(rounding) > 1:
        return Reason(
            "two-quantizers",
            "several QuantizeLinear nodes read its result",
            "quantize the result once, and let all readers have it",
            listed(names(rounding)),
        )
    return _clipped(graph, clip, rounding[0])


def _clipped(graph: Graph, clip: NodeProto | None, rounding: NodeProto) -> Reason | None:
    """Check that the grid behind a Relu or Clip starts and ends where it clips."""
    if clip is None:
        return None
    after = graph.quantization(rounding)
    lowest = -128 if after.dtype == "int8" else 0
    if after.zero is not None and int(after.zero.ravel()[0]) == lowest:
        if clip.op_type == "Relu":
            return None
        bounds = f"does not end where {clip.op_type} clips"
    else:
        bounds = "has places for values below 0"
    return Reason(
        "clip-not-absorbed",
        f"the {clip.op_type} behind it cannot be left out: the grid that follows {bounds}",
        f"give the tensor behind the {clip.op_type} the range of the {clip.op_type} itself: zero "
        f"point {lowest}, scale its upper bound / 255",
        f"{after.dtype}, zero point {_shown(after)}",
    )


def _mixed(graph: Graph, node: NodeProto) -> Reason | None:
    """Check that a node reads and writes one type."""
    activations = data_inputs(node)[:1] if node.op_type in _CONVOLVES else data_inputs(node)
    found = [q for q in map(graph.dequantized, activations) if q is not None]
    readers, _ = quantizers(graph, node)
    after = [graph.quantization(n) for n in readers if n.op_type == "QuantizeLinear"]
    kinds = list(dict.fromkeys(q.dtype for q in [*found, *after]))
    if len(kinds) > 1:
        read = "/".join(dict.fromkeys(q.dtype for q in found))
        write = "/".join(dict.fromkeys(q.dtype for q in after)) or "float"
        what = f"reads {read} and writes {write}" if after else f"reads {' and '.join(kinds)}"
        return Reason(
            "mixed-types",
            f"it {what}; the kernel takes one type of activation on all sides",
            "quantize all activations as uint8 (in NNCF and others: the preset or type that makes "
            "activations unsigned throughout)",
        )
    if node.op_type in SAME_GRID and found and after:
        if all(found[0].same_grid(q) for q in after):
            return None
        return Reason(
            "other-grid",
            f"scale or zero point differ before and behind it, and {node.op_type} only passes "
            "integers on",
            "give both sides the same scale and zero point",
        )
    return None


def _gemm(graph: Graph, node: NodeProto) -> Reason | None:
    if node.op_type != "Gemm" or len(node.input) < 3:
        return None
    if attribute(node, "beta", 1.0) != 1 or attribute(node, "alpha", 1.0) != 1:
        return Reason(
            "gemm-factors",
            "its alpha or beta is not 1",
            "multiply alpha into the weight and beta into the bias",
        )
    bias = graph.dequantized(node.input[2])
    readers, _ = quantizers(graph, node)
    if bias is None and not any(n.op_type == "QuantizeLinear" for n in readers):
        return Reason(
            "float-bias",
            "its bias is float and its result is too: ONNX Runtime rounds a bias by itself only "
            "in front of a QuantizeLinear",
            "store the bias as int32 with scale = scale of the data * scale of the weight",
        )
    return None


def _bias(graph: Graph, node: NodeProto) -> Reason | None:
    if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or not node.input[2]:
        return None
    bias = graph.dequantized(node.input[2])
    if bias is not None and bias.dtype != "int32":
        return Reason(
            "bias-type",
            f"its bias is {bias.dtype}; kernels add int32",
            "store the bias as int32 with scale = scale of the data * scale of the weight",
        )
    if bias is None and graph.constant(node.input[2]) is None:
        return Reason(
            "computed-bias",
            "its bias is computed by the graph",
            "make the bias a constant, or add it behind the layer",
        )
    return None


def _signed(graph: Graph, node: NodeProto) -> Reason | None:
    read = [q.dtype for q in map(graph.dequantized, data_inputs(node)[:1]) if q is not None]
    if "int8" not in read or not on_x86():
        return None
    return Reason(
        "signed-activations",
        "its activations are int8. On x86 ONNX Runtime has fast kernels for uint8 activations "
        "only; it turns int8 into uint8 by itself, but not where a tensor has several readers, "
        "and what stands between both types stays in float",
        "quantize again with uint8 activations and int8 weights (edgekd quantize; onnxruntime: "
        "activation_type=QuantType.QUInt8, per_channel=True)",
    )


_RULES: tuple[Rule, ...] = (
    _no_kernel,
    _clip_alone,
    _opset,
    _computed_weight,
    _float_input,
    _types,
    _output,
    _mixed,
    _gemm,
    _bias,
    _signed,
)


def _shown(found: Quantization) -> str:
    return "computed" if found.zero is None else str(int(found.zero.ravel()[0]))


def rounded_sides(graph: Graph, node: NodeProto) -> tuple[bool, bool]:
    """Tell whether a node reads a DequantizeLinear, and whether a QuantizeLinear reads it."""
    reads = any(graph.dequantized(name) is not None for name in node.input if name)
    written = (r for name in node.output for r in graph.readers.get(name, []))
    return reads, any(r.op_type == "QuantizeLinear" for r in written)


def neighbours(graph: Graph, node: NodeProto) -> Iterator[NodeProto]:
    """Yield the DequantizeLinear nodes that a node reads and the QuantizeLinear that read it."""
    for name in node.input:
        maker = graph.maker(name) if name else None
        if maker is not None and maker.op_type == "DequantizeLinear":
            yield maker
    for name in node.output:
        yield from (r for r in graph.readers.get(name, []) if r.op_type == "QuantizeLinear")


def is_conversion(node: NodeProto) -> bool:
    """Tell whether a node is a QuantizeLinear or a DequantizeLinear."""
    return node.op_type in QDQ and not node.domain
