"""Keep ONNX Runtime's fusion of small weights: what stands in its way, and whether it took place.

ONNX Runtime 1.31.1 makes one MatMulNBits of a DequantizeLinear of constants and a MatMul or Gemm,
but not where a Relu or Clip reads the product: the whole weight is then dequantized in every call,
which takes longer than the layer in float32. A Max or Min there does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto

from edgekd.exporters.ort_session import optimized
from edgekd.quantization.graph_draft import Draft

NOT_FUSED = (
    f"ONNX Runtime {onnxruntime.__version__} does not fuse it to MatMulNBits here and would "
    "dequantize the whole weight in every call"
)


def find_clips(
    layers: Iterable[NodeProto],
    readers: Mapping[str, Sequence[NodeProto]],
    constants: Mapping[str, object],
) -> Iterator[str]:
    """Yield the name of each Relu and Clip that reads a layer, or its sum with a constant."""
    names = [node.output[0] for node in layers]
    while names:
        for node in readers.get(names.pop(), ()):
            if node.op_type in ("Relu", "Clip") and not node.domain:
                yield node.name
            elif node.op_type == "Identity" or (
                node.op_type == "Add" and any(name in constants for name in node.input)
            ):
                names.append(node.output[0])


def clip_with_maximum(draft: Draft, node: NodeProto) -> list[NodeProto]:
    """Return a Relu or Clip of the same function, written with Max and Min."""
    if node.op_type == "Relu":
        limits = [("Max", draft.add_constant(np.zeros((), np.float32), "zero"))]
    else:
        bounds = zip(("Max", "Min"), node.input[1:], strict=False)
        limits = [(operator, bound) for operator, bound in bounds if bound]
    data, nodes = node.input[0], list[NodeProto]()
    for operator, bound in limits:
        last = len(nodes) + 1 == len(limits)
        final = node.output[0] if last else draft.new(f"{node.output[0]}_least")
        nodes.append(draft.make(operator, [data, bound], [final]))
        data = final
    return nodes or [node]


def find_dequantized(model: ModelProto, weights: Iterable[str]) -> set[str]:
    """Return which of some integer weights ONNX Runtime dequantizes whole in every call.

    Raises:
        ModelError: it cannot be loaded.
    """
    graph = optimized(bytes(model.SerializeToString()), name="the graph with small weights").graph
    read = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return read & set(weights)
