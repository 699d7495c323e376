"""Well-known networks for 224 pixels as exporters write them, with random weights, without torch.

Speed does not depend on the weights. Batch normalization is folded, as it is after every export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

SIDE = 224
_CLASSES = 1000


class Graph:
    """A graph in the making. Every method adds operators and returns the name of what they give."""

    def __init__(self) -> None:
        """Begin with random weights that depend on nothing else."""
        self._rng = np.random.default_rng(0)
        self._nodes: list[Any] = []
        self._weights: dict[str, NDArray[Any]] = {}
        self.channels: dict[str, int] = {"pixels": 3}

    def node(self, operator: str, inputs: list[str], channels: int, **attributes: Any) -> str:
        """Add any operator."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        self.channels[name] = channels
        return name

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant."""
        name = f"c{len(self._weights)}"
        self._weights[name] = np.asarray(array, dtype)
        return name

    def weight(self, *shape: int, inputs: int) -> str:
        """Add random weights that keep the variance of sums over `inputs` values and a ReLU."""
        return self.constant(self._rng.standard_normal(shape) * np.sqrt(2 / inputs))

    def same(self, operator: str, x: str, **attributes: Any) -> str:
        """Add an operator of one input that keeps the channels."""
        return self.node(operator, [x], self.channels[x], **attributes)

    def act(self, x: str, kind: str) -> str:
        """Add an activation function; "" adds none."""
        match kind:
            case "":
                return x
            case "ReLU6":
                bounds = [self.constant(0), self.constant(6)]
                return self.node("Clip", [x, *bounds], self.channels[x])
            case "SiLU":
                return self.node("Mul", [x, self.same("Sigmoid", x)], self.channels[x])
            case _:
                return self.same(kind, x)

    def conv(
        self,
        x: str,
        out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        **given: Any,
    ) -> str:
        """Add a convolution with a bias, padded by half of its kernel, and an activation `act`."""
        inputs = 1 if depthwise else self.channels[x]
        weights = self.weight(out, inputs, kernel, kernel, inputs=inputs * kernel**2)
        bias = self.constant(self._rng.standard_normal(out) * 0.1)
        made = self.node(
            "Conv",
            [x, weights, bias],
            out,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=out if depthwise else 1,
        )
        return self.act(made, given.get("act", ""))

    def linear(self, x: str, inputs: int, out: int) -> str:
        """Add a MatMul and a bias, as a Linear on sequences is exported."""
        product = self.node("MatMul", [x, self.weight(inputs, out, inputs=2 * inputs)], out)
        bias = self.constant(self._rng.standard_normal(out) * 0.1)
        return self.node("Add", [product, bias], out)

    def add(self, a: str, b: str) -> str:
        """Add a sum."""
        return self.node("Add", [a, b], self.channels[a])

    def head(self, x: str, *hidden: int, act: str = "") -> str:
        """Add a mean over the picture and Gemms to the classes."""
        width = self.channels[x]
        x = self.same("Flatten", self.same("GlobalAveragePool", x), axis=1)
        for out in (*hidden, _CLASSES):
            gemm = [x, self.weight(out, width, inputs=width), self.constant(np.zeros(out))]
            x, width = self.node("Gemm", gemm, out, transB=1), out
            x = self.act(x, act if out in hidden else "")
        return x

    def finish(self, output: str) -> ModelProto:
        """Return the model: pixels [batch, 3, 224, 224] to logits [batch, 1000]."""
        kind = TensorProto.FLOAT
        shape: list[str | int | None] = ["batch", 3, SIDE, SIDE]
        self._nodes[-1].output[0] = "logits"
        assert output == self._nodes[-1].name
        graph = helper.make_graph(
            self._nodes,
            "known",
            [helper.make_tensor_value_info("pixels", kind, shape)],
            [helper.make_tensor_value_info("logits", kind, ["batch", _CLASSES])],
            [numpy_helper.from_array(array, name) for name, array in self._weights.items()],
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def resnet18() -> ModelProto:
    """Return ResNet-18 (He et al. 2016)."""
    g = Graph()
    x = g.conv("pixels", 64, kernel=7, stride=2, act="Relu")
    x = g.same("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for width, stride in (
        (64, 1),
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
    ):
        y = g.conv(x, width, kernel=3, stride=stride, act="Relu")
        y = g.conv(y, width, kernel=3)
        if g.channels[x] != width:
            x = g.conv(x, width, stride=stride)
        x = g.same("Relu", g.add(y, x))
    return g.finish(g.head(x))


def mobilenet_v2() -> ModelProto:
    """Return MobileNetV2 (Sandler et al. 2018)."""
    g = Graph()
    x = g.conv("pixels", 32, kernel=3, stride=2, act="ReLU6")
    for factor, width, repeats, stride in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for i in range(repeats):
            x = _inverted(g, x, factor * g.channels[x], width, stride=1 if i else stride)
    return g.finish(g.head(g.conv(x, 1280, act="ReLU6")))


def _inverted(
    g: Graph,
    x: str,
    inner: int,
    out: int,
    *,
    stride: int,
    kernel: int = 3,
    act: str = "ReLU6",
    excite: bool = False,
) -> str:
    y = g.conv(x, inner, act=act) if inner != g.channels[x] else x
    y = g.conv(y, inner, kernel=kernel, stride=stride, depthwise=True, act=act)
    if excite:
        gate = g.same("GlobalAveragePool", y)
        gate = g.conv(gate, max(8, (inner // 4 + 4) // 8 * 8), act="Relu")
        gate = g.conv(gate, inner)
        gate = g.same("HardSigmoid", gate, alpha=1 / 6, beta=0.5)
        y = g.node("Mul", [gate, y], inner)
    y = g.conv(y, out)
    return g.add(y, x) if stride == 1 and out == g.channels[x] else y


def mobilenet_v3_small() -> ModelProto:
    """Return MobileNetV3-small (Howard et al. 2019): hard-swish, squeeze-and-excite."""
    g = Graph()
    x = g.conv("pixels", 16, kernel=3, stride=2, act="HardSwish")
    for kernel, inner, out, excite, act, stride in (
        (3, 16, 16, True, "Relu", 2),
        (3, 72, 24, False, "Relu", 2),
        (3, 88, 24, False, "Relu", 1),
        (5, 96, 40, True, "HardSwish", 2),
        (5, 240, 40, True, "HardSwish", 1),
        (5, 240, 40, True, "HardSwish", 1),
        (5, 120, 48, True, "HardSwish", 1),
        (5, 144, 48, True, "HardSwish", 1),
        (5, 288, 96, True, "HardSwish", 2),
        (5, 576, 96, True, "HardSwish", 1),
        (5, 576, 96, True, "HardSwish", 1),
    ):
        x = _inverted(g, x, inner, out, stride=stride, kernel=kernel, act=act, excite=excite)
    return g.finish(g.head(g.conv(x, 576, act="HardSwish"), 1024, act="HardSwish"))


def mobilevit() -> ModelProto:
    """Return a network in the manner of MobileViT (Mehta and Rastegari 2022), at extra small."""
    g = Graph()
    x = g.conv("pixels", 16, kernel=3, stride=2, act="SiLU")
    for out, stride, depth, width in (
        *((32, 1, 0, 0), (48, 2, 0, 0), (48, 1, 0, 0), (48, 1, 0, 0)),
        *((64, 2, 2, 96), (80, 2, 4, 120), (96, 2, 3, 144)),
    ):
        x = _inverted(g, x, 4 * g.channels[x], out, stride=stride, act="SiLU")
        if depth:
            side = {64: 28, 80: 14, 96: 8}[out]
            x = _attending(g, x, depth, width, side)
    return g.finish(g.head(g.conv(x, 384, act="SiLU")))


def _attending(g: Graph, x: str, depth: int, width: int, side: int) -> str:
    """Mix by convolution, then by attention over all places, and join with what came in."""
    channels = g.channels[x]
    if side == 8:  # 7 x 7 is not cut into patches of 2 x 2
        sizes = g.constant([1, 1, 8 / 7, 8 / 7])
        x = g.node("Resize", [x, "", sizes], channels, mode="linear")
    y = g.conv(g.conv(x, channels, kernel=3, act="SiLU"), width)
    shape = g.constant([-1, width, side // 2, 2, side // 2, 2], np.int64)
    y = g.same("Transpose", g.node("Reshape", [y, shape], width), perm=[0, 3, 5, 2, 4, 1])
    y = g.node("Reshape", [y, g.constant([-1, side * side // 4, width], np.int64)], width)
    for _ in range(depth):
        y = g.add(y, _attention(g, _norm(g, y), side * side // 4))
        inner = g.act(g.linear(_norm(g, y), width, 2 * width), "SiLU")
        y = g.add(y, g.linear(inner, 2 * width, width))
    y = _norm(g, y)
    parts = g.constant([-1, 2, 2, side // 2, side // 2, width], np.int64)
    y = g.same("Transpose", g.node("Reshape", [y, parts], width), perm=[0, 5, 3, 1, 4, 2])
    y = g.node("Reshape", [y, g.constant([-1, width, side, side], np.int64)], width)
    y = g.conv(y, channels, act="SiLU")
    return g.conv(g.node("Concat", [x, y], 2 * channels, axis=1), channels, kernel=3, act="SiLU")


def _norm(g: Graph, x: str) -> str:
    width = g.channels[x]
    scale, bias = g.constant(np.ones(width)), g.constant(np.zeros(width))
    return g.node("LayerNormalization", [x, scale, bias], width, axis=-1)


def _attention(g: Graph, x: str, tokens: int) -> str:
    width, heads = g.channels[x], 4
    split = g.constant([-1, tokens, heads, width // heads], np.int64)

    def project(perm: list[int]) -> str:
        parts = g.node("Reshape", [g.linear(x, width, width), split], width)
        return g.same("Transpose", parts, perm=perm)

    query, key, value = project([0, 2, 1, 3]), project([0, 2, 3, 1]), project([0, 2, 1, 3])
    scores = g.node("MatMul", [query, key], tokens)
    scaled = g.node("Mul", [scores, g.constant((width // heads) ** -0.5)], tokens)
    mixed = g.node("MatMul", [g.same("Softmax", scaled, axis=-1), value], width)
    joined = g.same("Transpose", mixed, perm=[0, 2, 1, 3])
    whole = g.node("Reshape", [joined, g.constant([-1, tokens, width], np.int64)], width)
    return g.linear(whole, width, width)


NETWORKS: Mapping[str, Callable[[], ModelProto]] = {
    "ResNet-18": resnet18,
    "MobileNetV2": mobilenet_v2,
    "MobileNetV3-small": mobilenet_v3_small,
    "MobileViT-like": mobilevit,
}


def samples(count: int) -> dict[str, NDArray[np.float32]]:
    """Return smooth pictures [count, 3, 224, 224], for they have the statistics of photographs."""
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((count, 3, 14, 14)).repeat(16, 2).repeat(16, 3)
    pixels = coarse + 0.2 * rng.standard_normal(coarse.shape)
    return {"pixels": pixels.astype(np.float32)}
