"""What does normalisation inside the graph cost a call, in FP32 and in INT8?

    python -m edgekd.benchmarks.trials.normalisation --json benchmarks/results/normalisation.json

A small mobile network for uint8 pixels [batch, height, width, 3] is exported and quantized without
normalisation (the reference), with ImageNet's mean and deviation, which differ by channel, and
with mean 127 and deviation 128. The last file has Sub and Mul as operators of their own: what it
costs where nothing is folded. The files of one size, precision and runtime are timed in one
interleaved session. Weights are random, for speed does not depend on them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from rich.console import Console
from torch import nn

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.formatting import milliseconds, times
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.benchmarks.result import Row
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.preprocess import ImagePreprocess
from edgekd.exporters.torch_to_onnx import export_onnx
from edgekd.models.efficientnet import MBConv
from edgekd.networks.blueprint import Deployed
from edgekd.quantization.static import quantize_int8

SIZES = (64, 96, 224)
RUNTIMES = ("onnxruntime", "openvino")
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
NORMALISATIONS = {
    "none": ((0.0,) * 3, (1.0,) * 3),
    "imagenet": IMAGENET,
    "equal": ((127.0,) * 3, (128.0,) * 3),
}
APART = "apart"


def network() -> nn.Module:
    """Return a mobile network of six blocks: 0.1 ms at 64 pixels in INT8."""
    blocks = [(16, 16, 2), (16, 24, 1), (24, 32, 2), (32, 32, 1), (32, 64, 2)]
    stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()]
    body = [MBConv(a, b, stride=stride, expansion=4, kernel=3) for a, b, stride in blocks]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*stem, *body, *head)


def files(size: int, folder: Path) -> dict[str, list[Path]]:
    """Write all files of one size; return them by precision, the reference first."""
    torch.manual_seed(0)
    body = network().eval()
    pixels = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    found: dict[str, list[Path]] = {"fp32": [], "int8": []}
    for name, (mean, std) in NORMALISATIONS.items():
        plain, eight = (folder / f"{name}-{size}.{kind}.onnx" for kind in found)
        preprocess = ImagePreprocess(height=size, width=size, channels=3, mean=mean, std=std)
        export_onnx(
            Deployed(body, preprocess, ("logits",)),
            [torch.as_tensor(pixels[:2])],
            plain,
            input_names=("image",),
            output_names=("logits",),
            dynamic_axes=preprocess.dynamic_axes,
        )
        quantize_int8(plain, eight, lambda: iter([{"image": pixels}]))
        found["fp32"].append(plain)
        found["int8"].append(eight)
    for paths in found.values():
        paths.append(set_apart(paths[0], folder / paths[0].name.replace("none", APART)))
    return found


def set_apart(source: Path, target: Path) -> Path:
    """Write the file without normalisation with Sub and Mul in front of its first convolution."""
    model = onnx.load(source)
    graph = model.graph
    conv = next(node for node in graph.node if node.op_type == "Conv")
    (transpose,) = (node for node in graph.node if node.op_type == "Transpose")
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in IMAGENET)
    constants: dict[str, NDArray[Any]] = {"apart.m": mean, "apart.k": 1 / std}
    chain = [("Cast", [transpose.output[0]]), ("Sub", ["apart.0", "apart.m"])]
    chain += [("Mul", ["apart.1", "apart.k"])]
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        grid = ["apart.s", "apart.z"]
        constants |= {"apart.s": np.array(0.0186, np.float32), "apart.z": np.array(114, np.uint8)}
        chain += [("QuantizeLinear", ["apart.2", *grid]), ("DequantizeLinear", ["apart.3", *grid])]
        del conv.input[2:]  # it has the scale of pixels, with which nothing would fuse
    made = list(_nodes(chain))
    kept = [node for node in graph.node if conv.input[0] not in node.output]
    conv.input[0] = made[-1].output[0]
    at = kept.index(transpose) + 1
    nodes = [*kept[:at], *made, *kept[at:]]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items())
    onnx.save(model, target)
    return target


def _nodes(chain: list[tuple[str, list[str]]]) -> Iterator[NodeProto]:
    for i, (operator, inputs) in enumerate(chain):
        node = helper.make_node(operator, inputs, [f"apart.{i}"])
        if operator == "Cast":
            node.attribute.append(helper.make_attribute("to", onnx.TensorProto.FLOAT))
        yield node


def main() -> None:
    """Time everything and print the table."""
    from edgekd.devices import open_device

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=float, default=20.0, help="seconds of each of 12 sessions")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="pixels")
    parser.add_argument("--runtimes", nargs="+", default=RUNTIMES, choices=RUNTIMES)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timing = Timing(precision=0.003, time_limit_s=arguments.time)
    rows, found = [], []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        for size in arguments.sizes:
            written = files(size, Path(name))
            for runtime in arguments.runtimes:
                for precision, paths in written.items():
                    result = bench(
                        paths[1:],
                        vs=paths[0],
                        device=open_device("local"),
                        setups=[Setup(runtime=runtime)],
                        timing=timing,
                    )
                    none, *others = result.rows
                    speeds = [times(row.speedup) for row in others if row.speedup is not None]
                    where = [str(size), runtime, precision]
                    rows.append([*where, milliseconds(none.latency_s), *speeds])
                    found += [_plain(row, size, precision) for row in result.rows]
    conclude(
        "Normalisation in the graph: speed-up against the same network without it [95 %]",
        ["pixels", "runtime", "", "without it", "imagenet", "equal", APART],
        rows,
        {"rows": found},
        arguments.json,
    )
    for cells in rows:  # for the documentation
        Console().print(f"| {' | '.join(cells)} |", markup=False, highlight=False, soft_wrap=True)


def _plain(row: Row, size: int, precision: str) -> dict[str, Any]:
    return {
        "pixels": size,
        "runtime": row.conditions.runtime,
        "precision": precision,
        "normalisation": row.file.name.split("-")[0],
        "latency_s": asdict(row.latency_s),
        "speedup": None if row.speedup is None else asdict(row.speedup),
        "verdict": row.verdict,
    }


if __name__ == "__main__":
    main()
