"""TensorRT-RTX says which layers of a file run in INT8, and why a file is no engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekd.errors import MissingExtra, ModelError
from edgekd.exporters.tensorrt import rtx
from edgekd.exporters.tensorrt.proof import prove_int8

Write = Callable[..., Path]
CONV = ("Conv", ["N", 3, 8, 8], (8, 3, 3, 3), 0)

RTX = pytest.mark.skipif(bool(rtx.missing()), reason=rtx.missing())


@RTX
@pytest.mark.parametrize(
    ("layer", "attributes", "why"),
    [
        (CONV, {}, ""),
        (("Conv", ["N", 8, "height", 8], (8, 1, 3, 3), 0), {"group": 8}, ""),
        (("MatMul", ["N", "seq", 16], (16, 8), 1), {}, ""),
        (("Gemm", [2, 16], (8, 16), 0), {"transB": 1, "alpha": 0.5}, ""),
        # These build without a word, and multiply in float.
        (("Conv", ["N", 3, 8, 8], (8, 3, 3, 3), 1), {}, "correlation of Float by Float"),
        (("MatMul", ["N", 7, 16], (16, 8), 0), {}, "runtime_fusion"),
        (("ConvTranspose", ["N", 8, 4, 4], (8, 4, 2, 2), 1), {}, "deconv of Float"),
    ],
)
def test_each_claim_is_looked_up(
    write: Write, layer: Any, attributes: dict[str, Any], why: str
) -> None:
    proof = prove_int8(write(*layer, **attributes))
    assert proof.build.message == ""
    assert (proof.build.engine_bytes or 0) > 1000
    assert proof.holds is not bool(why)
    assert proof.int8 == (() if why else ("layer",))
    assert list(proof.floats) == (["layer"] if why else [])
    assert why in "".join(proof.floats.values())
    assert f"{1 - bool(why)} of 1 claimed layers run in INT8" in proof.summary()


def zero_point(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array(3, np.int8), "zero"))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Foo", ["z"], ["y"], name="odd one", domain="my.dom"))
    model.opset_import.append(helper.make_opsetid("my.dom", 1))


@RTX
@pytest.mark.parametrize(
    ("change", "words"),
    [(zero_point, "Non-zero zero point is not supported"), (foreign, "Plugin not found")],
)
def test_a_refusal_is_told(
    write: Write, change: Callable[[onnx.ModelProto], object], words: str
) -> None:
    proof = prove_int8(write(*CONV, change=change))
    assert not proof.holds
    assert not proof.build.parsed
    assert words in proof.summary()
    assert "\n" not in proof.summary()
    assert proof.floats == {"layer": "there is no engine"}


def odd_names(model: onnx.ModelProto) -> None:
    """Two nodes of one name, one without, and one that looks like the log."""
    for node, name in zip(model.graph.node, ["a", "a", "", "l]\x1f[ONNX Layer: a"], strict=True):
        node.name = name


@RTX
def test_any_text_may_be_a_name(write: Write) -> None:
    proof = prove_int8(write(*CONV, change=odd_names))
    assert proof.int8 == ("l]\x1f[ONNX Layer: a",)
    assert proof.holds
    unnamed = prove_int8(write(*CONV, change=lambda m: m.graph.node[-1].ClearField("name")))
    assert unnamed.int8 == ("y",)


@RTX
def test_claims_that_are_no_products_do_not_hold(write: Write) -> None:
    path = write(*CONV)
    proof = prove_int8(path, ["Q"])
    assert proof.floats == {"Q": "no layer of the engine multiplies for it"}
    with pytest.raises(ModelError, match="has no node none; give names"):
        prove_int8(path, ["none"])
    assert prove_int8(path, []).holds


@RTX
def test_a_build_ends_in_time(write: Write) -> None:
    build = rtx.build_engine(write(*CONV), limit_s=0.01)
    assert build.message == "TensorRT-RTX: no engine after 0.01 seconds, so it was ended"
    assert (build.engine_bytes, build.build_s) == (None, None)


@RTX
def test_a_crash_is_told(write: Write) -> None:
    build = rtx.build_engine(write(*CONV), capability="SM1")
    assert "it ended with code 1: AttributeError" in build.message


def test_what_is_missing_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtx, "_PACKAGES", ("no_such_package",))
    with pytest.raises(MissingExtra, match=r"edgekd\[tensorrt-rtx\]"):
        prove_int8(write(*CONV))
