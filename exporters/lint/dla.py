"""The DLA of Jetson boards: what it cannot do, and TensorRT then gives to the GPU or refuses.

From docs.nvidia.com "DLA Supported Layers and Restrictions" (limits of sizes, no free axes), its
pages on which releases have DLA, and the operator matrix for Orin of NVIDIA's
Deep-Learning-Accelerator-SW repository (TensorRT 8.6). Nothing of it was run here.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.exporters.lint.finding import Finding
from edgekd.exporters.lint.graph import Graph
from edgekd.exporters.lint.rules import conversions, found_at, found_in_file, free_axes
from edgekd.exporters.lint.tensorrt_operators import Version, shown

_NATIVE = frozenset(
    {"Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose"}
    | {"Equal", "Gemm", "LRN", "LeakyRelu", "MatMul", "Max", "MaxPool", "Mul", "PRelu", "Relu"}
    | {"Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Sub", "Sum", "Tanh"}
    | {"Transpose", "Upsample", "Constant", "ConstantOfShape", "Shape"}
)
_MOST_BATCH, _MOST_SIDE = 4096, 8192
_LAST_WITH, _AGAIN = (10, 7), (11, 0)


def dla(graph: Graph, version: Version) -> Iterator[Finding]:
    """Find what keeps a file from the DLA."""
    if graph.outer is None:
        yield from _release(version)
        yield from _sizes(graph)
    quantized = any(True for _ in conversions(graph))
    if graph.outer is None and quantized and version < _AGAIN:
        yield found_in_file(
            "dla-explicit",
            "error",
            "the file has Q/DQ nodes, and the DLA takes INT8 only with a calibration cache or "
            f"ranges before TensorRT {shown(_AGAIN)}",
            "build from the float file with --int8 --calib=CACHE, or use the GPU",
            source="from documentation",
        )
    for node in graph.nodes:
        quantizes = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        if node.op_type not in _NATIVE and not quantizes:
            yield found_at(
                node,
                "dla-operator",
                "warning",
                f"the DLA has no {node.op_type}: it runs on the GPU, and tensors go to and fro",
                "build with --allowGPUFallback, or write it with operators that the DLA has",
                source="from documentation",
            )


def _release(version: Version) -> Iterator[Finding]:
    if _LAST_WITH < version < _AGAIN:
        yield found_in_file(
            "dla-release",
            "error",
            f"TensorRT {shown(version)} has no DLA: 10.7 was the last release with it, and 11.4.1 "
            "the next, on AGX Orin with JetPack 7.2.2",
            "use the GPU, or another release",
            source="from documentation",
        )
    if version >= _AGAIN:
        yield found_in_file(
            "dla-release",
            "note",
            "of TensorRT 11 only 11.4.1 and newer have a DLA, on AGX Orin with JetPack 7.2.2",
            "",
            source="from documentation",
        )


def _sizes(graph: Graph) -> Iterator[Finding]:
    for name, axes in free_axes(graph):
        yield found_in_file(
            "dla-free-axes",
            "error",
            f"input {name!r} is {axes}, and the DLA takes fixed shapes only",
            "fix the shape when exporting, or give one shape for min, opt and max",
            source="from documentation",
        )
    for node in graph.nodes:
        for name in node.output:
            dims = [d or 1 for d in graph.dims(name) or ()]
            if (dims and dims[0] > _MOST_BATCH) or any(d > _MOST_SIDE for d in dims[1:]):
                yield found_at(
                    node,
                    "dla-size",
                    "warning",
                    f"its result is too large: the DLA takes batches of up to {_MOST_BATCH} and "
                    f"sides of up to {_MOST_SIDE}",
                    "it runs on the GPU; make the tensor smaller",
                    source="from documentation",
                    detail=str(dims),
                )
                break
