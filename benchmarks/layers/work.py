"""The least work of a node: multiply-accumulates and bytes, from the shapes that it ran on.

A convolution of channels in blocks works on the channels that pad its last block too; those are
counted, as the kernel computes them. Nothing is guessed: what is not known is None.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.benchmarks import operators
from edgekd.benchmarks.layers.nodes import Node, Tensor
from edgekd.benchmarks.operators import READS_PART, VIEWS, WITHOUT_PRODUCTS


def macs(node: Node) -> int | None:
    """Return the multiply-accumulates of one run of a node; 0 where it has no products.

    None: the operator is not known here, or the runtime does not report the shape of its weights.
    """
    if node.operator in WITHOUT_PRODUCTS or node.operator in VIEWS:
        return 0
    if node.operator not in operators.PRODUCTS or node.parameter_bytes is None:
        return None  # packed weights are not among the inputs, and another input is in their place
    shapes = [tensor.shape for tensor in node.inputs]
    return operators.macs(node.operator, shapes, node.outputs[0].shape)


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
