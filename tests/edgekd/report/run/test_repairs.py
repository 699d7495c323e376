"""The page says what was tried for accuracy, what it gained and cost, and which layers err most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekd.evaluation.record import from_json
from edgekd.report.run import write

Content = dict[str, Any]
STEPS = [
    {"method": "plain", "snr_db": 16.0, "gain_db": None, "seconds": 0.4, "kept": True},
    {
        "method": "equalize",
        "snr_db": None,
        "gain_db": None,
        "seconds": 0.1,
        "kept": False,
        "note": "no two layers have only operators between them that keep channels apart",
    },
    {"method": "smooth", "snr_db": 22.0, "gain_db": 6.0, "seconds": 3.2, "kept": True}
    | {"quality": "-0.40 points relative to the teacher"},
    {"method": "rounding", "snr_db": 21.9, "gain_db": -0.1, "seconds": 9.0, "kept": False},
]
LAYERS = [
    {
        "layer": f"encoder/{i}/MatMul",
        "snr_db": 20.0 + i,
        "work": 1 / 12,
        "in_float": i == 0,
        "without_db": 25.5 if i == 0 else None,
    }
    for i in range(12)
]


def test_steps_and_layers_are_shown(content: Content, read: Callable[..., Any]) -> None:
    content["rungs"][-1]["calibration"] = {
        "int8": {
            "samples": 64,
            "activations": "uint8",
            "weights": "int8",
            "ranges": {"minmax": 3},
            "key": "0" * 64,
            "repairs": STEPS,
            "sensitivity": LAYERS,
        }
    }
    text = read(write.page(from_json(content))).text
    for figure in (
        "SmoothQuant",
        "+6.0 dB",
        "3.2 s",
        "no two layers",
        "not kept: no gain",
        "-0.40 points",
    ):
        assert figure in text, figure
    for figure in ("encoder/0/MatMul", "25.5 dB", "8.3 %", "2 more layers err less"):
        assert figure in text, figure
    assert "encoder/11/MatMul" not in text


def test_a_run_without_them_has_no_section(content: Content, read: Callable[..., Any]) -> None:
    assert "How INT8 follows the float file" not in read(write.page(from_json(content))).text
