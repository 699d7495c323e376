"""The operators that providers of ONNX Runtime take, and those that ONNX Runtime itself knows.

QNN: every operator that `core/providers/qnn/builder/op_builder_factory.cc` registers. CoreML: those
of `core/providers/coreml/builders/op_builder_factory.cc` and of coreml_supported_mlprogram_ops.md.
WebGPU: those of `core/providers/webgpu/webgpu_execution_provider.cc` and of webgpu-operators.md.
All lists grow, so that a newer release may have more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from edgekd.exporters.lint.finding import Finding
from edgekd.exporters.lint.graph import Graph
from edgekd.exporters.lint.rules import found_at

_QNN_NAMES = """
Abs Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil Clip Concat Conv
ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Exp Expand Flatten Floor
FusedMatMul GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization
Inverse IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
MatMul MatMulNBits Max MaxPool Mean Min Mod Mul Neg NonZero Not Or PRelu Pad Pow QuantizeLinear
QuickGelu RMSNormalization RandomNormalLike RandomUniformLike Reciprocal ReduceL2 ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize RoiAlign RotaryEmbedding Round STFT
ScatterElements ScatterND Selu Sigmoid Sign SimplifiedLayerNormalization Sin Slice Softmax Softplus
SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze
Upsample Where Xor
"""
QNN = frozenset(_QNN_NAMES.split())
_COREML_NAMES = """
Add ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Conv ConvTranspose Cos
DepthToSpace Div Elu Erf Exp Flatten Gather GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool
GridSample GroupNormalization HardSigmoid Identity InstanceNormalization LRN LayerNormalization
LeakyRelu MatMul Max MaxPool Mul PRelu Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum Relu Reshape Resize Round Shape Sigmoid Sin Slice Softmax Softplus Split Sqrt
Squeeze Sub Tanh Tile Transpose Unsqueeze
"""
COREML = frozenset(_COREML_NAMES.split())
_WEBGPU_NAMES = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil
Clip Concat Conv ConvTranspose Cos Cosh CumSum DepthToSpace Div Einsum Elu Equal Erf Exp Expand
Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GridSample HardSigmoid Identity If InstanceNormalization LayerNormalization LeakyRelu
Less LessOrEqual Log LpNormalization MatMul MaxPool Mul Neg Not Pad Pow RMSNormalization Range
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Relu Reshape Resize RotaryEmbedding ScatterElements ScatterND Shape
Sigmoid Sin Sinh Slice Softmax Softplus Split Sqrt Squeeze Sub Tan Tanh ThresholdedRelu Tile TopK
Transpose Unsqueeze Where
"""
WEBGPU = frozenset(_WEBGPU_NAMES.split())
UNKNOWN = "unknown-operator"
_STANDARD = ("", "ai.onnx")


def unknown_operators(graph: Graph) -> Iterator[Finding]:
    """Find operators that neither ONNX nor ONNX Runtime defines: the file does not load there."""
    for node in graph.nodes:
        domain = "" if node.domain in _STANDARD else node.domain
        if (domain, node.op_type) in _defined():
            continue
        of = f" of {domain!r}" if domain else ""
        yield found_at(
            node,
            UNKNOWN,
            "error",
            f"neither ONNX nor ONNX Runtime has an operator {node.op_type}{of}: the file loads "
            "only where a library that adds it is registered",
            "export this part as standard operators or as a function of the ONNX file, move it out "
            "of the model, or register its library on the device",
            source="run here",
        )


@cache
def _defined() -> frozenset[tuple[str, str]]:
    """Return domain and name of the operators that the installed versions define."""
    from onnx import defs
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    schemas = [*get_all_operator_schema(), *defs.get_all_schemas()]
    return frozenset((schema.domain, schema.name) for schema in schemas)
