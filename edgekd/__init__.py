"""From a trained model to a small bundle that was measured to be faster on its device.

    import edgekd

    result = edgekd.compress(model=net, data=(x, y), max_drop=1)  # an nn.Module, arrays
    result = edgekd.compress("mnist")  # a recipe; the result shows the ladder of stages
    edgekd.quantize("net.onnx", data="photos")
    edgekd.audit("net.onnx", data="photos")  # what a teacher is worth, before one learns from it
    edgekd.benchmark("int8.onnx", vs="fp32.onnx")
    edgekd.verify(result.bundle).ok

Importing this is cheap: numpy, onnx and torch come with the first call that needs them.
"""

import importlib
import typing

from edgekd.api import audit, benchmark, compress, load_recipe, quantize, verify
from edgekd.errors import (
    BadInput,
    CandidateError,
    DataError,
    EdgekdError,
    HistoryError,
    JobFailed,
    MeasureError,
    MissingExtra,
    ModelError,
    RecipeError,
    RunFolderError,
    TrainingDiverged,
    VerifyFailed,
    WorseThanBaseline,
)

if typing.TYPE_CHECKING:
    from edgekd.benchmarks.result import BenchResult
    from edgekd.bundle import VerifyReport
    from edgekd.pipeline.audit.command import AuditResult
    from edgekd.pipeline.compress import Result
    from edgekd.pipeline.plan import Plan
    from edgekd.recipe.recipe import Recipe

__all__ = [
    "AuditResult",
    "BadInput",
    "BenchResult",
    "CandidateError",
    "DataError",
    "EdgekdError",
    "HistoryError",
    "JobFailed",
    "MeasureError",
    "MissingExtra",
    "ModelError",
    "Plan",
    "Recipe",
    "RecipeError",
    "Result",
    "RunFolderError",
    "TrainingDiverged",
    "VerifyFailed",
    "VerifyReport",
    "WorseThanBaseline",
    "audit",
    "benchmark",
    "compress",
    "load_recipe",
    "quantize",
    "verify",
]

_LATER = {
    "AuditResult": "edgekd.pipeline.audit.command",
    "BenchResult": "edgekd.benchmarks.result",
    "Plan": "edgekd.pipeline.plan",
    "Recipe": "edgekd.recipe.recipe",
    "Result": "edgekd.pipeline.compress",
    "VerifyReport": "edgekd.bundle",
}


if not typing.TYPE_CHECKING:  # else any misspelt name would be one, to a type checker

    def __getattr__(name: str) -> object:
        if name in _LATER:
            return getattr(importlib.import_module(_LATER[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
