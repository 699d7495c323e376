"""How long does quantization take: plain, automatic, and with every repair?

    python -m edgekd.benchmarks.trials.quantize_time --json benchmarks/results/quantize-time.json

MobileNetV2 for 224 pixels with random weights and 300 random images. `plain` is what most files
take: calibration, the INT8 file, its check, and the ranking of the layers. `all repairs` asks for a
signal-to-noise ratio that no file has, so that each repair is tried, and layers are left in float
one by one as far as is allowed. `edgekd quantize` is the whole command: it also measures speed and
quality, and writes report and bundle.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from edgekd.benchmarks.trials.known_networks import mobilenet_v2, samples
from edgekd.benchmarks.trials.report import conclude
from edgekd.quantization.accuracy.escalation import Accuracy, escalate
from edgekd.quantization.accuracy.workshop import Workshop
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.static import calibrate, quantize_int8

_NEVER_DB = 1e6
_MOST_S = 90.0
_MOST_TIMES = 10.0


def main() -> int:
    """Time, print and store; return 1 if a limit is passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="30 images, and no command")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    seconds: dict[str, float] = {}
    steps: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        folder = Path(scratch)
        path, target = folder / "mobilenet-v2.onnx", folder / "int8.onnx"
        onnx.save(mobilenet_v2(), path)
        arrays = samples(30 if arguments.short else 300)

        def written(accuracy: Accuracy) -> None:
            quantize_int8(path, target, lambda: iter([arrays]), accuracy=accuracy)

        seconds["plain"] = _timed(lambda: written(()))
        seconds["automatic"] = _timed(lambda: written("auto"))
        seconds["all repairs"] = _timed(lambda: steps.extend(_all(path, arrays)))
        if not arguments.short:
            np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
            seconds["edgekd quantize"] = _timed(lambda: _command(path, folder))
    rows = [
        [name, f"{value:.1f} s", f"{value / seconds['plain']:.1f}"]
        for name, value in seconds.items()
    ]
    conclude(
        "Quantization of MobileNetV2",
        ["what", "time", "times plain"],
        rows,
        {"seconds": seconds, "steps_of_all": steps},
        arguments.json,
    )
    over = seconds["all repairs"] > _MOST_TIMES * seconds["plain"]
    return int(over or max(seconds["plain"], seconds.get("edgekd quantize", 0)) > _MOST_S)


def _timed(work: Callable[[], None]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def _all(path: Path, arrays: dict[str, np.ndarray]) -> list[str]:
    """Calibrate, try every repair, and say what each gained and took."""
    calibrated = calibrate(path, lambda: iter([arrays]))
    answers = FloatAnswers(calibrated.model, calibrated.judged, name=path.name)
    workshop = Workshop(calibrated, answers, ONNX_RUNTIME)
    outcome = escalate(workshop, wanted_db=_NEVER_DB)
    return [
        f"{step.method}: {step.snr_db} dB, {step.seconds:.1f} s{', kept' * step.kept}"
        for step in outcome.attempts
    ]


def _command(path: Path, folder: Path) -> None:
    words = ["-m", "edgekd", "quantize", str(path), "--data", str(folder / "data.npz")]
    subprocess.run(
        [sys.executable, *words, "--out", str(folder / "run")], check=True, capture_output=True
    )


if __name__ == "__main__":
    sys.exit(main())
