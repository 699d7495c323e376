"""The gate at work: the same network, quantized in two layouts, timed for real.

ONNX Runtime does not fuse int8 activations around a residual sum on this kind of processor, so that
file is truly slower than FP32 and must go, with that reason; uint8 activations pay and stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekd.pipeline import compress
from edgekd.recipe import recipe_from

TABLE: dict[str, Any] = {
    "name": "gate",
    "data": {"path": "bars.npz", "validation": 0.3, "test": 0.2, "calibration": 64},
    "model": {
        "build": "edgekd.models:resnet8",
        "options": {"classes": 3, "channels": 1},
        "train": {"epochs": 2, "batch_size": 32, "learning_rate": 0.05},
    },
    "budget": {"max_drop": 8.0},
    "measure": {"rounds": 6, "blocks": 4, "block_s": 0.01},
}


def quantized(job: Path, out: Path, activations: str) -> dict[str, Any]:
    """Run it and return the record."""
    step = {"name": "quantize", "samples": 64, "activations": activations}
    recipe = recipe_from({**TABLE, "steps": [step]}, origin="test")
    return dict(compress(recipe, root=job, out=out).record.content)


@pytest.mark.timing
def test_a_quantized_file_that_is_slower_is_rolled_back_for_that_reason(
    job: Path, tmp_path: Path
) -> None:
    slow = quantized(job, tmp_path / "run", "int8")
    rung = slow["rungs"][1]
    speed = rung["evidence"]["findings"]["speedup"]
    assert speed["high"] < 1, "the file was not truly slower here"
    assert not rung["kept"]
    assert rung["reasons"] == ["slower"]
    kernels = rung["evidence"]["files"][rung["evidence"]["judged"]]["facts"]["kernels"]
    assert kernels["fp32_layers"] > 0  # why it is slow: these did not fuse
    assert "x slower [" in rung["verdict"]
    assert slow["shipped"] == {"title": "teacher", "variant": "fp32"}
    assert not (tmp_path / "run" / "bundle" / "model.int8.onnx").exists()

    fast = quantized(job, tmp_path / "run", "uint8")
    rung = fast["rungs"][1]
    assert rung["kept"]
    assert rung["evidence"]["findings"]["speedup"]["low"] > 1
    kernels = rung["evidence"]["files"][rung["evidence"]["judged"]]["facts"]["kernels"]
    assert kernels["fp32_layers"] == 0
    assert fast["shipped"] == {"title": "quantize", "variant": "int8"}
    assert (tmp_path / "run" / "bundle" / "model.int8.onnx").exists()
