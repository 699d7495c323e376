"""The runtimes that can run a model. ONNX Runtime is in the runner; others have a file here.

An engine file defines `Engine` with the members of the runner's own, does not import edgekd, and
is loaded by the runner inside the process under test. Where a runtime builds something of a file
that is worth keeping, `build_file(arguments, feeds)` writes it to the file `arguments.build`.

An engine file is not named like the package it drives: beside the runner on a board, a file
`openvino.py` would be what `import openvino` finds.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime by name: the package that it needs, and the file that drives it."""

    package: str  # as pip calls it
    module: str  # as Python imports it
    engine: str | None  # a file in this folder; None: the runner's own
    suffixes: tuple[str, ...]  # of the files that it runs
    install: str  # how a user gets it
    builds: tuple[str, ...] = ()  # other packages that bring the same module
    built: str = ""  # suffix of what its `build_file` makes of a file, once per device; "": nothing
    lacks: Callable[[], str] = str  # what else it needs and this machine has not, in words; or ""


def no_nvidia_driver() -> str:
    """Return a message if there is no NVIDIA driver; "" if there is one."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"this machine has no NVIDIA driver ({library} cannot be loaded)"
    return ""


def _no_tensorrt() -> str:
    """TensorRT 8 and 9 lack what the engine uses; without a driver its runtime may crash."""
    found = version("tensorrt").removeprefix("tensorrt").strip()
    if found and int(found.partition(".")[0]) < 10:
        return f"TensorRT {found} is installed, and 10 or newer is needed"
    return no_nvidia_driver()


def _no_compiler() -> str:
    """Inductor writes C++ and has it compiled."""
    compiler = os.environ.get("CXX") or "g++"
    if sys.platform in ("win32", "darwin") or any(map(shutil.which, (compiler, "clang++"))):
        return ""
    return f"torch.compile needs a C++ compiler and {compiler} is not there; install g++"


RUNTIMES = {
    "onnxruntime": Runtime(
        package="onnxruntime",
        module="onnxruntime",
        engine=None,
        suffixes=(".onnx",),
        install="pip install onnxruntime",
        builds=("onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-directml"),
    ),
    "openvino": Runtime(
        package="openvino",
        module="openvino",
        engine="openvino_engine.py",
        suffixes=(".onnx", ".xml"),
        install="pip install 'edgekd[openvino]'",
    ),
    "tensorrt": Runtime(
        package="tensorrt",
        module="tensorrt",
        engine="tensorrt_engine.py",
        suffixes=(".onnx",),
        install="pip install tensorrt; on a Jetson JetPack brings it",
        builds=("tensorrt-cu13", "tensorrt-cu12"),
        built=".plan",
        lacks=_no_tensorrt,
    ),
    "torch": Runtime(
        package="torch",
        module="torch",
        engine="torch_engine.py",
        suffixes=(".pt2",),
        install="pip install 'edgekd[train]'",
    ),
    "torch-compiled": Runtime(
        package="torch",
        module="torch",
        engine="torch_compiled_engine.py",
        suffixes=(".pt2",),
        install="pip install 'edgekd[train]'",
        lacks=_no_compiler,
    ),
}
"""Every runtime by name; the first is the default."""


def engine_of(name: str) -> Path | None:
    """Return the file with the engine of a runtime; None: the runner's own.

    Raises:
        RecipeError: the runtime is unknown; the message lists those known.
    """
    engine = known(name).engine
    return None if engine is None else Path(__file__).parent / engine


def known(name: str) -> Runtime:
    """Return the runtime of that name; raises as `engine_of` does."""
    if name not in RUNTIMES:
        raise RecipeError(f"the runtime {name!r} is unknown; known: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def missing(name: str) -> str:
    """Return why a runtime cannot be used here, in words; "" if it can. Nothing is imported."""
    runtime = known(name)
    if importlib.util.find_spec(runtime.module) is None:
        return f"not available: the package {runtime.package} is not installed ({runtime.install})"
    lack = runtime.lacks()
    return f"not available: {lack}" if lack else ""


def version(name: str) -> str:
    """Return "onnxruntime 1.31.1"; "onnxruntime" where the package is not installed."""
    import importlib.metadata  # slow to import, and `edgekd --help` reads the table above

    runtime = known(name)
    for package in (runtime.package, *runtime.builds):
        try:
            return f"{name} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return name
