"""The first convolution of a picture stays float where a hard-swish or SiLU follows.

It has 3 channels, on which 8-bit kernels gain nothing, and the largest picture. ONNX Runtime fuses
these activations into one float kernel or into the convolution; in 8 bits they take two more
kernels over that picture.
"""

from __future__ import annotations

from onnx import ModelProto

from edgekd.quantization.node_selection import find_readers

_MOST_CHANNELS = 4


def find_float_stems(model: ModelProto) -> dict[str, str]:
    """Return what such convolutions give, which must not be rounded: name, reason."""
    readers = find_readers(model)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Conv" or shapes.get(node.input[1], [0, 99])[1] > _MOST_CHANNELS:
            continue
        users = [user.op_type for user in readers.get(node.output[0], [])]
        depthwise = any(a.name == "group" and a.i > 1 for a in node.attribute)
        gated = sorted(users) in (["HardSigmoid", "Mul"], ["Mul", "Sigmoid"])
        if gated and not depthwise:
            found[node.output[0]] = "on few channels and with a gate behind it, float is faster"
    return found
