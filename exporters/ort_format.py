"""ONNX Runtime's own format, for builds of it that contain only some operators.

`.ort` files are optimized in advance for a kind of processor, so a small build needs neither the
optimizer nor the reader of ONNX. The list of operators is what such a build is compiled with
(`--include_ops_by_config`).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import onnxruntime

from edgekd.artifact import FP32, Variant
from edgekd.errors import ModelError, one_line
from edgekd.exporters.ort_session import open_session, run
from edgekd.exporters.target import Exported, Source, Target
from edgekd.exporters.target_check import answers, describe_difference, sample_inputs

OPERATORS = "required_operators_and_types.config"
_PLATFORMS = {"ort": "amd64", "ort-arm": "arm"}
_NOT_FOR_IT: tuple[Variant, ...] = ("int8-tensorrt",)


def export_ort(source: Source, target: str) -> Exported:
    """Return an .ort file of each file, and one list of operators.

    Raises:
        ModelError: not one of them can be converted, or gives the outputs that it had.
    """
    platform = _PLATFORMS[target]
    wanted = {v: path for v, path in source.files.items() if v not in _NOT_FOR_IT}
    found: dict[str, bytes] = {}
    lines, dropped = list[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        made = Path(scratch)
        for variant, path in wanted.items():
            try:
                data = _convert(path, made / path.stem, platform)
                ok, words = _compare(source, path, data, variant)
            except ModelError as error:
                ok, words, data = False, one_line(error), b""
            name = f"{path.stem}.ort"
            reason = _no_gain(variant, data, found.get(f"model.{FP32}.ort"))
            if ok and reason:
                ok, words = False, reason
            if ok:
                found[name] = data
                lines.append(
                    f"{name}: {len(data):,} bytes; gives the outputs of {path.name} {words}"
                )
            else:
                dropped.append(f"{name} is left out: {words}")
                shutil.rmtree(made / path.stem, ignore_errors=True)
        if not found:
            raise ModelError(f"no file of {source.path} becomes an .ort file: {'; '.join(dropped)}")
        operators = _operators(made)
    lines += [*dropped, _build(platform)]
    files: dict[str, str | bytes] = {**found, OPERATORS: operators}
    return Exported(
        text="\n".join([*lines, "", operators]),
        notes="\n".join([*lines, ""]),
        files=files,
        facts={"platform": platform, "dropped": dropped, "operators": operators.splitlines()},
    )


def _no_gain(variant: Variant | None, data: bytes, plain: bytes | None) -> str:
    """Return why a file of float16 is of no use beside that of float32, or ""."""
    if variant != "fp16" or plain is None or len(data) < len(plain):
        return ""
    return (
        f"it is no smaller than that of FP32 ({len(data):,} and {len(plain):,} bytes) and no "
        "faster: ONNX Runtime computes in float32 on a CPU, and stores the weights so in .ort files"
    )


def _build(platform: str) -> str:
    here = "an ARM processor" if platform == "arm" else "an x86-64 processor"
    return (
        f"optimized for {here}. A build of ONNX Runtime with these operators alone: "
        f"./build.sh --config MinSizeRel --minimal_build --include_ops_by_config {OPERATORS} "
        "--enable_reduced_operator_type_support --disable_ml_ops"
    )


def _convert(path: Path, folder: Path, platform: str) -> bytes:
    """Convert one file as onnxruntime's own tool does, into a folder of its own; return the bytes.

    The tool itself (`onnxruntime.tools.convert_onnx_models_to_ort`) prints, and takes the level
    from an environment variable.

    Raises:
        ModelError: it cannot be loaded.
    """
    folder.mkdir()
    target = folder / f"{path.stem}.ort"
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(target)
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 4  # its errors also come as exceptions
    settings.add_session_config_entry("session.save_model_format", "ORT")
    is_arm = platform == "arm"  # where signed INT8 pays, and blocked channels do not exist
    settings.add_session_config_entry("session.qdqisint8allowed", "1" if is_arm else "0")
    try:
        onnxruntime.InferenceSession(
            str(path),
            settings,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["NchwcTransformer"] if is_arm else None,
        )
    except Exception as error:  # onnxruntime raises many kinds
        raise ModelError(f"ONNX Runtime cannot convert it: {one_line(error)[:300]}") from error
    return target.read_bytes()


def _compare(source: Source, path: Path, data: bytes, variant: Variant | None) -> tuple[bool, str]:
    inputs = sample_inputs(source, path)
    want = answers(path, inputs)
    session = open_session(data, name=f"{path.stem}.ort")
    names = [entry.name for entry in session.get_outputs()]
    taken = {entry.name for entry in session.get_inputs()}
    got = []
    for one in inputs:
        feeds = {name: array for name, array in one.items() if name in taken}
        got.append(dict(zip(names, run(session, names, feeds, name=path.stem), strict=True)))
    return describe_difference(want, got, variant)


def _operators(folder: Path) -> str:
    """Return the list of operators of all files, without the comments that tell where they lay."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    target, before = folder / OPERATORS, logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
            create_config_from_models(sorted(folder.rglob("*.ort")), target, True)
    finally:
        logging.disable(before)
    lines = target.read_text(encoding="utf8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#")) + "\n"


ORT = Target(
    name="ort or ort-arm",
    about=".ort files and their list of operators, for small builds of ONNX Runtime",
    takes=lambda text: text in _PLATFORMS,
    export=export_ort,
)
