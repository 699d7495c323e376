"""Random graphs with what exporters write, for tests of quantization: each by its seed.

Names are those that an inserter of Q/DQ nodes might think of; weights and biases are shared, inner
tensors are outputs too, and subgraphs read what is outside of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

SAMPLES = 6
"""Of every graph."""
_NAMES = ["q{}", "dq{}", "scale{}", "zero{}", "weight{}", "float{}", "bias{}", "t{}", "gone{}"]
"""Names that an inserter might think of."""


@dataclass
class _Draft:
    """A graph in the making: what has been made, with shapes without the batch."""

    rng: np.random.Generator
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    names: set[str] = field(default_factory=lambda: {"x", "flag"})
    last: str = "x"

    def name(self) -> str:
        """Return a new name, mostly one that others might take as well."""
        number = len(self.nodes) * 3 + len(self.weights) + int(self.rng.integers(0, 40)) * 1000
        wish = str(self.rng.choice(_NAMES)).format(number % 1000 if self.flip(0.8) else number)
        while wish in self.names:
            wish += "_"
        self.names.add(wish)
        return wish

    def flip(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def normal(self, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def constant(self, array: NDArray[Any]) -> str:
        name = self.name()
        self.weights[name] = array
        return name

    def add(
        self, operator: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any
    ) -> str:
        """Add a node that gives one tensor, and go on from there."""
        name = self.name()
        label = self.pick("", name, f"{operator}_{len(self.nodes) + 1}_")
        self.nodes.append(helper.make_node(operator, inputs, [name], name=label, **attributes))
        self.shapes[name] = shape
        self.last = name
        return name


def _conv(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    channels, spatial = shape[0], shape[1:]
    group = draft.pick(1, 1, channels)
    out = channels if group > 1 else int(draft.rng.integers(2, 9))
    kernel = [int(draft.rng.integers(1, min(3, s) + 1)) for s in spatial]
    magnitude = 10.0 ** draft.rng.uniform(-2, 1)
    weight = draft.normal(out, channels // group, *kernel, scale=magnitude)
    if draft.flip(0.2):
        weight[0] = 0  # a dead channel
    same = [n for n, w in draft.weights.items() if w.shape == weight.shape and n.startswith("w")]
    inputs = [draft.last, draft.pick(*same) if same and draft.flip() else draft.constant(weight)]
    if draft.flip(0.7):
        bias = draft.normal(out, scale=magnitude * 10.0 ** draft.rng.uniform(-1, 3))
        shared = [n for n, w in draft.weights.items() if w.shape == bias.shape and w.dtype == "f"]
        inputs.append(draft.pick(*shared) if shared and draft.flip(0.3) else draft.constant(bias))
    attributes: dict[str, Any] = {"group": group, "kernel_shape": kernel}
    pads = [[int(draft.rng.integers(0, k)) for k in kernel] for _ in range(2)]
    if draft.flip(0.3):
        attributes["auto_pad"] = draft.pick("SAME_UPPER", "SAME_LOWER")
        after = spatial
    else:
        attributes["pads"] = pads[0] + pads[1]
        after = tuple(s + a + b - k + 1 for s, a, b, k in zip(spatial, *pads, kernel, strict=True))
    draft.add("Conv", inputs, (out, *after), **attributes)


def _gemm(draft: _Draft) -> None:
    _flatten(draft)
    width = draft.shapes[draft.last][0]
    out = int(draft.rng.integers(2, 9))
    weight = draft.normal(width, out, scale=width**-0.5)
    transposed = draft.flip()
    inputs = [draft.last, draft.constant(weight.T.copy() if transposed else weight)]
    shape = draft.pick((out,), (1, out), (1,), (), (1, 1), None)
    if shape is not None:
        inputs.append(draft.constant(draft.normal(*shape, scale=10.0 ** draft.rng.uniform(-1, 2))))
    draft.add(
        "Gemm",
        inputs,
        (out,),
        alpha=draft.pick(1.0, 1.0, 2.0, 0.5, -1.5),
        beta=draft.pick(1.0, 1.0, 0.25, 2.0, 0.0),
        transB=int(transposed),
    )


def _matmul(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    out = int(draft.rng.integers(2, 9))
    weight = draft.constant(draft.normal(shape[-1], out, scale=shape[-1] ** -0.5))
    draft.add("MatMul", [draft.last, weight], (*shape[:-1], out))
    if draft.flip():
        draft.add("Add", [draft.last, draft.constant(draft.normal(out))], (*shape[:-1], out))


def _flatten(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    if len(shape) > 1:
        draft.add("Flatten", [draft.last], (int(np.prod(shape)),))


def _activation(draft: _Draft) -> None:
    shape, last = draft.shapes[draft.last], draft.last
    operator = draft.pick("Relu", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSwish", "Softplus")
    bounds: list[str] = []
    if operator == "Clip":
        low, high = draft.pick((0, 6), (-1, 1), (0.5, 2), (-0.1, 3))
        bounds = [draft.constant(np.array(v, np.float32)) for v in (low, high)]
        bounds[0] = draft.pick(bounds[0], "")
    draft.add(operator, [last, *bounds], shape)


def _pool(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    if len(shape) < 2 or min(shape[1:]) < 2:
        return _activation(draft)
    operator = draft.pick("MaxPool", "AveragePool", "GlobalAveragePool")
    if operator == "GlobalAveragePool":
        draft.add(operator, [draft.last], (shape[0], *[1] * (len(shape) - 1)))
        return None
    sizes = tuple(s - 1 for s in shape[1:])
    draft.add(operator, [draft.last], (shape[0], *sizes), kernel_shape=[2] * len(sizes))
    return None


def _pad(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    before, after = ([0, *draft.rng.integers(0, 2, len(shape) - 1).tolist()] for _ in range(2))
    before, after = [0, *before], [0, *after]
    mode = draft.pick("constant", "constant", "edge")
    value = draft.pick(0.0, -7.5, 1e4, -np.inf, np.finfo(np.float32).min)
    inputs = [draft.last, draft.constant(np.array(before + after, np.int64))]
    if mode == "constant" and draft.flip(0.8):
        inputs.append(draft.constant(np.array(value, np.float32)))
    padded = tuple(s + a + b for s, a, b in zip(shape, before[1:], after[1:], strict=True))
    draft.add("Pad", inputs, padded, mode=mode)
    if len(inputs) > 2 and abs(value) > 1e30:  # what such a constant is for
        if len(shape) > 1 and min(padded[1:]) > 1:
            sizes = (shape[0], *[s - 1 for s in padded[1:]])
            draft.add("MaxPool", [draft.last], sizes, kernel_shape=[2] * (len(shape) - 1))
        low = draft.constant(np.array(-9, np.float32))
        draft.add("Clip", [draft.last, low], draft.shapes[draft.last])


def _join(draft: _Draft) -> None:
    last, shape = draft.last, draft.shapes[draft.last]
    others = [n for n, s in draft.shapes.items() if s == shape]
    operator = draft.pick("Add", "Mul", "Concat", "Sub")
    other = draft.pick(*others)
    if draft.flip(0.2):
        other = draft.constant(draft.normal(*shape))
        operator = draft.pick("Add", "Mul")
    inputs = [last, other] if draft.flip() else [other, last]
    if operator == "Concat":
        draft.add(operator, inputs, (2 * shape[0], *shape[1:]), axis=1)
    else:
        draft.add(operator, inputs, shape)


def _move(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    if draft.flip() or len(shape) < 2:
        ends = [draft.constant(np.array([v], np.int64)) for v in (0, max(1, shape[0] - 1), 1)]
        draft.add("Slice", [draft.last, *ends], (max(1, shape[0] - 1), *shape[1:]))
        return
    order = [0, *(1 + draft.rng.permutation(len(shape))).tolist()]
    draft.add("Transpose", [draft.last], tuple(shape[i - 1] for i in order[1:]), perm=order)


def _branch(draft: _Draft) -> None:
    """Read a tensor of this graph from within a subgraph."""
    shape, last = draft.shapes[draft.last], draft.last
    inner = [draft.name(), draft.name()]
    graphs = [
        helper.make_graph(
            [helper.make_node(operator, [last], [inner[i]], name=f"{operator}_{inner[i]}")],
            operator,
            [],
            [helper.make_tensor_value_info(inner[i], TensorProto.FLOAT, None)],
        )
        for i, operator in enumerate(("Neg", "Abs"))
    ]
    draft.add("If", ["flag"], shape, then_branch=graphs[0], else_branch=graphs[1])


def _normalize(draft: _Draft) -> None:
    """Normalize by statistics of training, of the layer, or to a sum of one."""
    shape, last = draft.shapes[draft.last], draft.last
    kind = draft.pick("BatchNormalization", "BatchNormalization", "LayerNormalization", "Softmax")
    if kind == "Softmax":
        draft.add(kind, [last], shape, axis=-1)
        return
    width = shape[0] if kind == "BatchNormalization" else shape[-1]
    if kind == "BatchNormalization" and len(shape) < 2:
        return _activation(draft)
    weights = [draft.constant(draft.normal(width)) for _ in range(2)]
    if kind == "BatchNormalization":
        weights += [draft.constant(draft.normal(width, scale=0.1))]
        weights += [draft.constant(draft.normal(width) ** 2 + np.float32(0.5))]
        draft.add(kind, [last, *weights], shape)
    else:
        draft.add(kind, [last, *weights], shape, axis=-1)


def _enlarge(draft: _Draft) -> None:
    """Enlarge a map by a transposed convolution, or by repeating its values."""
    shape = draft.shapes[draft.last]
    if len(shape) != 3:
        return _activation(draft)
    if draft.flip():
        out = int(draft.rng.integers(2, 6))
        weight = draft.constant(draft.normal(shape[0], out, 2, 2, scale=0.5))
        sizes = (out, shape[1] * 2, shape[2] * 2)
        draft.add("ConvTranspose", [draft.last, weight], sizes, strides=[2, 2])
        return None
    scales = draft.constant(np.array([1, 1, 2, 2], np.float32))
    mode = draft.pick("nearest", "linear", "cubic")
    sizes = (shape[0], shape[1] * 2, shape[2] * 2)
    draft.add("Resize", [draft.last, "", scales], sizes, mode=mode)
    return None


def _recur(draft: _Draft) -> None:
    """Let a recurrent layer read the last axis as features; go on from its state."""
    shape = draft.shapes[draft.last]
    if len(shape) != 2:
        return _activation(draft)
    frames = draft.add("Transpose", [draft.last], shape, perm=[1, 0, 2])
    hidden = int(draft.rng.integers(2, 6))
    weights = [
        draft.constant(draft.normal(1, 3 * hidden, n, scale=0.5)) for n in (shape[1], hidden)
    ]
    name = draft.name()
    draft.nodes.append(
        helper.make_node("GRU", [frames, *weights], ["", name], hidden_size=hidden, name="")
    )
    del draft.shapes[frames]  # its first axis is not the batch
    axis = draft.constant(np.array([0], np.int64))
    draft.add("Squeeze", [name, axis], (hidden,))
    return None


def _gather(draft: _Draft) -> None:
    shape = draft.shapes[draft.last]
    rows = draft.constant(draft.rng.integers(0, shape[0], 3).astype(np.int64))
    draft.add("Gather", [draft.last, rows], (3, *shape[1:]), axis=1)


_STEPS = [
    _conv,
    _conv,
    _conv,
    _gemm,
    _matmul,
    _activation,
    _activation,
    _pool,
    _pad,
    _join,
    _join,
    _move,
    _branch,
    _normalize,
    _enlarge,
    _recur,
    _gather,
]


def random_graph(seed: int) -> tuple[ModelProto, dict[str, NDArray[Any]]]:
    """Return a graph of 3 to 9 operators and its samples."""
    rng = np.random.default_rng(seed)
    draft = _Draft(rng)
    shape = draft.pick((3, 6, 5), (3, 6, 5), (2, 7), (2, 3, 3, 4), (8,))
    draft.shapes["x"] = shape
    (_conv if len(shape) > 1 else _gemm)(draft)
    for _ in range(int(rng.integers(2, 8))):
        step = draft.pick(*_STEPS)
        rank = len(draft.shapes[draft.last])
        (_gemm if step is _conv and rank == 1 else step)(draft)
        if draft.flip(0.2):
            draft.last = draft.pick(*[n for n in draft.shapes if n != "x"])
    made = [name for name in draft.shapes if name != "x"]
    outputs = dict.fromkeys([draft.last, *[n for n in made if draft.flip(0.15)]])
    model = helper.make_model(
        helper.make_graph(
            draft.nodes,
            "random",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape]),
                helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
            ],
            [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *draft.shapes[n]])
                for n in outputs
            ],
            [numpy_helper.from_array(array, name) for name, array in draft.weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", draft.pick(17, 17, 20))],
        ir_version=8,
    )
    x = draft.normal(SAMPLES, *shape) + draft.normal(SAMPLES, *[1] * len(shape))
    return model, {"x": x.astype(np.float32), "flag": np.array(draft.flip())}
