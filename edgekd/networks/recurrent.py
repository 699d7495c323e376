"""Recurrent layers and bags in captured graphs: one operator per layer, for any length.

`torch.export` writes out an LSTM or GRU step by step, for the length of the example, and cannot
capture packed sequences at all. Here each layer becomes the operator `edgekd::recurrent`, which
has the arguments of ONNX's LSTM, GRU and RNN (their weights in ONNX's order of gates), and packing
becomes the lengths that these operators take. `edgekd.exporters.recurrent` translates it. A bag
becomes a lookup and a sum, for its own operator is a loop in ONNX.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import rnn

_GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Torch's gates (LSTM i f g o; GRU r z n) in the order of ONNX (LSTM i o f c; GRU z r h)."""
_WEIGHTS = "edgekd_onnx"


@torch.library.custom_op("edgekd::recurrent", mutates_args=())
def recurrent(  # noqa: PLR0913  # the inputs of ONNX's operators
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    hidden: Tensor | None,
    cell: Tensor | None,
    kind: str,
    size: int,
) -> list[Tensor]:
    """Stand for one layer: outputs [length, directions, batch, size], last states of all texts.

    Args:
        x: [length, batch, inputs].
        weight: [directions, gates * size, inputs].
        recurrence: [directions, gates * size, size].
        bias: [directions, 2 * gates * size], of the inputs and then of the states.
        lengths: int64 [batch]; outputs after them are zero, and states are those at the end.
        hidden: first states, [directions, batch, size].
        cell: likewise.
        kind: LSTM, GRU, RNN_TANH or RNN_RELU.
        size: of the states.
    """
    raise NotImplementedError("it stands for a layer in captured graphs only")


@recurrent.register_fake
def _(  # noqa: PLR0913  # as above
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    hidden: Tensor | None,
    cell: Tensor | None,
    kind: str,
    size: int,
) -> list[Tensor]:
    length, batch, directions = x.shape[0], x.shape[1], weight.shape[0]
    state = x.new_empty(directions, batch, size)
    return [x.new_empty(length, directions, batch, size), state, torch.empty_like(state)]


@dataclass(frozen=True)
class _Packed:
    """What packing gives in a captured graph: a padded sequence and its lengths."""

    data: Tensor
    """[length, batch, values]."""
    lengths: Tensor


@contextmanager
def capturable(network: nn.Module) -> Iterator[None]:
    """Let the recurrent layers and the bags of `network` be captured meanwhile."""
    layers = [m for m in network.modules() if isinstance(m, nn.RNNBase) and not m.proj_size]
    bags = [m for m in network.modules() if isinstance(m, nn.EmbeddingBag) and not m.max_norm]
    for layer in layers:
        _store_weights(layer)
        layer.forward = types.MethodType(_forward, layer)
    for bag in bags:
        bag.forward = types.MethodType(_forward_bag, bag)  # type: ignore[method-assign]
    try:
        with _replaced(network, _CAPTURED if layers else {}):
            yield
    finally:
        for module in (*layers, *bags):
            del module.forward
        for layer in layers:
            for name in [n for n in layer._buffers if n.startswith(_WEIGHTS)]:
                delattr(layer, name)


@contextmanager
def any_order(network: nn.Module) -> Iterator[None]:
    """Let `network` pack sequences that are not sorted by length, as those of a batch are."""
    with _replaced(network, {_pack_sorted: _pack_any_order}):
        yield


@contextmanager
def _replaced(
    network: nn.Module, functions: Mapping[Callable[..., Any], Callable[..., Any]]
) -> Iterator[None]:
    """Replace functions of torch where the code of a network names them."""
    homes = {id(vars(rnn)): vars(rnn)}
    for module in network.modules():
        names = getattr(type(module).forward, "__globals__", {})
        homes[id(names)] = names
    found = [
        (names, key, value)
        for names in homes.values()
        for key, value in list(names.items())
        if isinstance(value, types.FunctionType) and value in functions
    ]
    try:
        for names, key, value in found:
            names[key] = functions[value]
        yield
    finally:
        for names, key, value in found:
            names[key] = value


