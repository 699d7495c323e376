"""Operators without weights, each in the forms of its operator sets, for the laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from tests.edgekd.quantization.laws import layers
from tests.edgekd.quantization.laws.draft import Draft

_JOINS = ("Add", "Mul", "Sub", "Div", "Max", "Min")


def join(operator: str) -> Callable[[Draft], None]:
    """Return what joins a tensor with another, with itself, or with a constant of some shape."""

    def add(draft: Draft) -> None:
        shape, last = draft.shape, draft.last
        kinds = ("other", "other", "itself", "scalar", "channel", "whole", "column", "pooled")
        match draft.pick(*kinds):
            case "other":
                other = draft.pick(*draft.floats(shape), last)
            case "itself":
                other = last
            case "channel" if shape:
                other = draft.weight(shape[0], *[1 for _ in shape[1:]])
            case "whole":
                other = draft.weight(1, *shape)
            case "column" if shape:
                other = draft.weight(shape[-1])
            case "pooled" if len(shape) > 1:
                draft.add("GlobalAveragePool", [last])
                other = draft.last
            case _:
                other = draft.weight(*draft.pick((), (1,)))
        draft.add(operator, [last, other] if draft.flip() else [other, last])

    return add


def concat(draft: Draft) -> None:
    if not draft.shape:
        return
    others = [draft.pick(*draft.floats(draft.shape), draft.last) for _ in range(draft.number(1, 2))]
    if draft.fixed and draft.flip():
        others.append(draft.weight(draft.fixed, *draft.shape))
    axis = draft.number(1, len(draft.shape))
    if draft.opset >= 11 and draft.flip():
        axis -= len(draft.shape) + 1
    draft.add("Concat", [draft.last, *others], axis=axis)


def unary(operator: str, since: int = 1, **choices: tuple[Any, ...]) -> Callable[[Draft], None]:
    """Return what adds an operator of one input; an attribute is one of its choices, or absent."""

    def add(draft: Draft) -> None:
        if draft.opset < since:
            return
        attributes = {name: draft.pick(*values) for name, values in choices.items() if draft.flip()}
        draft.add(operator, [draft.last], **attributes)

    return add


def clip(draft: Draft) -> None:
    low, high = draft.pick((0, 6), (-1, 1), (0.5, 2), (-3, -1), (None, 6), (0, None), (None, None))
    if draft.opset < 11:
        bounds = {"min": low, "max": high}
        draft.add("Clip", [draft.last], **{k: float(v) for k, v in bounds.items() if v is not None})
        return
    shape = draft.pick((), ()) if draft.opset < 13 else ()
    names = ["" if v is None else draft.constant(np.full(shape, v)) for v in (low, high)]
    while names and not names[-1] and draft.flip():
        names.pop()
    draft.add("Clip", [draft.last, *names])


def prelu(draft: Draft) -> None:
    if draft.shape:
        slope = draft.weight(draft.shape[0], *[1 for _ in draft.shape[1:]], scale=0.2)
        draft.add("PRelu", [draft.last, slope])


def pool(operator: str) -> Callable[[Draft], None]:
    """Return what pools: kernels, strides, pads, ceilings, what counts as padding, indices."""

    def add(draft: Draft) -> None:
        if len(draft.shape) < 2:
            return
        kernel = [draft.number(1, min(3, side)) for side in draft.shape[1:]]
        attributes: dict[str, Any] = {"kernel_shape": kernel}
        if draft.flip():
            attributes["strides"] = [draft.number(1, 2) for _ in kernel]
        match draft.pick("none", "pads", "SAME_UPPER", "SAME_LOWER"):
            case "pads":
                attributes["pads"] = [draft.number(0, (k - 1) // 2) for k in (*kernel, *kernel)]
            case "none":
                pass
            case how:
                attributes["auto_pad"] = how
        if draft.opset >= 10 and draft.flip():
            attributes["ceil_mode"] = 1
        if operator == "AveragePool" and draft.flip():
            attributes["count_include_pad"] = 1
        if operator == "MaxPool" and draft.pick(0, 0, 0, 1):
            attributes["outputs"] = 2
        draft.add(operator, [draft.last], **attributes)

    return add


def reshape(draft: Draft) -> None:
    shape = list(draft.shape)
    width = int(np.prod(shape))
    match draft.pick("split", "swap", "keep"):
        case "split" if len(shape) == 1 and width % 2 == 0 and width:
            target = [-1, width // 2, 2]
        case "swap":
            target = [-1, *shape[::-1]]
        case _:
            target = [0, *[0 for _ in shape[:-1]], -1] if shape else [-1]
    draft.add("Reshape", [draft.last, draft.integers(target)])


def transpose(draft: Draft) -> None:
    order = draft.rng.permutation(len(draft.shape)) + 1
    draft.add("Transpose", [draft.last], perm=[0, *order.tolist()])


def squeeze(draft: Draft) -> None:
    """Add an axis of length 1, and mostly take one out."""
    if len(draft.shape) > 4:
        return
    axis = draft.number(1, len(draft.shape) + 1)
    signed = axis - len(draft.shape) - 2 if draft.opset >= 11 and draft.flip() else axis
    for operator in ("Unsqueeze", "Squeeze"):
        if operator == "Squeeze" and not draft.flip():
            return
        if draft.opset < 13:
            draft.add(operator, [draft.last], axes=[signed])
        else:
            draft.add(operator, [draft.last, draft.integers([signed])])


def resize(draft: Draft) -> None:
    if len(draft.shape) != 3 or 0 in draft.shape:
        return
    mode = draft.pick("nearest", "linear", "cubic" if draft.opset >= 11 else "nearest")
    factors = draft.pick((2.0, 2.0), (1.5, 2.0), (0.5, 1.0))
    scales = draft.constant([1.0, 1.0, *factors])
    if draft.opset == 9:
        draft.add("Upsample", [draft.last, scales], mode=mode)
    elif draft.opset == 10:
        draft.add("Resize", [draft.last, scales], mode=mode)
    else:
        how = draft.pick("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        attributes = {"mode": mode, "coordinate_transformation_mode": how}
        if mode == "nearest":
            attributes["nearest_mode"] = draft.pick("round_prefer_floor", "floor", "ceil")
        roi = draft.constant(np.zeros(0)) if draft.opset < 13 else ""
        inputs = [draft.last, roi, scales]
        if draft.flip() and draft.fixed:
            sizes = [draft.fixed, draft.shape[0], draft.number(1, 9), draft.number(1, 9)]
            inputs = [draft.last, roi, draft.constant(np.zeros(0)) if roi else ""]
            inputs.append(draft.integers(sizes))
        draft.add("Resize", inputs, **attributes)


def split(draft: Draft) -> None:
    """Add a Split into two parts; one may stay unread."""
    if not draft.shape or max(draft.shape) < 2:
        return
    axis = 1 + int(np.argmax(draft.shape))
    length = draft.shape[axis - 1]
    sizes = [length // 2, length - length // 2]
    signed = axis - len(draft.shape) - 1 if draft.opset >= 11 and draft.flip() else axis
    attributes: dict[str, Any] = {"axis": signed, "outputs": 2}
    if draft.opset < 13:
        done = draft.add("Split", [draft.last], split=sizes, **attributes)
    elif draft.opset >= 18 and length % 2 == 0 and draft.flip():
        done = draft.add("Split", [draft.last], num_outputs=2, **attributes)
    else:
        done = draft.add("Split", [draft.last, draft.integers(sizes)], **attributes)
    if done and draft.flip():
        draft.last = draft.nodes[-1].output[1]


def slice_(draft: Draft) -> None:
    if not draft.shape or max(draft.shape) < 2:
        return
    axis = 1 + int(np.argmax(draft.shape))
    length = draft.shape[axis - 1]
    signed = axis - len(draft.shape) - 1 if draft.flip() else axis
    starts, ends, step = draft.pick((0, length - 1, 1), (1, 2**40, 1), (-1, -(2**40), -1))
    if draft.opset < 10:
        draft.add("Slice", [draft.last], axes=[axis], starts=[max(0, starts)], ends=[length])
        return
    step = 2 * step if draft.flip() else step
    inputs = [draft.integers([value]) for value in (starts, ends, signed, step)]
    draft.add("Slice", [draft.last, *inputs[: 3 if step == 1 and draft.flip() else 4]])


def pad(draft: Draft) -> None:
    rank = len(draft.shape)
    mode = draft.pick("constant", "constant", "constant", "edge", "reflect")
    sides = [draft.number(0, 1) for _ in range(2 * rank)]
    pads = [0, *sides[:rank], 0, *sides[rank:]]
    value = draft.pick(0.0, 0.0, -7.5, 1e4, -np.inf, float(np.finfo(np.float32).min))
    if draft.opset < 11:
        draft.add("Pad", [draft.last], pads=pads, value=value, mode=mode)
        return
    inputs = [draft.last, draft.integers(pads)]
    if draft.flip() or value != 0:
        inputs.append(draft.constant(value))
    elif draft.flip():
        inputs.append("")
    if draft.opset >= 18 and draft.flip():
        axes = [i if draft.flip() else i - rank - 1 for i in range(1, rank + 1)]
        inputs = [draft.last, draft.integers(sides), *inputs[2:]]
        inputs += ["" for _ in range(3 - len(inputs))] + [draft.integers(axes)]
    draft.add("Pad", inputs, mode=mode)


def gather(draft: Draft) -> None:
    if not draft.shape or 0 in draft.shape:
        return
    axis = draft.number(1, len(draft.shape))
    length = draft.shape[axis - 1]
    where = draft.pick([0], [0, length - 1], [-1, 0], 0)
    rows = draft.constant(where, np.int64)
    draft.add("Gather", [draft.last, rows], axis=axis)


def softmax(draft: Draft) -> None:
    axis = -1 if draft.opset >= 11 else len(draft.shape)
    draft.add("Softmax", [draft.last], axis=axis)


def reduce(operator: str, since_input: int) -> Callable[[Draft], None]:
    """Return what reduces the last axes; they are an input since an operator set."""

    def add(draft: Draft) -> None:
        if not draft.shape:
            return
        rank = len(draft.shape) + 1
        axes = list(range(draft.number(1, rank - 1), rank))
        axes = [axis - rank for axis in axes] if draft.opset >= 11 and draft.flip() else axes
        keep = draft.pick(1, 0)
        if draft.opset < since_input:
            draft.add(operator, [draft.last], axes=axes, keepdims=keep)
        else:
            draft.add(operator, [draft.last, draft.integers(axes)], keepdims=keep)

    return add


def batch_norm(draft: Draft) -> None:
    if not draft.shape:
        return
    width = draft.shape[0]
    variance = draft.constant(draft.normal(width) ** 2 + np.float32(0.5))
    inputs = [draft.weight(width), draft.weight(width), draft.weight(width), variance]
    draft.add("BatchNormalization", [draft.last, *inputs])


def layer_norm(draft: Draft) -> None:
    if draft.shape and draft.opset >= 17:
        width = draft.shape[-1]
        draft.add("LayerNormalization", [draft.last, draft.weight(width), draft.weight(width)])


def hard_swish_written_out(draft: Draft) -> None:
    before = draft.last
    if not draft.add("Add", [before, draft.constant(3.0)]):
        return
    if draft.opset < 11:
        draft.add("Clip", [draft.last], min=0.0, max=6.0)
    else:
        draft.add("Clip", [draft.last, draft.constant(0.0), draft.constant(6.0)])
    gate = [before, draft.last]
    if draft.flip():
        draft.add("Mul", gate)
        draft.add("Div", [draft.last, draft.constant(6.0)])
    else:
        draft.add("Div", [draft.last, draft.constant(6.0)])
        draft.add("Mul", [before, draft.last])


def gate(draft: Draft) -> None:
    """Add squeeze and excite: a gate of each channel, from the mean of each channel."""
    if len(draft.shape) < 2 or 0 in draft.shape:
        return
    before, channels, sides = draft.last, draft.shape[0], [1 for _ in draft.shape[1:]]
    draft.add("GlobalAveragePool", [before])
    draft.add("Conv", [draft.last, draft.weight(2, channels, *sides), draft.weight(2)])
    draft.add("Relu", [draft.last])
    draft.add("Conv", [draft.last, draft.weight(channels, 2, *sides), draft.weight(channels)])
    draft.add(draft.pick("Sigmoid", "HardSigmoid"), [draft.last])
    draft.add("Mul", [before, draft.last] if draft.flip() else [draft.last, before])


def sigmoid_gate(draft: Draft) -> None:
    before = draft.last
    if draft.add(draft.pick("Sigmoid", "HardSigmoid", "Tanh"), [before]):
        draft.add("Mul", [before, draft.last] if draft.flip() else [draft.last, before])


def wide_depthwise(draft: Draft) -> None:
    """Filter 40 channels each by itself, between layers that make and read them, mostly."""
    if len(draft.shape) < 2 or 0 in draft.shape:
        return
    sides = [1 for _ in draft.shape[1:]]
    draft.add("Conv", [draft.last, draft.weight(40, draft.shape[0], *sides), draft.weight(40)])
    draft.pick(gate, sigmoid_gate, unary("HardSwish", 14), unary("Relu"))(draft)
    draft.add("Conv", [draft.last, draft.weight(40, 1, *sides)], group=40)
    draft.pick(gate, join("Add"), unary("Tanh"), unary("Relu"))(draft)
    draft.add("Conv", [draft.last, draft.weight(3, 40, *sides)])


def branch(draft: Draft) -> None:
    """Read a tensor of this graph from within a subgraph."""
    last = draft.last
    names = [draft.name(), draft.name()]
    graphs = [
        helper.make_graph(
            [helper.make_node(operator, [last], [name], name=draft.pick("", name))],
            operator,
            [],
            [helper.make_empty_tensor_value_info(name)],
        )
        for operator, name in zip(("Neg", "Abs"), names, strict=True)
    ]
    flag = draft.constant(draft.pick(True, False), np.bool_)
    made = draft.name()
    draft.append(
        helper.make_node("If", [flag], [made], then_branch=graphs[0], else_branch=graphs[1])
    )


def expand(draft: Draft) -> None:
    draft.add("GlobalAveragePool", [draft.last])
    target = [1, draft.shape[0] if draft.shape else 1, *[3 for _ in draft.shape[1:]]]
    draft.add("Expand", [draft.last, draft.integers(target)])


OPERATORS: dict[str, Callable[[Draft], None]] = {
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    **{name: join(name) for name in _JOINS},
    "Concat": concat,
    "Relu": unary("Relu"),
    "Clip": clip,
    "LeakyRelu": unary("LeakyRelu", alpha=(0.1, 0.0, 2.0, -0.5)),
    "Sigmoid": unary("Sigmoid"),
    "HardSigmoid": unary("HardSigmoid", alpha=(0.2, 1 / 6), beta=(0.5, 0.0)),
    "HardSwish": unary("HardSwish", 14),
    "Tanh": unary("Tanh"),
    "Elu": unary("Elu"),
    "Softplus": unary("Softplus"),
    "Gelu": unary("Gelu", 20, approximate=("none", "tanh")),
    "Neg": unary("Neg"),
    "Identity": unary("Identity"),
    "Dropout": unary("Dropout"),
    "PRelu": prelu,
    "MaxPool": pool("MaxPool"),
    "AveragePool": pool("AveragePool"),
    "GlobalAveragePool": unary("GlobalAveragePool"),
    "GlobalMaxPool": unary("GlobalMaxPool"),
    "Reshape": reshape,
    "Transpose": transpose,
    "Flatten": layers.flatten,
    "Squeeze": squeeze,
    "Resize": resize,
    "Split": split,
    "Slice": slice_,
    "Pad": pad,
    "Gather": gather,
    "Softmax": softmax,
    "ReduceMean": reduce("ReduceMean", 18),
    "ReduceMax": reduce("ReduceMax", 18),
    "ReduceSum": reduce("ReduceSum", 13),
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "hard-swish written out": hard_swish_written_out,
    "squeeze and excite": gate,
    "sigmoid gate": sigmoid_gate,
    "wide depthwise": wide_depthwise,
    "If": branch,
    "Expand": expand,
}
