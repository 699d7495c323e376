"""Laws of the table of runtimes: what a run timed is not overruled by what is usual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgekd.artifact import Variant
from edgekd.bundle.describe import ModelFile, Shipped, runtimes
from edgekd.bundle.write import Contents
from edgekd.evaluation.formatting import int8_share
from edgekd.exporters.file_facts import OnnxFacts
from tests.edgekd.bundle.conftest import PREPROCESS

Stage = Callable[[str], Contents]


@pytest.mark.parametrize("ships", ["int8-dynamic", "int8-weights", "fp32"])
def test_the_runtime_that_was_measured_loads_what_ships(ships: Variant, stage: Stage) -> None:
    record = stage("pixels").record
    variants: tuple[Variant, ...] = ("fp32", "int8", "int8-dynamic", "int8-weights")
    shipped = Shipped(
        preprocess=PREPROCESS["pixels"],
        signals={},
        variant=ships,
        dynamic={variant: f"model.{variant}.onnx" for variant in variants},
        fixed={},
        from_files=True,
        left_out={},
    )
    rows = {(row.runtime, row.provider): row for row in runtimes(shipped, record)}
    here = rows["onnxruntime", "CPUExecutionProvider"]
    assert (here.file, here.known, here.in_bundle) == (f"model.{ships}.onnx", "measured", True)
    assert rows["onnxruntime-web", "wasm"].file == "model.int8.onnx"
    final = record.final
    files = tuple(replace(file, only_for="TensorRT", latency_s=None) for file in final.files)
    elsewhere = replace(record, final=replace(final, files=files), calls=())
    rows = {(row.runtime, row.provider): row for row in runtimes(shipped, elsewhere)}
    assert rows["onnxruntime", "CPUExecutionProvider"].file == "model.int8.onnx"


def test_a_reference_that_is_no_float32_file_is_called_what_it_is() -> None:
    facts = OnnxFacts(
        parameters=1,
        macs=1,
        int8_share=0.0,
        int8_bytes_share=0.0,
        size_bytes=1,
        opset=20,
        inputs=(),
        outputs=(),
        operators={},
        float_type="float16",
    )
    file = ModelFile(
        file="model.fp32.onnx",
        variant="fp32",
        batch=None,
        sha256="",
        ir_version=8,
        oldest_runtime=None,
        facts=facts,
        measured=None,
    )
    assert file.shown == "`model.fp32.onnx` (float16)"
    assert replace(file, facts=replace(facts, float_type="float32")).shown == "`model.fp32.onnx`"
    half = replace(file, variant="fp16", file="model.fp16.onnx")
    assert half.shown == "`model.fp16.onnx`"  # it says so itself


def test_small_weights_are_not_called_none() -> None:
    facts = OnnxFacts(
        parameters=1,
        macs=1,
        int8_share=0.0,
        int8_bytes_share=0.04,
        size_bytes=1,
        opset=17,
        inputs=(),
        outputs=(),
        operators={},
    )
    assert int8_share(facts) == "weights only, 4 % of their bytes"
    assert int8_share(replace(facts, int8_bytes_share=0.0)) == "none"