def _store_weights(layer: nn.RNNBase) -> None:
    """Keep the weights as ONNX orders them, as buffers: a captured graph then holds these alone."""
    order = _GATES[layer.mode[:4].rstrip("_")]
    directions = 2 if layer.bidirectional else 1

    def ordered(name: str) -> Tensor:
        value = getattr(layer, name, None)
        if value is None:  # without bias
            return torch.zeros(len(order) * layer.hidden_size)
        parts = cast(Tensor, value).detach().chunk(len(order))
        return torch.cat([parts[i] for i in order])

    for i in range(layer.num_layers):
        ends = [f"l{i}{'_reverse' * d}" for d in range(directions)]
        weight = torch.stack([ordered(f"weight_ih_{end}") for end in ends])
        recurrence = torch.stack([ordered(f"weight_hh_{end}") for end in ends])
        biases = [torch.cat([ordered(f"bias_ih_{end}"), ordered(f"bias_hh_{end}")]) for end in ends]
        for name, value in (("w", weight), ("r", recurrence), ("b", torch.stack(biases))):
            layer.register_buffer(f"{_WEIGHTS}_{name}{i}", value, persistent=False)


def _forward(layer: nn.RNNBase, input: Any, hx: Any = None) -> Any:
    """Compute what the forward of LSTM, GRU and RNN does, in evaluation mode."""
    is_packed = isinstance(input, _Packed)
    if not is_packed and input.ndim == 2:  # one sequence without a batch
        return type(layer).forward(layer, input, hx)
    x = input.data if is_packed else input.transpose(0, 1) if layer.batch_first else input
    lengths = input.lengths if is_packed else None
    is_lstm, directions = layer.mode == "LSTM", 2 if layer.bidirectional else 1
    first, second = (hx if is_lstm else (hx, None)) if hx is not None else (None, None)
    states, cells = [], []
    for i in range(layer.num_layers):
        rows = slice(i * directions, (i + 1) * directions)
        w, r, b = (getattr(layer, f"{_WEIGHTS}_{name}{i}") for name in "wrb")
        hidden, cell = (None if value is None else value[rows] for value in (first, second))
        y, state, last = torch.ops.edgekd.recurrent(
            x, w, r, b, lengths, hidden, cell, layer.mode, layer.hidden_size
        )
        x = y.transpose(1, 2).reshape(x.shape[0], x.shape[1], directions * layer.hidden_size)
        states.append(state)
        cells.append(last)
    output: Any = x.transpose(0, 1) if layer.batch_first else x
    if is_packed:
        output = _Packed(x, input.lengths)
    found = torch.cat(states)
    return output, (found, torch.cat(cells)) if is_lstm else found


def _forward_bag(
    bag: nn.EmbeddingBag,
    input: Tensor,
    offsets: Tensor | None = None,
    per_sample_weights: Tensor | None = None,
) -> Any:
    """Compute what the forward of EmbeddingBag does, without the loop that ONNX needs for it."""
    is_equal = offsets is not None and hasattr(bag, "has_equal_texts")
    if per_sample_weights is not None or (input.ndim == 1 and not is_equal):
        return nn.EmbeddingBag.forward(bag, input, offsets, per_sample_weights)
    if offsets is not None:
        input = input.reshape(offsets.shape[0] - bag.include_last_offset, -1)
    vectors = functional.embedding(input, bag.weight)
    if bag.padding_idx is None:
        return vectors.amax(1) if bag.mode == "max" else getattr(vectors, bag.mode)(1)
    seen = (input != bag.padding_idx)[..., None]
    if bag.mode == "max":
        most = vectors.masked_fill(~seen, -torch.inf).amax(1)
        return torch.where(seen.any(1), most, 0.0)
    total = (vectors * seen).sum(1)
    return total if bag.mode == "sum" else total / seen.sum(1).clamp(min=1)


def _pack(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> _Packed:
    data = input.transpose(0, 1) if batch_first else input
    return _Packed(data, torch.as_tensor(lengths, dtype=torch.int64))


def _unpack(
    sequence: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    data: Tensor = sequence.data
    if padding_value:
        steps = torch.arange(data.shape[0], device=data.device)[:, None, None]
        data = torch.where(steps < sequence.lengths[None, :, None], data, padding_value)
    return (data.transpose(0, 1) if batch_first else data), sequence.lengths


_pack_sorted = rnn.pack_padded_sequence


def _pack_any_order(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> Any:
    return _pack_sorted(input, lengths, batch_first=batch_first, enforce_sorted=False)


_CAPTURED: Mapping[Callable[..., Any], Callable[..., Any]] = {
    rnn.pack_padded_sequence: _pack,
    rnn.pad_packed_sequence: _unpack,
}
