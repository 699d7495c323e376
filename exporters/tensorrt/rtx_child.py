"""Build one engine with TensorRT-RTX, in a process of its own: it is a native library.

    python -P rtx_child.py REQUEST.json RESULT.json

The request has `model`, `capability` (such as SM86) and `shapes`: input -> [least, usual, most].
This file imports nothing of edgekd.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


def load() -> Any:
    """Import the package: the wheels of its bindings use another name than the whole package."""
    try:
        return importlib.import_module("tensorrt_rtx")
    except ModuleNotFoundError:
        return importlib.import_module("tensorrt_rtx_bindings")


def make_logger(trt: Any, kept: dict[str, Any]) -> Any:
    """Return a logger that keeps the list of layers, and what went wrong."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if message.startswith("Layers:"):
                kept["layers"] += message.partition("\n")[2] + "\n"
            elif severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                kept["log"].append(message)

    return Logger()


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Parse and build; return what is known, whether it went well or not."""
    trt = load()
    result: dict[str, Any] = {
        "version": trt.__version__,
        "parsed": False,
        "faults": [],
        "log": [],
        "layers": "",
        "engine_bytes": None,
        "build_s": None,
    }
    start = time.perf_counter()
    logger = make_logger(trt, result)
    builder = trt.Builder(logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    result["parsed"] = bool(parser.parse_from_file(request["model"]))
    if not result["parsed"]:
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            fault = {"text": error.desc(), "node": error.node_name()}
            result["faults"].append({**fault, "operator": error.node_operator()})
        return result
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, request["capability"]), 0)
    if request["shapes"]:
        profile = builder.create_optimization_profile()
        for name, shapes in request["shapes"].items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is not None:
        result["engine_bytes"] = int(plan.nbytes)
        result["build_s"] = time.perf_counter() - start
    return result


if __name__ == "__main__":
    outcome = build(json.loads(Path(sys.argv[1]).read_text("utf8")))
    Path(sys.argv[2]).write_text(json.dumps(outcome), "utf8")
