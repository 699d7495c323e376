"""Build many small graphs with TensorRT-RTX: it is loaded once, and each has a fork of its own.

Some graphs end the process that builds them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edgekd.exporters.tensorrt import rtx_child
from edgekd.exporters.tensorrt.layers import EngineLayer, read_layers

_CODE = """
import importlib.util, json, os, sys
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child.load()
for request in json.load(open(sys.argv[2])):
    if not os.fork():
        found = child.build({"capability": "SM86", "shapes": {}, "model": request})
        with open(request + ".json", "w") as file:
            json.dump(found, file)
        os._exit(0)
    os.wait()
"""


CRASHED: dict[str, Any] = {
    "parsed": False,
    "engine_bytes": None,
    "faults": [],
    "log": ["it crashed"],
    "layers": "",
}


def build_all(models: Mapping[str, ModelProto], folder: Path) -> dict[str, dict[str, Any]]:
    """Return what came of each: `parsed`, `engine_bytes`, `faults`, `log`, `layers`."""
    paths = {name: folder / f"{i}.onnx" for i, name in enumerate(models)}
    for name, model in models.items():
        onnx.save(model, paths[name])
    requests = folder / "requests.json"
    requests.write_text(json.dumps([str(path) for path in paths.values()]), "utf8")
    command = [sys.executable, "-P", "-c", _CODE, rtx_child.__file__, str(requests)]
    subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=folder)
    results = {name: Path(f"{path}.json") for name, path in paths.items()}
    return {
        n: json.loads(p.read_text("utf8")) if p.exists() else CRASHED for n, p in results.items()
    }


def in_int8(found: Mapping[str, Any]) -> bool:
    """Tell whether an engine has products, and all of them multiply bytes."""
    products = [layer for layer in layers_of(found) if layer.multiplies]
    return bool(products) and all(layer.in_int8 for layer in products)


def layers_of(found: Mapping[str, Any]) -> tuple[EngineLayer, ...]:
    """Return the layers of an engine."""
    return read_layers(found["layers"])
