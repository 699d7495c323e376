"""What can run a model. ONNX Runtime is the runner's own engine; any other is a file in here.

An engine file defines a class `Engine` with the members of the runner's own, imports nothing of
edgekd, and is loaded by the runner inside the process under test.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import RecipeError


@dataclass(frozen=True)
class Runtime:
    """A runtime by name: the package that it needs, and the file that drives it."""

    package: str  # as pip calls it
    module: str  # as Python imports it
    engine: str | None  # a file in this folder; None: the runner's own
    suffixes: tuple[str, ...]  # of the files that it runs
    install: str  # how a user gets it


RUNTIMES = {
    "onnxruntime": Runtime(
        "onnxruntime", "onnxruntime", None, (".onnx",), "pip install onnxruntime"
    ),
}
"""Every runtime by name; the first is the default."""


def engine_of(name: str) -> Path | None:
    """Return the file with the engine of a runtime; None: the runner's own.

    Raises:
        RecipeError: there is no runtime of that name; the message lists those known.
    """
    engine = known(name).engine
    return None if engine is None else Path(__file__).with_name(engine)


def known(name: str) -> Runtime:
    """Return the runtime of that name; raises as `engine_of` does."""
    if name not in RUNTIMES:
        raise RecipeError(f"the runtime {name!r} is unknown; known are: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def missing(name: str) -> str:
    """Return why a runtime cannot be used here, in words; "" if it can. Nothing is imported."""
    runtime = known(name)
    if importlib.util.find_spec(runtime.module) is None:
        return f"not available: the package {runtime.package} is not installed ({runtime.install})"
    return ""


def version(name: str) -> str:
    """Return "onnxruntime 1.31.1"; "onnxruntime" where the package is not installed."""
    try:
        return f"{name} {importlib.metadata.version(known(name).package)}"
    except importlib.metadata.PackageNotFoundError:
        return name
