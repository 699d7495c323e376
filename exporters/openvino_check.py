"""OpenVINO reads ONNX files as they are: each is read, run and compared here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.artifact import Variant
from edgekd.benchmarks.runtimes.openvino_engine import import_openvino
from edgekd.data.dataset import Arrays
from edgekd.errors import ModelError, one_line, require
from edgekd.exporters.lint.openvino import lint_openvino
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.target import Exported, Source, Target
from edgekd.exporters.target_check import answers, describe_difference, sample_inputs


def check_openvino(source: Source, target: str) -> Exported:
    """Read and run each file in OpenVINO on this CPU; nothing has to be written.

    Raises:
        ModelError: it cannot read a file, or the outputs differ.
        MissingExtra: OpenVINO is not installed.
    """
    require("openvino", extra="openvino")
    core = import_openvino().Core()
    rows, faults = list[dict[str, str]](), list[str]()
    for variant, path in source.files.items():
        ok, words = _check(core, source, path, variant)
        rows.append({"file": path.name, "outputs": words, "layers": _layers(path)})
        if not ok:
            faults.append(f"{path.name}: {words}")
    if faults:
        raise ModelError(f"OpenVINO does not give the outputs of {'; '.join(faults)}")
    text = "\n".join(
        f"{row['file']}: OpenVINO gives its outputs {row['outputs']}; {row['layers']}"
        for row in rows
    )
    return Exported(text=f"{text}\n", facts={"files": rows})


def _check(core: Any, source: Source, path: Path, variant: Variant | None) -> tuple[bool, str]:
    inputs = sample_inputs(source, path)
    want = answers(path, inputs)
    try:
        # some processors would compute float32 in bfloat16 unasked
        model = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        got = [_run(model, one) for one in inputs]
    except RuntimeError as error:
        return False, f"it refuses the file ({one_line(error)[:300]})"
    return describe_difference(want, got, variant)


def _run(model: Any, inputs: Arrays) -> dict[str, Any]:
    found = model(dict(inputs))
    names = {port: port.any_name for port in model.outputs}
    return {name: np.asarray(found[port]) for port, name in names.items()}


def _layers(path: Path) -> str:
    """Return how many layers run in INT8 here, by OpenVINO's own list of kernels."""
    found = lint_openvino(path, load_onnx(path))
    return f"{found.int8_layers} of {found.int8_layers + found.float_layers} layers run in INT8"


OPENVINO = Target(
    name="openvino",
    about="reads the ONNX files as they are; each is run and compared here",
    takes=lambda text: text == "openvino",
    export=check_openvino,
)
