"""Does `edgekd lint --for cpu` find every file that is slow, and none that is fast?

    python -m edgekd.benchmarks.trials.lint_peers --json benchmarks/results/lint-peers.json

ResNet-18 and MobileNetV2 at 224 pixels with random weights, quantized by onnxruntime's own tool in
seven ways, one of them as it does by default, and by edgekd. All files of a network and its float
file are timed in one interleaved session, one thread. A file is slow if its whole interval lies
below 0.8 times the best speed-up, fast if it lies above, else it is not known. Lint calls a file
slow if it has a finding of weight. Three minutes a network.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from rich.console import Console

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.formatting import times
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.benchmarks.trials.known_networks import NETWORKS, samples
from edgekd.benchmarks.trials.report import conclude
from edgekd.devices import open_device
from edgekd.exporters.lint.cpu import lint_cpu
from edgekd.exporters.lint.finding import Lint
from edgekd.exporters.onnx_files import load_onnx
from edgekd.quantization.static import quantize_int8

_NAMES = ("ResNet-18", "MobileNetV2")
_SAMPLES = 4
_SLOW = 0.8
_SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
}

Feeds = dict[str, NDArray[np.float32]]


def feeds() -> Iterator[Feeds]:
    """Return the calibration samples, one a batch."""
    arrays = samples(_SAMPLES)
    return iter([{n: a[i : i + 1] for n, a in arrays.items()} for i in range(_SAMPLES)])


def write_files(source: Path, folder: Path) -> dict[str, Path]:
    """Quantize a float file in all ways; return the files by name."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = feeds()

        def get_next(self) -> Feeds | None:
            return next(self.left, None)

    def static(**options: Any) -> Callable[[Path], None]:
        return lambda path: quantize_static(source, path, Reader(), **options)

    unsigned, signed = QuantType.QUInt8, QuantType.QInt8
    mixed = {"activation_type": unsigned, "weight_type": signed, "per_channel": True}
    same = {"activation_type": signed, "weight_type": signed, "per_channel": True}
    operators = QuantFormat.QOperator
    ways: dict[str, Callable[[Path], Any]] = {
        "edgekd": lambda path: quantize_int8(source, path, feeds),
        "uint8 by int8": static(**mixed),
        "defaults": static(),
        "uint8 by uint8": static(activation_type=unsigned, weight_type=unsigned),
        "for TensorRT": static(**same, extra_options=_SYMMETRIC),
        "operators, uint8 by int8": static(**mixed, quant_format=operators),
        "operators, defaults": static(quant_format=operators),
        "dynamic": lambda path: quantize_dynamic(source, path),
    }
    found = {}
    logging.disable(logging.WARNING)  # it advises to preprocess, for every file
    for name, write in ways.items():
        found[name] = folder / f"{source.stem}.{name.replace(' ', '-')}.onnx"
        write(found[name])
    logging.disable(logging.NOTSET)
    return found


def measure(name: str, folder: Path, timing: Timing) -> list[dict[str, Any]]:
    """Time and lint all files of one network."""
    source = folder / f"{name}.onnx"
    onnx.save(NETWORKS[name](), source)
    files = write_files(source, folder)
    timed = bench(
        list(files.values()),
        vs=source,
        device=open_device("local"),
        setups=[Setup()],
        timing=timing,
    )
    speeds = {row.file.name: row.speedup for row in timed.rows}
    found: list[dict[str, Any]] = []
    for way, path in files.items():
        speed, lint = speeds[path.name], lint_cpu(path, load_onnx(path))
        assert speed is not None
        found.append(
            {
                "network": name,
                "way": way,
                "speedup": asdict(speed),
                "flagged": lint.failed,
                "int8_layers": lint.int8_layers,
                "layers": lint.int8_layers + lint.float_layers,
                "left": (lint.quantize_left or 0) + (lint.dequantize_left or 0),
                "rules": sorted({one.rule for one in lint.findings if one.weight != "note"}),
                "cells": [f"{name}, {way}", times(speed), *_words(lint)],
            }
        )
    best = max(one["speedup"]["value"] for one in found)
    for one in found:
        slow, fast = one["speedup"]["high"] < _SLOW * best, one["speedup"]["low"] > _SLOW * best
        one["clock"] = "slow" if slow else "fast" if fast else "not known"
    return found


def _words(lint: Lint) -> list[str]:
    layers = f"{lint.int8_layers} of {lint.int8_layers + lint.float_layers}"
    left = str((lint.quantize_left or 0) + (lint.dequantize_left or 0))
    weighty = [group for group in lint.groups if group.first.weight != "note"]
    said = ", ".join(f"{len(group.findings)} {group.first.rule}" for group in weighty)
    return [layers, left, said or "nothing"]


def main() -> int:
    """Print and store the table; return 1 if lint and clock disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of networks")
    parser.add_argument("--short", action="store_true", help="few calls: speeds say little")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    timing = Timing(precision=0.03, time_limit_s=120)
    if arguments.short:
        timing = Timing(rounds=3, blocks=2)
    found = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for name in _NAMES:
            if not arguments.only or any(part in name for part in arguments.only):
                found += measure(name, Path(folder), timing)
    conclude(
        "Files of onnxruntime's quantizer and of edgekd, and what lint says of them",
        ["file", "against FP32", "layers in INT8", "Q/DQ left", "lint finds"],
        [one.pop("cells") for one in found],
        {"files": found},
        arguments.json,
    )
    wrong = [one for one in found if one["clock"] == ("fast" if one["flagged"] else "slow")]
    say = Console(highlight=False).print
    for one in wrong:
        said = "lint blames it" if one["flagged"] else "lint finds nothing"
        say(f"{one['network']}, {one['way']}: is {one['clock']}, and {said}", markup=False)
    open_ = sum(one["clock"] == "not known" for one in found)
    say(f"{len(found)} files: {len(wrong)} against the clock, {open_} too near to tell")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
