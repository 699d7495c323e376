"""Let convolutions read pixels as they come: uint8 values are on an 8-bit grid already.

A float graph begins with Cast, perhaps Sub (`exporters/input_scaling.py` put the rest into the
weights). In INT8 neither is needed: scale 1 and a zero point near the mean, whose value is also
what the padding means. One zero point serves all channels; where their means differ, padding
would have a colour. Then a plane of one value joins the pixels. It ends where the picture ends,
and its weights are what the means differ by: exact at the rim as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.exporters.input_scaling import has_padding
from edgekd.exporters.shapes import opset_of

_MIDDLE = 128.0
"""Where pixels are around, if no mean is known."""
_EXACT_ENOUGH = 0.5
"""Grey levels that the padding may be off by: as much as rounding to a grid is."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Pixels that a convolution reads instead of their float form."""

    source: str
    """The uint8 tensor, [batch, channels, height, width]."""
    zero: int
    """The zero point; the scale is 1."""
    mean: NDArray[np.float64] | None
    """What the float graph subtracts, [channels]; None: nothing."""
    has_plane: bool
    """Whether a plane of one value is a further channel."""
    groups: int
    """Of the convolution."""

    @property
    def plane(self) -> int:
        """The value of the plane: as far from the zero point as can be."""
        return 255 if self.zero < _MIDDLE else 0

    def widen(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a weight [outputs, channels, kernel...] with the channel of the plane, if any."""
        if not self.has_plane or self.mean is None:
            return weight
        off = (self.mean - self.zero).reshape(1, -1, *[1] * (weight.ndim - 2))
        more = -(weight * off).sum(axis=1, keepdims=True) / (self.plane - self.zero)
        return np.concatenate([weight, more.astype(np.float32)], axis=1)

    def correct_bias(
        self,
        bias: NDArray[np.float32] | None,
        weight: NDArray[np.float32],
        rounded: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """Return the bias with which INT8 answers as float does to a picture of the mean colour.

        Pixels are all far from 0, so that errors of rounded weights would add up to a shift.

        Args:
            bias: of the float layer, [outputs].
            weight: of the float layer.
            rounded: what INT8 multiplies by, with the channel of the plane.
        """
        channels, groups = weight.shape[1] * self.groups, self.groups
        mean = np.zeros(channels) if self.mean is None else self.mean
        centre = np.full(channels, _MIDDLE) if self.mean is None else self.mean
        own, plane = rounded[:, : weight.shape[1]], rounded[:, weight.shape[1] :]
        wanted = _sums(weight.astype(np.float64), centre - mean, groups)
        given = _sums(own, centre - self.zero, groups)
        given += (self.plane - self.zero) * plane.reshape(len(weight), -1).sum(axis=1)
        known = 0.0 if bias is None else bias.astype(np.float64)
        result: NDArray[np.float32] = (known + wanted - given).astype(np.float32)
        return result


def _sums(
    weight: NDArray[np.float64], values: NDArray[np.float64], groups: int
) -> NDArray[np.float64]:
    """Return the sum of weight times the value of its channel, over all that a kernel meets."""
    of_output = np.repeat(values.reshape(groups, -1), len(weight) // groups, axis=0)
    per_channel = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
    result: NDArray[np.float64] = (per_channel * of_output).sum(axis=1)
    return result


def find_pixels(model: ModelProto) -> dict[str, Pixels]:
    """Return the convolutions that can read uint8 pixels, by name of the node.

    Args:
        model: folded and with shapes inferred; every node has its own name.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    values = [*model.graph.input, *model.graph.value_info]
    bytes_ = {
        v.name: [d.HasField("dim_value") for d in v.type.tensor_type.shape.dim]
        for v in values
        if v.type.tensor_type.elem_type == TensorProto.UINT8
    }
    found: dict[str, Pixels] = {}
    for conv in model.graph.node:
        weight = constants.get(conv.input[1]) if conv.op_type == "Conv" else None
        if weight is None or conv.domain:
            continue
        groups = next((a.i for a in conv.attribute if a.name == "group"), 1)
        cast, mean = _subtracted(conv.input[0], weight.dims[1] * groups, makers, constants)
        if cast is None or cast.op_type != "Cast" or len(bytes_.get(cast.input[0], ())) < 3:
            continue
        pixels = _centred(cast.input[0], mean, groups, padded=has_padding(conv))
        is_known = all(bytes_[cast.input[0]][1:])
        if not pixels.has_plane or (groups == 1 and is_known and opset_of(model) >= 15):
            found[conv.name] = pixels
    return found


def _subtracted(
    name: str,
    channels: int,
    makers: Mapping[str, NodeProto],
    constants: Mapping[str, TensorProto],
) -> tuple[NodeProto | None, NDArray[np.float64] | None]:
    """Return the node before a Sub of a constant for each channel, and that constant."""
    node = makers.get(name)
    if node is None or node.op_type != "Sub" or node.input[1] not in constants:
        return node, None
    value = numpy_helper.to_array(constants[node.input[1]])
    if value.size not in (1, channels) or value.size not in (1, *value.shape[-3:-2]):
        return None, None
    mean = np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,))
    return makers.get(node.input[0]), mean


def _centred(source: str, mean: NDArray[np.float64] | None, groups: int, *, padded: bool) -> Pixels:
    if mean is None:
        return Pixels(source=source, zero=0, mean=None, has_plane=False, groups=groups)
    zero = int(np.clip(np.rint((mean.min() + mean.max()) / 2), 0, 255))
    far = bool(np.abs(mean - zero).max() > _EXACT_ENOUGH)
    return Pixels(source=source, zero=zero, mean=mean, has_plane=padded and far, groups=groups)
