"""What an app reads of a file is carried along; what identifies a machine is not, and is listed."""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto, helper

from edgekd.exporters.onnx_metadata import licence, list_left_out, split_metadata
from edgekd.exporters.strip import strip

CARRIED = {
    "names": "{0: 'person', 1: 'bicycle', 2: 'traffic light'}",
    "stride": "32",
    "imgsz": "[640, 640]",
    "task": "detect",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "docs": "https://docs.example.org/a/b/c",
    "rate": "16000/3",
}
REFUSED = {
    "description": "trained on /usr/src/app/cfg/datasets/coco.yaml",
    "args": "{'model': '/home/ada/best.pt'}",
    "script": "export.py",
    "onnx.infer": "onnxruntime.quant",
    "cache": "C:\\work\\ada\\net",
}


def tagged() -> ModelProto:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { y = Relu(x) }'
    )
    helper.set_model_props(made, {**CARRIED, **REFUSED})
    return made


def test_metadata_that_identifies_nobody_is_carried_along() -> None:
    carried, refused = split_metadata(tagged())
    assert carried == CARRIED
    assert refused.keys() == REFUSED.keys()
    assert {entry.key: entry.value for entry in strip(tagged()).metadata_props} == CARRIED
    assert licence(carried) == CARRIED["license"]


def test_the_user_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "adalove")
    made = tagged()
    helper.set_model_props(made, {"author": "by adalove", "group": "adaloved"})
    assert split_metadata(made)[0] == {"group": "adaloved"}


def test_what_is_left_out_is_listed() -> None:
    made = tagged()
    assert len(list_left_out(made)) == len(REFUSED)
    made.producer_name, made.doc_string = "trainer", "a text"
    made.graph.node[0].metadata_props.add(key="trace", value="x")
    listed = "; ".join(list_left_out(made))
    for word in ("'description'", "'/home/ada/best.pt", "doc strings", "at the nodes"):
        assert word in listed
    assert "trainer" not in listed  # a program's name identifies no machine
    assert list_left_out(strip(made)) == []
