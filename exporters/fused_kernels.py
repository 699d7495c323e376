"""The kernels that ONNX Runtime runs for a file: INT8, float, and Q/DQ that did not fuse."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from onnx import NodeProto

from edgekd.benchmarks.operators import PRODUCTS, RECURRENT
from edgekd.exporters.file_facts import Kernels
from edgekd.exporters.onnx_files import messages
from edgekd.exporters.ort_session import optimized


def int8_layers(path: Path) -> Kernels:
    """Load a file in ONNX Runtime with all optimizations and count what is left.

    Raises:
        ModelError: it cannot be loaded.
    """
    found = Counter(sorted(node.op_type for node in messages(optimized(path), NodeProto)))
    return Kernels(
        int8_layers=sum(found[name] for name, product in PRODUCTS.items() if product.int8),
        fp32_layers=sum(found[name] for name, product in PRODUCTS.items() if not product.int8)
        + sum(found[name] for name in RECURRENT - set(PRODUCTS)),
        quantize_left=found["QuantizeLinear"],
        dequantize_left=found["DequantizeLinear"],
        operators=dict(found),
    )
