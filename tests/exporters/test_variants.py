"""The table of variants is whole, and a fixed shape changes nothing but the axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgekd.artifact import Variant
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import parity
from edgekd.exporters.shapes import fixed_shape
from edgekd.exporters.variants import TABLE, Row, find_home
from edgekd.quantization.makers import MAKERS, calibrate_for, make


def test_the_cpu_wants_what_this_version_builds() -> None:
    row = next(r for r in TABLE if r.provider == "CPUExecutionProvider")
    assert (row.runtime, row.variant, row.known) == ("onnxruntime", "int8", "run here")


def test_every_row_is_its_own_and_says_how_it_is_known() -> None:
    assert len({(row.runtime, row.provider) for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert row.variant in get_args(Variant)
        assert row.known in ("run here", "from documentation", "unverified")
        assert row.reason


def in_onnxruntime(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    return predictor(path)({"x": x})["y"]


def in_openvino(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    openvino = pytest.importorskip("openvino")
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", hints)
    return np.asarray(compiled({"x": x})[compiled.output(0)])


RUNS: dict[tuple[str, str], Callable[[Path, NDArray[Any]], NDArray[Any]] | str] = {
    ("onnxruntime", "CPUExecutionProvider"): in_onnxruntime,
    ("openvino", "CPU"): in_openvino,
    ("onnxruntime-web", "wasm"): "benchmarks/trials/variant_runtimes.py",
}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[Any], dict[Variant, Path]]:
    """Inputs, and one network in FP32 and all variants."""
    folder = tmp_path_factory.mktemp("variants")
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        g (float[b, 64] x) => (float[b, 64] y) { m = MatMul(x, v) r = Relu(m) y = MatMul(r, w) }""")
    for name in "vw":
        weight = (rng.standard_normal((64, 64)) / 8).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    files: dict[Variant, Path] = {"fp32": folder / "fp32.onnx"}
    save_onnx(model, files["fp32"])
    x = rng.standard_normal((16, 64)).astype(np.float32)
    calibrated = calibrate_for(list(MAKERS), files["fp32"], lambda: iter([{"x": x}]))
    for variant in MAKERS:
        files[variant] = folder / f"{variant}.onnx"
        make(variant, calibrated, files[variant], accuracy=())
    return x, files


def test_what_is_said_to_run_here_is_what_tests_and_trials_run() -> None:
    rows = {(row.runtime, row.provider) for row in TABLE if row.known == "run here"}
    assert rows == set(RUNS)
    for trial in (run for run in RUNS.values() if isinstance(run, str)):
        assert "wasm" in (Path(__file__).parents[2] / trial).read_text(encoding="utf8")


@pytest.mark.parametrize("row", [r for r in TABLE if r.known == "run here"], ids=lambda r: r.title)
def test_a_runtime_answers_as_float_does_with_each_of_its_variants(row: Row, every: Any) -> None:
    run, (x, files) = RUNS[row.runtime, row.provider], every
    if isinstance(run, str):
        pytest.skip(f"{run} runs it")
    want = in_onnxruntime(files["fp32"], x)
    for variant in (row.variant, *row.also):
        noise = np.square(run(files[variant], x) - want).sum()
        least_db = 18 if variant == "int4" else 30
        assert 10 * np.log10(np.square(want).sum() / noise) > least_db, variant


def test_the_home_of_a_variant_is_named_where_it_is_not_here() -> None:
    cpu = partial(find_home, runtime="onnxruntime", provider="")
    assert [cpu(v) for v in ("fp32", "int8", "int8-dynamic", "int8-weights", "int4")] == [""] * 5
    assert cpu("int8-tensorrt") == "TensorRT"
    assert cpu("int8-xnnpack") == "XNNPACK"
    assert cpu("fp16") == "Core ML, CUDA or WebGPU"
    assert find_home("fp16", runtime="tensorrt", provider="") == ""
    assert find_home("int8-dynamic", runtime="tensorrt", provider="") == (
        "ONNX Runtime on CPUs or WebAssembly"
    )
    assert find_home("int8-tensorrt", runtime="one of my own", provider="") == ""
    assert find_home("int8-tensorrt", runtime="openvino", provider="") == "TensorRT"


def shapes(model: onnx.ModelProto) -> dict[str, list[Any]]:
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*model.graph.input, *model.graph.value_info, *model.graph.output]
    }


def test_a_fixed_file_has_no_symbol_left_and_answers_the_same(pixels: Any, tmp_path: Any) -> None:
    fixed = fixed_shape(onnx.load(pixels.path))
    found = shapes(fixed)
    assert found["image"] == [1, 16, 16, 3]
    assert found["logits"] == [1, 10]
    assert all(isinstance(n, int) and n > 0 for shape in found.values() for n in shape)
    save_onnx(fixed, tmp_path / "fixed.onnx")
    one = {"image": pixels.example[0][:1].numpy()}
    reference = predictor(pixels.path)(one)
    assert parity(reference, predictor(tmp_path / "fixed.onnx")(one), rtol=0.0).ok
    many = {"image": pixels.example[0].numpy()}  # run one by one
    reference = predictor(pixels.path)(many)
    assert parity(reference, predictor(tmp_path / "fixed.onnx")(many), rtol=1e-5).ok


def test_other_axes_stay_unless_given(words: Any) -> None:
    model = onnx.load(words.path)
    assert shapes(fixed_shape(model, 4))["tokens"] == [4, "sequence"]
    assert shapes(fixed_shape(model, 4))["logits"] == [4, 3]
    assert shapes(fixed_shape(model, lengths={"sequence": 9}))["mask"] == [1, 9]
    assert shapes(model)["tokens"] == ["batch", "sequence"]  # the given model is not changed


def test_the_page_on_variants_has_every_variant_and_runtime() -> None:
    page = (Path(__file__).parents[2] / "docs/variants.md").read_text(encoding="utf8")
    written, _, runtimes = page.partition("## Which runtime runs what")
    for variant in MAKERS:
        assert f"| `{variant}` |" in written
    rows = {
        line.split("|")[2].strip(): line for line in runtimes.splitlines() if line.startswith("| O")
    }
    for row in TABLE:
        names = ", ".join(f"`{variant}`" for variant in (row.variant, *row.also))
        assert row.known in rows[names]
