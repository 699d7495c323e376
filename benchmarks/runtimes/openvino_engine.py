"""OpenVINO as an engine of the runner; models are .onnx or OpenVINO's own .xml.

Stated: latency as the goal, float32 where the model is float32 (some processors would compute it in
bfloat16 unasked), threads and streams. Other properties go through `--option KEY=VALUE`, by
OpenVINO's names. The provider is a device of OpenVINO, "CPU" by default.

Nothing is sent anywhere: what OpenVINO's Python package reports to its maker goes through the
package openvino_telemetry, which this process refuses to load.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

import numpy as np


class Engine:
    """One compiled model, and one infer request per feed and stream."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Read and compile the model with every property that changes speed stated."""
        openvino = import_openvino()
        self.version = "openvino " + openvino.__version__.partition("-")[0]
        self.tensor = openvino.Tensor
        self.feeds = feeds
        core = openvino.Core()
        device = arguments.provider or "CPU"
        if device.partition(".")[0] not in {d.partition(".")[0] for d in core.available_devices}:
            here = ", ".join(core.available_devices)
            raise ValueError("this OpenVINO has no device " + device + "; it has " + here)
        properties = stated(arguments, device)
        self.model = core.compile_model(core.read_model(arguments.model), device, properties)
        self.names = [port.any_name for port in self.model.outputs]
        wanted = sorted(port.any_name for port in self.model.inputs)
        if wanted != sorted(feeds[0]):
            raise ValueError(f"the model's inputs are {wanted}, got {sorted(feeds[0])}")

    def calls(self) -> list[Any]:
        """Bind inputs once; outputs are views of the request's own memory."""
        return [
            functools.partial(self._bound(feed).infer, share_outputs=True) for feed in self.feeds
        ]

    def _bound(self, feed: dict[str, Any]) -> Any:
        request = self.model.create_infer_request()
        for name, array in feed.items():
            request.set_tensor(name, self.tensor(array, shared_memory=True))
        return request

    def parts(self, index: int) -> dict[str, float]:
        """Run one feed end to end, as an app does: copy in, run, copy the outputs out."""
        request = self.model.create_infer_request()
        clock = time.perf_counter
        start = clock()
        for name, array in self.feeds[index].items():
            request.set_tensor(name, self.tensor(array))  # a copy
        copied = clock()
        request.infer(share_outputs=True)
        ran = clock()
        for name in self.names:
            np.array(request.get_tensor(name).data)
        return {"copy_in": copied - start, "engine": ran - copied, "copy_out": clock() - ran}

    def outputs(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Run once and return the outputs by name."""
        request = self._bound(feed)
        request.infer(share_outputs=True)
        return {name: np.array(request.get_tensor(name).data) for name in self.names}


def import_openvino() -> Any:
    """Import the package without the client that it sends usage events with."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def stated(arguments: Any, device: str) -> dict[str, str]:
    """Return the properties that change speed; OpenVINO counts the threads of all streams."""
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": str(arguments.streams),
    }
    if device == "CPU" and arguments.threads:
        properties["INFERENCE_NUM_THREADS"] = str(arguments.threads * arguments.streams)
    for pair in arguments.option:
        key, _, value = pair.partition("=")
        properties[key] = value
    return properties
