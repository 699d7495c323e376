"""Which operators between two convolutions fuse in INT8, and does it pay? By runtime, measured.

    python -m edgekd.benchmarks.trials.fusion --json benchmarks/results/fusion.json

Each case is a convolution, an operator or a tail of a few (hard-swish, gates, residual additions,
norms), and a convolution, of 64 channels of 28 x 28. All of its tensors are rounded, whatever
edgekd would choose. A case fuses in ONNX Runtime if its optimized graph has one QuantizeLinear at
the start and one DequantizeLinear at the end; in OpenVINO, which has kernels for float data that
round what they give, if nothing is converted to float before the end. The speed-up is that of the
rounded graph over the float one, in one interleaved session by runtime. A test holds the choice of
`node_selection.py` against the table. Fifteen minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.formatting import times
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.benchmarks.operators import QDQ
from edgekd.benchmarks.trials.report import conclude
from edgekd.devices import open_device
from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.strip import strip
from edgekd.quantization.calibrated import Calibrated, Chosen, Watched, calibrate_watched
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.node_selection import Choice
from edgekd.quantization.planning import list_watched, make_plan

CASES: Mapping[str, str] = {
    "Relu": "h = Relu(a)",
    "Clip 0..6": "h = Clip(a, zero, six)",
    "LeakyRelu": "h = LeakyRelu<alpha = 0.1>(a)",
    "PRelu": "h = PRelu(a, channel)",
    "Elu": "h = Elu(a)",
    "Sigmoid": "h = Sigmoid(a)",
    "Tanh": "h = Tanh(a)",
    "Softplus": "h = Softplus(a)",
    "Erf": "h = Erf(a)",
    "HardSigmoid": "h = HardSigmoid<alpha = 0.1666667, beta = 0.5>(a)",
    "HardSwish": "h = HardSwish(a)",
    "hard-swish written out": """c = Add(a, three) z = Clip(c, zero, six)
        m = Mul(a, z) h = Div(m, six)""",
    "SiLU": "s = Sigmoid(a) h = Mul(a, s)",
    "GELU written out": """d = Mul(a, root) e = Erf(d) f = Add(e, one)
        g = Mul(a, f) h = Mul(g, half)""",
    "Mish": "s = Softplus(a) t = Tanh(s) h = Mul(a, t)",
    "squeeze and excite, sigmoid": """p = GlobalAveragePool(a) e = Conv(p, w1) r = Relu(e)
        g = Conv(r, w2) s = Sigmoid(g) h = Mul(a, s)""",
    "squeeze and excite, hard sigmoid": """p = GlobalAveragePool(a) e = Conv(p, w1) r = Relu(e)
        g = Conv(r, w2) s = HardSigmoid<alpha = 0.1666667, beta = 0.5>(g) h = Mul(a, s)""",
    "spatial gate": "g = Conv(a, one_map) s = Sigmoid(g) h = Mul(a, s)",
    "residual Add": "b = Conv(a, v) h = Add(a, b)",
    "residual Add, Relu": "b = Conv(a, v) c = Add(a, b) h = Relu(c)",
    "Add of a constant": "h = Add(a, channel)",
    "Mul by a constant": "h = Mul(a, channel)",
    "Sub": "b = Conv(a, v) h = Sub(a, b)",
    "Div": "b = Conv(a, v) c = Exp(b) h = Div(a, c)",
    "Mul of branches": "b = Conv(a, v) h = Mul(a, b)",
    "Max of branches": "b = Conv(a, v) h = Max(a, b)",
    "Concat of branches": "b = Conv(a, v) c = Concat<axis = 1>(a, b) h = Conv(c, wide)",
    "Split, Concat": "b, c = Split<axis = 1>(a, halves) h = Concat<axis = 1>(c, b)",
    "MaxPool": "h = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)",
    "AveragePool": "h = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(a)",
    "GlobalAveragePool": "h = GlobalAveragePool(a)",
    "GlobalMaxPool": "h = GlobalMaxPool(a)",
    "ReduceMean": "h = ReduceMean<axes = [2, 3], keepdims = 1>(a)",
    "Resize nearest": 'h = Resize<mode = "nearest">(a, , twice)',
    "Resize linear": 'h = Resize<mode = "linear">(a, , twice)',
    "Slice": "h = Slice(a, starts, ends)",
    "Pad": "h = Pad(a, pads)",
    "Transpose": "h = Transpose<perm = [0, 1, 3, 2]>(a)",
    "Reshape": "h = Reshape(a, shape)",
    "DepthToSpace": "d = DepthToSpace<blocksize = 2>(a) h = Conv(d, narrow)",
    "channel shuffle": """b = Reshape(a, grouped) c = Transpose<perm = [0, 2, 1, 3, 4]>(b)
        h = Reshape(c, shape)""",
    "Gather": "h = Gather<axis = 1>(a, order)",
    "Softmax": "h = Softmax<axis = 1>(a)",
    "InstanceNormalization": "h = InstanceNormalization(a, flat, flat)",
    "LayerNormalization": """b = Transpose<perm = [0, 2, 3, 1]>(a)
        c = LayerNormalization<axis = -1>(b, flat, flat) h = Transpose<perm = [0, 3, 1, 2]>(c)""",
    "ConvTranspose": "h = ConvTranspose<strides = [2, 2]>(a, doubling)",
}
_C, _SIDE, _SAMPLES = 64, 28, 8
_RUNTIMES = ("onnxruntime", "openvino")


def _weights() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        inputs = float(np.prod(shape[1:]))
        array: NDArray[np.float32] = (rng.standard_normal(shape) / inputs**0.5).astype(np.float32)
        return array

    numbers = {"zero": 0, "one": 1, "three": 3, "six": 6, "half": 0.5, "root": 0.5**0.5}
    integers = {
        **{"starts": [0, 0, 2, 2], "ends": [99, 99, 26, 26], "halves": [32, 32]},
        **{"pads": [0, 0, 1, 1, 0, 0, 1, 1], "shape": [0, _C, _SIDE, _SIDE]},
        **{"grouped": [0, 4, _C // 4, _SIDE, _SIDE], "order": list(range(_C))[::-1]},
    }
    return {
        **{"w": normal(_C, _C, 3, 3), "v": normal(_C, _C, 1, 1), "wide": normal(_C, 2 * _C, 1, 1)},
        **{"w1": normal(16, _C, 1, 1), "w2": normal(_C, 16, 1, 1), "one_map": normal(1, _C, 1, 1)},
        **{"narrow": normal(_C, _C // 4, 1, 1), "doubling": normal(_C, _C, 2, 2)},
        **{"channel": normal(_C).reshape(_C, 1, 1), "flat": np.abs(normal(_C)) + np.float32(0.5)},
        **{"twice": np.array([1, 1, 2, 2], np.float32)},
        **{name: np.array(value, np.float32) for name, value in numbers.items()},
        **{name: np.array(value, np.int64) for name, value in integers.items()},
    }


def build(case: str) -> ModelProto:
    """Return the float graph of a case."""
    model: ModelProto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[batch, {_C}, {_SIDE}, {_SIDE}] x) => (float[batch, {_C}, height, width] y) {{
            a = Conv<pads = [1, 1, 1, 1]>(x, w)
            {CASES[case]}
            y = Conv(h, v)
        }}"""
    )
    used = {name for node in model.graph.node for name in node.input}
    arrays = {name: array for name, array in _weights().items() if name in used}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return model


