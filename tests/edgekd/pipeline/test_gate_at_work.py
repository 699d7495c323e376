"""The gate at work: one network in several variants, made in one step, timed for real.

With uint8 activations all layers fuse in ONNX Runtime. What that brings is the processor's to say:
with a dot product for 8 bits it pays, on an older one the gate has to find out. Variants for other
runtimes would be slower here, which says nothing about them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from edgekd.exporters.torch_to_onnx import export_onnx
from edgekd.models import resnet8
from edgekd.pipeline.compress import compress
from edgekd.recipe.recipe import parse_recipe

TABLE: dict[str, Any] = {
    "name": "gate",
    "data": {"path": "bars.npz", "validation": 0.3, "test": 0.2, "calibration": 64},
    "budget": {"max_drop": 100.0},  # it is not trained: the clock alone decides
    "measure": {"rounds": 5, "blocks": 4, "block_s": 0.01},
}
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file with residual sums: what its weights are changes no timing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("residual") / "resnet8.onnx"
    export_onnx(
        resnet8(classes=3, channels=1).eval(),
        [torch.rand(2, 1, 24, 24)],
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}},
    )
    return path


def has_dot_product(evidence: Mapping[str, Any]) -> bool:
    """Whether the processor that was timed multiplies 8-bit numbers four at a time."""
    flags = evidence["conditions"]["cpu"].rpartition("[")[2]
    return bool(DOT_PRODUCTS & set(re.findall(r"\w+", flags)))


@pytest.mark.timing
def test_a_variant_stays_if_it_is_faster_here_or_for_another_runtime(
    job: Path,
    residual: Path,
    tmp_path: Path,
    lawful: Callable[[Mapping[str, Any]], None],
) -> None:
    variants = ["int8", "int8-xnnpack", "int8-tensorrt", "fp16"]
    step = {"name": "quantize", "samples": 64, "variants": variants}
    model = {"onnx": str(residual), "input": {"mean": 60.0, "std": 60.0}}
    table = {**TABLE, "allow_poor_teacher": True, "model": model, "steps": [step]}
    run = compress(parse_recipe(table, origin="test"), root=job, out=tmp_path / "run")
    content = run.record.to_json()
    lawful(content)
    rung = content["rungs"][1]
    here, *elsewhere = rung["rulings"]
    kernels = {f["variant"]: f["kernels"] for f in rung["evidence"]["files"]}
    assert kernels["int8"]["fp32_layers"] == 0
    assert here["kept"] or not has_dot_product(rung["evidence"]), rung["verdict"]
    # INT8 is the smaller: it ships too where the last session cannot tell the two apart.
    ships = content["final"]["files"][content["final"]["chosen"]]
    shipped = ("quantize", "int8") if here["kept"] else ("teacher", "fp32")
    assert (ships["title"], ships["variant"]) == shipped
    # Those of other runtimes are judged by quality, not timed, and in the bundle.
    homes = ["XNNPACK", "TensorRT", "Core ML, CUDA or WebGPU"]
    assert [ruling["not_measured_on"] for ruling in elsewhere] == homes
    files = {file["variant"]: file for file in content["final"]["files"][1:]}
    bundle = run.bundle
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf8"))
    measured = {
        model["variant"]: model["measured"] for model in manifest["models"] if not model["batch"]
    }
    for ruling, home in zip(elsewhere, homes, strict=True):
        assert ruling["kept"], ruling
        assert ruling["numbers"].startswith(f"not measured on {home}, ")
        assert "faster" not in ruling["numbers"]
        assert (bundle / f"model.{ruling['variant']}.onnx").is_file()
        file = files[ruling["variant"]]
        assert (file["only_for"], file["latency_s"], file["speedup"]) == (home, None, None)
        assert measured[ruling["variant"]]["latency_s"] is None
    for text in (run.report.read_text("utf8"), repr(run), (bundle / "MODEL_CARD.md").read_text()):
        assert "not measured on TensorRT" in " ".join(text.split())
