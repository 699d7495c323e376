"""What a node must do at least: multiply-accumulates and bytes, from the shapes that it ran on.

A convolution of channels in blocks works on the channels that pad its last block too; those are
counted, as the kernel computes them. Nothing is guessed: what is not known is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from edgekd.benchmarks.layers.nodes import Node, Tensor
from edgekd.benchmarks.layers.operators import READS_PART, VIEWS, WITHOUT_PRODUCTS

_WEIGHT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
"""Where the second factor stands; it is the second input of all others."""


def macs(node: Node) -> int | None:
    """Return the multiply-accumulates of one run of a node; 0 where it has no products.

    None: the operator is not known here, or the runtime does not tell the shape of its weights.
    """
    if node.operator in WITHOUT_PRODUCTS or node.operator in VIEWS:
        return 0
    count = _PRODUCTS.get(node.operator)
    place = _WEIGHT.get(node.operator, 1)
    if count is None or node.parameter_bytes is None or len(node.inputs) <= place:
        return None  # packed weights are not among the inputs, and another input is in their place
    return count(node.inputs[0].shape, node.inputs[place].shape, node.outputs[0].shape)


def size_bytes(node: Node) -> float | None:
    """Return the bytes that a node must move: each input read once, each output written once.

    0 for a mere view. None: a type of unknown size; shapes that are not complete.
    """
    if node.operator in VIEWS:
        return 0.0
    if node.parameter_bytes is None:
        return None
    if node.operator in READS_PART:  # of a table that may be far greater
        tensors: Sequence[Tensor] = (*node.inputs[1:], *node.outputs, *node.outputs)
    else:
        tensors = (*node.inputs, *node.outputs)
    sizes = [tensor.size_bytes for tensor in tensors]
    known = [size for size in sizes if size is not None]
    return sum(known) if node.outputs and len(known) == len(sizes) else None


Shape = tuple[int, ...]


def _conv(_: Shape, weight: Shape, output: Shape) -> int | None:
    """Each output value sums over the weight's [channels of a group, kernel...]."""
    return prod(output) * prod(weight[1:]) if len(weight) >= 3 else None


def _conv_transpose(data: Shape, weight: Shape, _: Shape) -> int | None:
    """Each input value meets the weight's [output channels of a group, kernel...].

    What padding cuts off at the rim is computed too, as ONNX Runtime does.
    """
    return prod(data) * prod(weight[1:]) if len(weight) >= 3 else None


def _gemm(left: Shape, _: Shape, output: Shape) -> int | None:
    """A of M x K, transposed or not, times N columns."""
    return prod(left) * output[-1] if len(left) == len(output) == 2 else None


def _matmul(left: Shape, right: Shape, output: Shape) -> int | None:
    """Products of matrices over leading axes, either factor transposed or not.

    K is what is left of each factor's last two axes beside M or N; where both do not agree, the
    node is something else (batch axes moved) and not counted.
    """
    if not left or not right:
        return None
    if len(left) == 1 or len(right) == 1:
        return prod(output) * left[-1]
    rows, columns = output[-2:]
    if 0 in (*left, *right, *output):
        return 0
    both = {prod(left[-2:]) / rows, prod(right[-2:]) / columns}
    depth = both.pop()
    return prod(output) * int(depth) if not both and depth in left[-2:] else None


_PRODUCTS: dict[str, Callable[[Shape, Shape, Shape], int | None]] = {
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger"), _conv),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _gemm),
    **dict.fromkeys(("MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger"), _matmul),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _matmul),
}
