"""Layers with weights as exporters write them: all attributes, all forms of a bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.edgekd.quantization.laws.draft import Draft


def conv(draft: Draft) -> None:
    """Add a convolution of one to three axes: groups, dilations, strides, pads, shared weights."""
    if len(draft.shape) < 2 or 0 in draft.shape:
        return
    channels, *spatial = draft.shape
    group = draft.pick(1, 1, channels, 2 if channels % 2 == 0 else 1)
    out = group * draft.number(1, 3) if group > 1 else draft.number(1, 6)
    kernel = [draft.number(1, min(3, side)) for side in spatial]
    scale = draft.pick(0.3, 0.3, 3.0, 1e-4)
    inputs = [draft.last, draft.weight(out, channels // group, *kernel, scale=scale)]
    if draft.flip():
        inputs.append(draft.weight(out, scale=scale * draft.pick(1.0, 10.0, 1000.0)))
    elif draft.opset > 11 and draft.pick(0, 0, 1):
        inputs.append("")
    attributes: dict[str, Any] = {"kernel_shape": kernel} if draft.flip() else {}
    if group > 1:
        attributes["group"] = group
    if draft.pick(0, 0, 1):
        attributes["strides"] = [draft.number(1, 2) for _ in spatial]
    match draft.pick("none", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID", "dilated"):
        case "pads":
            attributes["pads"] = [draft.number(0, size - 1) for size in (*kernel, *kernel)]
        case "dilated":
            attributes["dilations"] = [
                2 if 2 * size - 1 <= side else 1 for size, side in zip(kernel, spatial, strict=True)
            ]
        case "none":
            pass
        case how:
            attributes["auto_pad"] = how
    draft.add("Conv", inputs, **attributes)


def conv_transpose(draft: Draft) -> None:
    if len(draft.shape) < 2:
        return
    channels, *spatial = draft.shape
    weight = draft.weight(channels, draft.number(1, 4), *[2 for _ in spatial], scale=0.4)
    draft.add("ConvTranspose", [draft.last, weight], strides=[2 for _ in spatial])


def gemm(draft: Draft) -> None:
    """Add a Gemm: alpha, beta, transposes, all forms of a bias, computed ones too."""
    flatten(draft)
    if len(draft.shape) != 1:
        return
    width, out = draft.shape[0], draft.number(1, 6)
    transposed = draft.flip()
    shape = (out, width) if transposed else (width, out)
    inputs = [draft.last, draft.weight(*shape, scale=max(1, width) ** -0.5)]
    forms = [None, (out,), (1, out), (1,), (), (1, 1)]
    if draft.fixed:
        forms += [(draft.fixed, out), (draft.fixed, 1)]
    form = draft.pick(*forms, "computed")
    if form == "computed":
        inputs += [str(draft.pick(*draft.floats((out,)), ""))]
    elif form is not None:
        inputs.append(draft.weight(*form, scale=draft.pick(1.0, 100.0)))
    elif draft.opset < 11:  # there it was required
        inputs.append(draft.weight(out))
    attributes: dict[str, Any] = {"transB": 1} if transposed else {}
    for name in ("alpha", "beta"):
        value = draft.pick(1.0, 1.0, 0.25, -1.5, 0.0)
        if value != 1.0 or draft.flip():
            attributes[name] = value
    draft.add("Gemm", [name for name in inputs if name], **attributes)


def matmul(draft: Draft) -> None:
    """Add a MatMul: a constant on the right or left, a matrix, a stack or a vector; or none."""
    if not draft.shape or 0 in draft.shape:
        return
    width, scale = draft.shape[-1], draft.shape[-1] ** -0.5
    out = draft.number(1, 6)
    kind = draft.pick("matrix", "matrix", "matrix", "stack", "vector", "left", "none")
    if kind == "none":
        order = [0, *range(1, len(draft.shape) - 1), len(draft.shape), len(draft.shape) - 1]
        before = draft.last
        if len(draft.shape) > 1 and draft.add("Transpose", [before], perm=order):
            draft.add("MatMul", [before, draft.last])
    elif kind == "left" and len(draft.shape) > 1:
        draft.add("MatMul", [draft.weight(out, draft.shape[-2]), draft.last])
    elif kind == "stack" and len(draft.shape) > 1:
        draft.add("MatMul", [draft.last, draft.weight(1, width, out, scale=scale)])
    elif kind == "vector" and len(draft.shape) > 1:
        draft.add("MatMul", [draft.last, draft.weight(width, scale=scale)])
    else:
        draft.add("MatMul", [draft.last, draft.weight(width, out, scale=scale)])
        if draft.flip():
            inputs = [draft.last, draft.weight(out)]
            draft.add("Add", inputs if draft.flip() else inputs[::-1])


def flatten(draft: Draft) -> None:
    if len(draft.shape) == 1:
        return
    width = int(np.prod(draft.shape))
    match draft.pick("Flatten", "Reshape", "negative"):
        case "Reshape":
            draft.add("Reshape", [draft.last, draft.integers([-1, width])])
        case "negative" if draft.opset >= 11 and draft.shape:
            draft.add("Flatten", [draft.last], axis=-len(draft.shape))
        case _:
            draft.add("Flatten", [draft.last])


def layer(draft: Draft) -> None:
    """Add a layer with weights that fits what is there."""
    kinds = [gemm, matmul] if len(draft.shape) < 2 else [conv, conv, conv, matmul, gemm]
    draft.pick(*kinds)(draft)
