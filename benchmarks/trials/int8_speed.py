"""How much faster is INT8 than FP32 on well-known networks, and what of it did not fuse?

    python -m edgekd.benchmarks.trials.int8_speed --json benchmarks/results/int8-speed.json

ResNet-18, MobileNetV2, MobileNetV3-small (hard-swish, squeeze-and-excite) and a hybrid of
convolutions and attention in the manner of MobileViT, at 224 pixels, one thread, FP32 and `int8` in
one interleaved session for each. Weights are random, for speed does not depend on them. The kernels
are those of ONNX Runtime's optimized graph. Two minutes for each network.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.formatting import milliseconds, times
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.benchmarks.trials.known_networks import NETWORKS, samples
from edgekd.benchmarks.trials.report import conclude
from edgekd.devices import open_device
from edgekd.exporters.fused_kernels import int8_layers
from edgekd.quantization.static import quantize_int8

_SAMPLES = 8


def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
    """Return the calibration samples, one a batch."""
    arrays = samples(_SAMPLES)
    return iter([{n: a[i : i + 1] for n, a in arrays.items()} for i in range(_SAMPLES)])


def measure(name: str, folder: Path, runtime: str, timing: Timing) -> dict[str, Any]:
    """Quantize one network, time both files, and return all that is shown."""
    source, target = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    onnx.save(NETWORKS[name](), source)
    facts = quantize_int8(source, target, feeds)
    result = bench(
        [target],
        vs=source,
        device=open_device("local"),
        setups=[Setup(runtime=runtime)],
        timing=timing,
    )
    plain, quantized = result.rows
    assert quantized.speedup is not None
    return {
        "network": name,
        "runtime": runtime,
        "fp32_s": asdict(plain.latency_s),
        "int8_s": asdict(quantized.latency_s),
        "speedup": asdict(quantized.speedup),
        "kernels": asdict(int8_layers(target)),
        "left_in_float": dict(facts.left),
        "cells": [
            name,
            milliseconds(plain.latency_s),
            milliseconds(quantized.latency_s),
            times(quantized.speedup),
        ],
    }


def main() -> None:
    """Time and store; say which network is slower than it has to be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--runtime", default="onnxruntime", choices=["onnxruntime", "openvino"])
    parser.add_argument("--short", action="store_true", help="few calls: speeds say little")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    timing = Timing(precision=0.02, time_limit_s=100)
    if arguments.short:
        timing = Timing(rounds=3, blocks=4)
    found = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for name in NETWORKS:
            if not arguments.only or any(part in name for part in arguments.only):
                found.append(measure(name, Path(folder), arguments.runtime, timing))
    rows = []
    for one in found:
        kernels = one["kernels"]
        layers = f"{kernels['int8_layers']} of {kernels['int8_layers'] + kernels['fp32_layers']}"
        left = f"{kernels['quantize_left']} / {kernels['dequantize_left']}"
        rows.append([*one.pop("cells"), layers, left])
    conclude(
        "INT8 against FP32 at 224 pixels, one thread [95 %]",
        ["network", "FP32", "INT8", "speed-up", "layers in INT8", "Q / DQ left"],
        rows,
        {"networks": found},
        arguments.json,
    )


if __name__ == "__main__":
    main()