def feeds() -> Iterator[dict[str, NDArray[np.float32]]]:
    """Return the calibration samples, one a batch."""
    rng = np.random.default_rng(1)
    sample = (1, _C, _SIDE, _SIDE)
    return iter([{"x": rng.standard_normal(sample).astype(np.float32)} for _ in range(_SAMPLES)])


def calibrated(source: Path) -> Calibrated:
    """Calibrate all tensors of a graph."""

    def watch(chosen: Chosen) -> Watched:
        return Watched(list_watched(chosen.model, everything(chosen), ONNX_RUNTIME))

    return calibrate_watched(source, feeds, [watch])


def everything(chosen: Chosen) -> Choice:
    """Return the choice of all nodes."""
    names = tuple(node.name for node in chosen.model.graph.node)
    return Choice("convolutional", names, chosen.choice.layers, {})


def is_chosen(chosen: Chosen) -> bool:
    """Tell whether edgekd rounds all that a case consists of."""
    return all(node.name in chosen.choice.nodes for node in chosen.model.graph.node)


def main() -> None:
    """Write, open and time every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--short", action="store_true", help="few calls: speeds say little")
    parser.add_argument("--no-times", action="store_true", help="only what fuses, in a minute")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    timing: Timing | None = Timing(rounds=3, blocks=4) if arguments.short else Timing()
    if arguments.no_times:
        timing = None
    found = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for case in CASES:
            if not arguments.only or any(part in case for part in arguments.only):
                found.append(_measure(case, Path(folder), timing))
    rows = []
    for one in found:
        rows.append([one["case"], "yes" if one["chosen"] else "no"])
        for runtime in _RUNTIMES:
            told = one[runtime]
            rows[-1] += ["fused" if told["fuses"] else f"no: {told['left']}", told.pop("shown")]
    conclude(
        "Between two convolutions, all in 8 bits: fused or not, and speed-up over float [95 %]",
        ["case", "chosen", "ONNX Runtime", "", "OpenVINO", ""],
        rows,
        {"cases": found},
        arguments.json,
    )


def _measure(case: str, folder: Path, timing: Timing | None) -> dict[str, Any]:
    source, target = folder / "float.onnx", folder / "int8.onnx"
    save_onnx(build(case), source)
    ready = calibrated(source)
    ranges = ready.ranges(ONNX_RUNTIME.activations)
    plan = make_plan(ready.model, everything(ready), ranges, ONNX_RUNTIME)
    save_onnx(strip(insert(ready.model, plan)), target)
    found: dict[str, Any] = {"case": case, "chosen": is_chosen(ready)}
    for runtime in _RUNTIMES:
        left = _left_in_openvino(target) if runtime == "openvino" else _left(target)
        found[runtime] = {"fuses": not left, "left": left, "speedup": None, "shown": ""}
        if timing is None:
            continue
        result = bench(
            [target],
            vs=source,
            device=open_device("local"),
            setups=[Setup(runtime=runtime)],
            timing=timing,
        )
        speedup = result.rows[1].speedup
        assert speedup is not None
        found[runtime] |= {"speedup": asdict(speedup), "shown": times(speedup)}
    return found


def _left(path: Path) -> str:
    """Return the float operators that ONNX Runtime runs, "" if all fused."""
    kernels = int8_layers(path)
    if kernels.quantize_left == kernels.dequantize_left == 1 and not kernels.fp32_layers:
        return ""
    ignored = {*QDQ, "Reshape", "Transpose", "Flatten", "ReorderInput", "ReorderOutput"}
    floats = [n for n in kernels.operators if not n.startswith("QLinear") and n not in ignored]
    return ", ".join(sorted(floats)) or "Q/DQ"


def _left_in_openvino(path: Path) -> str:
    """Return how often OpenVINO goes from 8 bits to float before the end, "" if never."""
    from edgekd.benchmarks.runtimes.openvino_engine import import_openvino

    core = import_openvino().Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", options)
    kinds = []
    for node in compiled.get_runtime_model().get_ops():
        kind = node.get_rt_info()["layerType"]
        kinds.append(str(kind.astype(str)) if hasattr(kind, "astype") else str(kind))
    number = kinds.count("Convert") - 1
    return f"{number} to float" if number > 0 else ""


if __name__ == "__main__":
    main()
