"""Which model files need sums of 32 bits, and so another way to run on some processors."""

from __future__ import annotations

_WIDE = "int8-tensorrt"


def is_wide(file: str) -> bool:
    """Return whether a model file of ours has weights that ONNX Runtime may cut off on x86.

    They fill -127..127 for a runtime that adds in 32 bits. What such a file answers is therefore
    computed with float kernels here: see `edgekd.exporters.pair_sums`.

    Args:
        file: its name, as in model.int8-tensorrt.onnx.
    """
    return _WIDE in file.split(".")
