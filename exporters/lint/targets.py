"""The runtimes that lint knows, by the names of `--for`, and what a bundle ships for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.artifact import Variant
from edgekd.errors import RecipeError

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgekd.exporters.lint.finding import Lint

Check = Callable[[Path, "ModelProto"], "Lint"]


@dataclass(frozen=True)
class Target:
    """A runtime, and the variants of a bundle that are for it."""

    name: str
    variants: tuple[Variant, ...]
    about: str
    fixed: bool = False
    """Whether it wants fixed shapes: of a bundle it takes the files with `batch1` in their name."""


_TENSORRT: tuple[Variant, ...] = ("int8-tensorrt", "fp16")
_VERSIONS = {"8.6": (8, 6), "10.3": (10, 3), "10.16": (10, 16), "11": (11, 0)}
TARGETS = (
    Target(
        "cpu",
        ("fp32", "int8", "int8-dynamic", "int8-weights", "int4"),
        "ONNX Runtime on a CPU, WASM",
    ),
    Target("openvino", ("int8",), "OpenVINO on a CPU"),
    Target("xnnpack", ("int8-xnnpack",), "XNNPACK in ONNX Runtime, for phones"),
    Target("qnn", ("int8",), "QNN in ONNX Runtime, for NPUs of Qualcomm", fixed=True),
    Target("coreml", ("fp16",), "CoreML in ONNX Runtime", fixed=True),
    Target("webgpu", ("fp16",), "WebGPU in ONNX Runtime Web"),
    Target("cuda", ("fp16",), "CUDA in ONNX Runtime"),
    *(Target(f"tensorrt-{name}", _TENSORRT, f"TensorRT {name}") for name in _VERSIONS),
)


def find_target(name: str) -> Target:
    """Return a runtime by its name; a version alone is one of TensorRT.

    Raises:
        RecipeError: there is none of this name.
    """
    wanted = name.strip().lower()
    for target in TARGETS:
        if wanted in (target.name, target.name.removeprefix("tensorrt-")):
            return target
    known = "; ".join(f"{target.name}: {target.about}" for target in TARGETS)
    raise RecipeError(f"lint knows no runtime {name!r}; it knows {known}")


def run_lint(path: Path, model: ModelProto, target: Target, *, dla: bool = False) -> Lint:
    """Apply the rules of one runtime to one file, and load it there if the runtime is here."""
    if target.name.startswith("tensorrt-"):
        from edgekd.exporters.lint.tensorrt import lint_tensorrt

        version = _VERSIONS[target.name.removeprefix("tensorrt-")]
        return lint_tensorrt(path, model, version, dla=dla)
    if target.name in ("coreml", "webgpu", "cuda"):
        from edgekd.exporters.lint.float_providers import lint_float_provider

        return lint_float_provider(path, model, target.name)
    return _checks()[target.name](path, model)


def _checks() -> dict[str, Check]:
    from edgekd.exporters.lint.cpu import lint_cpu
    from edgekd.exporters.lint.openvino import lint_openvino
    from edgekd.exporters.lint.qnn import lint_qnn
    from edgekd.exporters.lint.xnnpack import lint_xnnpack

    return {"cpu": lint_cpu, "openvino": lint_openvino, "qnn": lint_qnn, "xnnpack": lint_xnnpack}


def lint_file(path: Path, targets: Sequence[Target], *, dla: bool = False) -> list[Lint]:
    """Check one ONNX file for each runtime.

    Raises:
        ModelError: the file is missing, broken, or lacks its external data.
    """
    from edgekd.exporters.onnx_files import load_onnx

    model = load_onnx(path)
    return [run_lint(path, model, target, dla=dla) for target in targets]


def shipped_for(variants: Iterable[str], targets: Sequence[Target]) -> dict[str, list[Target]]:
    """Return for each shipped variant the runtimes that it is for, of those asked for."""
    found = {v: [t for t in targets if v in t.variants] for v in variants}
    return {variant: some for variant, some in found.items() if some}
