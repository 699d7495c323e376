"""How fast could a narrower student of the CIFAR-10 recipe be, whatever its accuracy?

    python -m edgekd.benchmarks.trials.widths --time 60 --json benchmarks/results/widths.json

Times untrained ResNet-20s of several widths as INT8 beside the recipe's teacher in FP32, all in one
interleaved session. Speed does not depend on the weights, so this shows before any training what
pruning the student further can gain. Ranges of the INT8 forms are of random inputs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.formatting import milliseconds, times
from edgekd.benchmarks.measurement import Timing
from edgekd.benchmarks.suites.models import quantize_at_random
from edgekd.benchmarks.trials.networks import exported
from edgekd.benchmarks.trials.report import conclude
from edgekd.models import efficientnet_lite0, resnet20

TEACHER_SIZE, STUDENT_SIZE = 96, 32  # pixels
WIDTHS = ((16, 32, 64), (16, 32, 48), (16, 16, 32), (16, 16, 16), (8, 16, 32), (8, 8, 8))


def student(widths: Sequence[int], folder: Path) -> Path:
    """Write the INT8 form of an untrained ResNet-20."""
    name = "-".join(map(str, widths))
    network = resnet20(classes=10, widths=widths)
    plain = exported(network, STUDENT_SIZE, folder / f"{name}.fp32.onnx")
    shapes = {"pixels": (1, 3, STUDENT_SIZE, STUDENT_SIZE)}
    quantize_at_random(plain, folder / f"{name}.int8.onnx", shapes=shapes)
    return folder / f"{name}.int8.onnx"


def main() -> None:
    """Time all of them and print the table."""
    from edgekd.devices import open_device

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=float, default=60.0, help="seconds of the session")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        folder = Path(name)
        teacher = exported(efficientnet_lite0(classes=10), TEACHER_SIZE, folder / "teacher.onnx")
        files = [student(widths, folder) for widths in WIDTHS]
        timing = Timing(precision=0.005, time_limit_s=arguments.time)
        result = bench(files, vs=teacher, device=open_device("local"), timing=timing)
    found = [
        {
            "file": row.file.name,
            "size_bytes": row.size_bytes,
            "latency_s": asdict(row.latency_s),
            "speedup": None if row.speedup is None else asdict(row.speedup),
            "verdict": row.verdict,
        }
        for row in result.rows
    ]
    conclude(
        "Students of other widths, untrained, against the teacher in FP32",
        ["file", "median [95 %]", "speed-up [95 %]", "verdict"],
        [
            [
                row.file.name,
                milliseconds(row.latency_s),
                "reference" if row.speedup is None else times(row.speedup),
                row.verdict,
            ]
            for row in result.rows
        ],
        {"floor": result.floor, "rows": found},
        arguments.json,
    )


if __name__ == "__main__":
    main()
