"""Does an INT8 file answer alike on every x86 processor, and what does that cost?

    python -m edgekd.benchmarks.trials.saturation --lite0 FILE --json FILE

An EfficientNet-Lite0 that was trained on CIFAR-10 (--lite0, as `trials.repairs` takes it) and
MiniLM-L3 on news, quantized with weights that fill -127..127, with weights of seven bits (as is
advised for processors without VNNI), and with safe pairs (`edgekd.quantization.saturation`). No
repair is tried. Each file answers in float as it is written, in ONNX Runtime and in OpenVINO as
they run it on this processor. On one with VNNI all three columns should be alike for every rule.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.trials.repairs import Network, read_arguments, right, snr_db
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.dataset import Arrays
from edgekd.devices.local import processor_name
from edgekd.exporters.ort_session import IN_FLOAT, open_session
from edgekd.quantization import scales
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.static import calibrate, write_int8

Rule = Literal["-127..127", "seven bits", "safe pairs"]
RULES: tuple[Rule, ...] = ("-127..127", "seven bits", "safe pairs")
Answers = Callable[[Arrays], NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """One file in one engine."""

    network: str
    rule: Rule
    engine: str
    snr_db: float
    right: float | None
    """Of the answers, in percent."""
    change: tuple[float, float, float] | None
    """Against the float file, in points, with the ends of its interval."""


def main() -> None:
    """Write, compare, print and store."""
    networks, command, table = read_arguments(__doc__ or "")
    rows = [row for network in networks for rule in RULES for row in measure(network, rule)]
    conclude(
        f"INT8 on {processor_name()}",
        ["file", "weights", "engine", "SNR, dB", "top-1, %", "change, points"],
        [_words(row) for row in rows],
        {"command": command, "rows": [asdict(row) for row in rows]},
        table,
    )


def measure(network: Network, rule: Rule) -> list[Row]:
    """Quantize a network by one rule and return its rows."""
    layout = replace(ONNX_RUNTIME, fits_16_bits=rule != "-127..127")
    name = [o.name for o in open_session(network.path).get_outputs() if o.type == "tensor(float)"]
    float_file = open_session(network.path, threads=2)
    want = [float_file.run(name[-1:], dict(batch))[0] for batch in network.tests]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch, _rule(rule):
        path = Path(scratch) / "int8.onnx"
        calibrated = calibrate(network.path, lambda: iter(network.calibration), layout=layout)
        write_int8(calibrated, path, layout=layout, accuracy=())
        rows = []
        for engine, answer in _engines(path, name[-1]).items():
            got = [answer(batch) for batch in network.tests]
            share, change = right(network.labels, want, got)
            rows.append(Row(network.name, rule, engine, snr_db(want, got), share, change))
        return rows


def _rule(rule: Rule) -> AbstractContextManager[Any]:
    if rule == "seven bits":
        return patch.object(scales, "find_safe_scale", lambda _w, _axis, scale: scale * 127 / 64)
    return nullcontext()


def _engines(path: Path, output: str) -> dict[str, Answers]:
    import openvino

    written, fused = open_session(path, threads=2, options=IN_FLOAT), open_session(path, threads=2)
    compiled = openvino.Core().compile_model(path, "CPU")
    return {
        "as written": lambda batch: np.asarray(written.run([output], dict(batch))[0]),
        "ONNX Runtime": lambda batch: np.asarray(fused.run([output], dict(batch))[0]),
        "OpenVINO": lambda batch: np.array(compiled(dict(batch))[output]),
    }


def _words(row: Row) -> Sequence[str]:
    return [
        *(row.network, row.rule, row.engine, f"{row.snr_db:.1f}"),
        "" if row.right is None else f"{row.right:.2f}",
        "" if row.change is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*row.change),
    ]


if __name__ == "__main__":
    main()
