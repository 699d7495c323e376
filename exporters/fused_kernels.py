"""Which kernels ONNX Runtime really runs for a file: INT8, float, and Q/DQ that did not fuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx import NodeProto

from edgekd.benchmarks.operators import PRODUCTS
from edgekd.exporters.onnx_files import messages
from edgekd.exporters.ort_session import optimized


@dataclass(frozen=True)
class Kernels:
    """The optimized graph of one file on this machine's CPU.

    `fp32_layers` counts products of two activations (attention) too: those never become INT8.
    """

    int8_layers: int
    fp32_layers: int
    quantize_left: int
    """QuantizeLinear nodes that run by themselves; one at the entry is normal."""
    dequantize_left: int
    operators: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def int8_layers(path: Path) -> Kernels:
    """Load a file in ONNX Runtime with all optimizations and count what is left.

    Raises:
        ModelError: it cannot be loaded.
    """
    found = Counter(sorted(node.op_type for node in messages(optimized(path), NodeProto)))
    return Kernels(
        int8_layers=sum(found[name] for name, product in PRODUCTS.items() if product.int8),
        fp32_layers=sum(found[name] for name, product in PRODUCTS.items() if not product.int8),
        quantize_left=found["QuantizeLinear"],
        dequantize_left=found["DequantizeLinear"],
        operators=dict(found),
    )
