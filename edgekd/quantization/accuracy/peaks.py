"""The largest absolute value of each channel of some tensors, over samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.exporters.ort_session import open_session, run
from edgekd.quantization.accuracy.layer_errors import watch
from edgekd.quantization.proof import Samples


def find_peaks(
    model: ModelProto, axes: Mapping[str, int], samples: Samples, *, name: str
) -> dict[str, NDArray[np.float32]]:
    """Return the peaks of each channel by tensor.

    Args:
        model: with the tensors, which are float.
        axes: tensor, and the axis of its channels; negative ones count from the end.
        samples: one at a time.
        name: of the file, for messages.
    """
    names = list(axes)
    session = open_session(watch(model, names), name=name)
    found: dict[str, NDArray[np.float32]] = {}
    for sample in samples:
        for tensor, array in zip(names, run(session, names, dict(sample), name=name), strict=True):
            if array.size:
                channels = np.moveaxis(np.abs(array), axes[tensor], -1)
                peaks = channels.reshape(-1, channels.shape[-1]).max(axis=0)
                found[tensor] = np.maximum(found.get(tensor, peaks), peaks)
    return found
