"""Translate the operator `edgekd::recurrent` to the LSTM, GRU and RNN of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import edgekd.networks.recurrent  # noqa: F401  # registers the operator

_INT32 = 6
"""ONNX's number of the type of lengths."""


def recurrent_translations() -> dict[Any, Callable[..., Any]]:
    """Return the translation for torch's exporter."""
    return {torch.ops.edgekd.recurrent.default: _recurrent}


def _recurrent(  # noqa: PLR0913  # as the operator has them
    x: Any,
    weight: Any,
    recurrence: Any,
    bias: Any,
    lengths: Any,
    hidden: Any,
    cell: Any,
    kind: str,
    size: int,
) -> Any:
    from onnxscript import opset18

    op: Any = opset18

    steps: Any = None if lengths is None else op.Cast(lengths, to=_INT32)
    both = weight.shape[0] == 2
    how: dict[str, Any] = {"hidden_size": size}
    if both:
        how["direction"] = "bidirectional"
    given: tuple[Any, ...] = (x, weight, recurrence, bias, steps, hidden)
    if kind == "LSTM":
        return op.LSTM(*given, cell, **how)
    if kind == "GRU":
        y, state = op.GRU(*given, linear_before_reset=1, **how)
        return y, state, op.Identity(state)
    how["activations"] = [{"RNN_TANH": "Tanh", "RNN_RELU": "Relu"}[kind]] * (1 + both)
    y, state = op.RNN(*given, **how)
    return y, state, op.Identity(state)
