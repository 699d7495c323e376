"""The table of variants is whole, and a fixed shape changes nothing but the axes."""

from __future__ import annotations

from typing import Any, get_args

import onnx

from edgekd.artifact import Variant
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import parity
from edgekd.exporters.shapes import fixed_shape
from edgekd.exporters.variants import TABLE


def test_the_cpu_wants_what_this_version_builds() -> None:
    row = next(r for r in TABLE if r.provider == "CPUExecutionProvider")
    assert (row.runtime, row.variant, row.known) == ("onnxruntime", "int8", "run here")


def test_every_row_is_its_own_and_says_how_it_is_known() -> None:
    assert len({(row.runtime, row.provider) for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert row.variant in get_args(Variant)
        assert row.known in ("run here", "from documentation", "unverified")
        assert row.reason


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
