from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from edgekd.benchmarks.measurement import Setup
from edgekd.benchmarks.runtimes import missing
from edgekd.devices import open_place
from edgekd.devices.options import DeviceOptions
from edgekd.errors import RecipeError


def test_a_name_alone_is_a_device_with_every_default() -> None:
    named = DeviceOptions.model_validate("local")
    assert named == DeviceOptions(name="local")
    assert named.setup() == Setup()
    assert open_place(named).title == "local"


def test_providers_have_short_names_and_every_setup_a_title() -> None:
    options = DeviceOptions(name="local", provider="cpu", threads=2)
    assert options.setup() == Setup("onnxruntime", "CPUExecutionProvider", 2)
    assert open_place(options).title == "local, CPUExecutionProvider, 2 threads"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"runtime": "torch"}, "'torch' does not run ONNX files; these do: onnxruntime"),
        ({"provider": "gpu"}, "the provider 'gpu' of onnxruntime is unknown"),
        ({"threads": 0}, "greater than or equal to 1"),
        ({"thread": 2}, "Extra inputs"),
    ],
)
def test_what_is_not_a_device_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DeviceOptions.model_validate({"name": "local", **options})


def test_editors_take_a_name_or_a_table() -> None:
    schema = TypeAdapter(tuple[DeviceOptions, ...]).json_schema()
    text, table = schema["$defs"]["DeviceOptions"]["anyOf"]
    assert text == {"type": "string"}
    assert set(table["properties"]) == {"name", "runtime", "provider", "threads"}


@pytest.mark.skipif(missing("tensorrt") == "", reason="TensorRT can be used here")
def test_a_runtime_that_is_not_there_is_refused_before_any_work() -> None:
    with pytest.raises(RecipeError, match="'local' cannot run files with tensorrt: not available"):
        open_place(DeviceOptions(name="local", runtime="tensorrt"))
