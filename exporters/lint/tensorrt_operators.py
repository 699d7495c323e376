"""Operators, options and operator sets that TensorRT's ONNX parser does not read.

From `docs/operators.md` of onnx-tensorrt for TensorRT 8.5 and 10.15, its changelog for what came
between, and docs.nvidia.com (ONNX Opset Guide of TensorRT 11). Those marked in `tests` are refused
by TensorRT-RTX 1.7 as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.benchmarks.trtexec.versions import VERSIONS
from edgekd.exporters.lint.finding import Finding
from edgekd.exporters.lint.graph import Graph, attribute
from edgekd.exporters.lint.rules import INTEGER_OPERATORS, found_at, found_in_file

Version = tuple[int, int]
OPSETS: dict[Version, int] = {(v.major, v.minor): v.highest_opset for v in VERSIONS}
"""The newest operator set that each version reads. That of 10.3 is documented for 10.0 and 10.1,
that of 10.16 for 10.15."""
_OLDEST = 9
_NEVER = frozenset(
    {"AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}
    | {"CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "DFT", "Det", "ImageDecoder"}
    | {"MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss"}
    | {"Optional", "OptionalGetElement", "OptionalHasElement", "RegexFullMatch", "SequenceAt"}
    | {"SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength"}
    | {"SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat", "StringSplit"}
    | {"StringNormalizer", "TfIdfVectorizer", "Unique"}
)
_SINCE: dict[str, Version] = {
    "DeformConv": (10, 1),
    "Hardmax": (9, 2),
    "BlackmanWindow": (10, 4),
    "HammingWindow": (10, 4),
    "HannWindow": (10, 4),
    "STFT": (10, 5),
}
_REDUCES = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"}
    | {"ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}
)


def opset(graph: Graph, version: Version) -> Iterator[Finding]:
    """Find an operator set that the version does not read."""
    most = OPSETS[version]
    if graph.outer is None and not _OLDEST <= graph.opset <= most:
        yield found_in_file(
            "opset",
            "error",
            f"the file uses operator set {graph.opset}; TensorRT {shown(version)} reads "
            f"{_OLDEST} to {most}",
            f"export it with operator set {most} or lower (export.opset = {most})",
            source="from documentation",
        )


def operators(graph: Graph, version: Version) -> Iterator[Finding]:
    """Find operators that TensorRT does not have, and those of other domains."""
    for node in graph.nodes:
        kind, since = node.op_type, _SINCE.get(node.op_type, (0, 0))
        if node.domain not in ("", "ai.onnx"):
            yield found_at(
                node,
                "domain",
                "error",
                f"{kind} is an operator of {node.domain!r}, which TensorRT only knows as a plugin",
                "export without it (of ONNX Runtime: save the model before its optimization), or "
                "load a plugin of this name on the device",
                source="run here",
            )
        elif kind in INTEGER_OPERATORS:
            yield found_at(
                node,
                "integer-operator",
                "error",
                f"TensorRT does not read {kind}: it takes float operators between Q/DQ pairs",
                "quantize in Q/DQ format (edgekd quantize: variants = ['int8-tensorrt']; "
                "onnxruntime: quant_format=QuantFormat.QDQ, and no dynamic quantization)",
                source="run here",
            )
        elif kind in _NEVER or version < since:
            later = f"; TensorRT {shown(since)} has it" if version < since else ""
            yield found_at(
                node,
                "operator",
                "error",
                f"TensorRT {shown(version)} has no {kind}{later}",
                "write this part with other operators, or move it out of the model",
                source="from documentation",
            )
        elif kind == "Attention":
            yield found_at(
                node,
                "attention",
                "error",
                "Attention of operator set 23 has kernels for some shapes and types only: "
                "TensorRT-RTX reads it in float32 and then cannot build an engine",
                "export with operator set 20 or lower, where attention is written as MatMul and "
                "Softmax",
                source="run here",
            )


def options(graph: Graph) -> Iterator[Finding]:
    """Find options of operators that the parser refuses."""
    for node in graph.nodes:
        why = ""
        if node.op_type == "MaxPool" and len([o for o in node.output if o]) > 1:
            why = "MaxPool with indices"
        elif node.op_type == "Resize" and attribute(node, "antialias", 0):
            why = "Resize with antialias"
        elif node.op_type in _REDUCES and len(node.input) > 1 and node.input[1]:
            computed = graph.constant(node.input[1]) is None and graph.maker(node.input[1]) is None
            why = f"{node.op_type} over axes that are fed" if computed else ""
        elif node.op_type == "LSTM" and attribute(node, "layout", 0):
            why = "LSTM with layout = 1"
        elif node.op_type == "AveragePool" and set(attribute(node, "dilations", [1])) != {1}:
            why = "AveragePool with dilations"
        if why:
            yield found_at(
                node,
                "option",
                "error",
                f"TensorRT does not read {why}",
                "write this part with other operators or options",
                source="from documentation",
            )


def shown(version: Version) -> str:
    """Return a version as people write it."""
    return f"{version[0]}.{version[1]}" if version != (11, 0) else "11"
