"""What a network returns: a tensor, a tuple, a dict, a data class, an object with attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from edgekd.errors import ModelError

_USUAL = (
    *("logits", "scores", "outputs", "output", "out"),
    *("preds", "predictions", "prediction", "pred", "y"),
)
"""What an output is called where the task has one and a network several."""


def name_outputs(result: object) -> dict[str, Tensor]:
    """Return the tensors that a network returned, by its own names, or output, output_1, ..."""
    found = _by_name(result)
    if found is None:
        values = list(result) if isinstance(result, (list, tuple)) else [result]
        found = {f"output_{i}" if i else "output": value for i, value in enumerate(values)}
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


_DEEPEST = 8


def list_tensors(result: object, *, depth: int = 0) -> list[Tensor]:
    """Return the tensors in what a network returned, however it is nested."""
    if isinstance(result, Tensor):
        return [result]
    if depth > _DEEPEST or isinstance(result, nn.Module):
        return []
    named = _by_name(result)
    values = list(named.values()) if named is not None else result
    if not isinstance(values, (list, tuple)):
        return []
    return [tensor for value in values for tensor in list_tensors(value, depth=depth + 1)]


def select_outputs(
    result: object, outputs: Sequence[str], network: str, *, more: bool
) -> tuple[Tensor, ...]:
    """Return the outputs that the task expects, in its order.

    Equal names belong together. Else there must be as many tensors as outputs. Of several for one
    output: that with a usual name; of a tuple the first of two axes, or the first.

    Args:
        result: what the network returned.
        outputs: their names in the task.
        network: its name, for messages.
        more: drop those after the expected ones, as heads for training are.

    Raises:
        ModelError: there are none, or it is not clear which they are.
    """
    found = _by_name(result)
    values: list[Any]
    if found is None:
        values = list(result) if isinstance(result, (list, tuple)) else [result]
        came = ", ".join(type(value).__name__ for value in values) or "nothing"
    else:
        came = ", ".join(map(str, found))
        values = [found[name] for name in outputs if name in found]
        if not values:  # by its own names, such as "out": in its order
            values = [value for value in found.values() if isinstance(value, Tensor)]
            values = values[: len(outputs)] if more and len(outputs) > 1 else values
    if len(values) != len(outputs) and len(outputs) == 1:
        rows = _rows(values, found or {})
        values = rows[:1] if found is None or more or len(rows) == 1 else values
    if more and found is None:
        values = values[: len(outputs)]
    if len(values) != len(outputs) or not all(isinstance(value, Tensor) for value in values):
        raise ModelError(
            f"{network} returned {came}, but the task expects the tensors "
            f"{', '.join(outputs)}; let its forward return them in that order, or by these names"
        )
    return tuple(values)


def _rows(values: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """Return those of several values that can be the only output of a task, the likeliest first."""
    lower = {str(name).lower(): value for name, value in named.items()}
    usual = [lower[name] for name in _USUAL if isinstance(lower.get(name), Tensor)]
    if usual:
        return usual[:1]
    found = [value for value in values if isinstance(value, Tensor) and value.ndim == 2]
    return found or [value for value in values[:1] if not named]


def _by_name(result: object) -> dict[str, Any] | None:
    """Return what has names in a result; None where it has none."""
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if isinstance(result, tuple) and hasattr(result, "_fields"):  # a named tuple
        return dict(zip(result._fields, result, strict=True))
    if isinstance(result, (Tensor, list, tuple)) or not hasattr(result, "__dict__"):
        return None
    return dict(vars(result))
