"""How a network that takes texts is called: what each parameter of its forward gets, by its name.

A file always takes numbers [batch, sequence] and, where the network uses it, a mask of 1 and 0.
What else a network wants is computed from these inside the graph.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.data.text_roles import Role, role_of
from edgekd.errors import ModelError

_MEANINGS: Mapping[Role, str] = {
    "ids": "numbers of the words, int64 [batch, length] (input_ids, tokens, x, text, src, ...)",
    "mask": "1 for a word, 0 for padding (attention_mask, mask)",
    "padding": "True for padding (src_key_padding_mask, padding_mask, pad_mask)",
    "lengths": "number of words of each text, int64 [batch] (lengths, text_lengths, seq_len)",
    "offsets": "start of each text, the numbers then being of one axis (offsets)",
    "types": "zeros like the numbers (token_type_ids)",
    "positions": "0, 1, 2, ... like the numbers (position_ids)",
}
_ATTENTION = re.compile(r"(src|attn|source)_?masks?", re.I)
"""Of torch's Transformer: which word may look at which, [length, length]."""


@dataclass(frozen=True)
class TextCall:
    """What the parameters of a forward get, in their order."""

    arguments: tuple[tuple[str, Role | None], ...]
    """None: its default."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of those, where they are not None."""
    time_first: bool = False
    """Whether the network takes [length, batch]."""
    as_table: bool = False
    """Whether its only parameter takes all by name, as `batch["input_ids"]`."""
    last_offset: int = 0
    """1: the starts of the texts are followed by the end of the last."""
    padding: int | None = None
    """The number of padding, where the network gets no mask but the start of each text."""

    def settle(self, network: nn.Module) -> None:
        """Let the bags of a network leave padding out, as texts without padding would."""
        for bag in network.modules():
            if self.padding is not None and isinstance(bag, nn.EmbeddingBag):
                bag.padding_idx = self.padding if bag.padding_idx is None else bag.padding_idx
                bag.has_equal_texts = True  # type: ignore[assignment]  # for `recurrent`

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @property
    def uses_mask(self) -> bool:
        """Whether it needs to know which numbers are padding."""
        return self.as_table or bool({"mask", "padding", "lengths"} & set(self.roles))

    @property
    def roles(self) -> tuple[Role, ...]:
        """What it takes."""
        return tuple(role for _, role in self.arguments if role is not None)

    def name_of(self, role: Role, default: str) -> str:
        """Return the name of the parameter with that role."""
        return next((n for n, r in self.arguments if r == role), default)

    def values(self, ids: Tensor, mask: Tensor | None) -> tuple[Any, ...]:
        """Return the arguments, by position."""
        seen = torch.ones_like(ids) if mask is None else mask
        if self.as_table:
            return ({"input_ids": ids, "attention_mask": seen},)
        return tuple(
            self.defaults.get(name) if role is None else self._value(role, ids, seen)
            for name, role in self.arguments
        )

    def _value(self, role: Role, ids: Tensor, seen: Tensor) -> Tensor:
        batch, length = ids.shape
        match role:
            case "ids" if "offsets" in self.roles:
                return ids.reshape(-1)
            case "ids":
                return ids.t().contiguous() if self.time_first else ids
            case "mask":
                return seen
            case "padding":
                return seen == 0
            case "lengths":
                return seen.sum(dim=1)
            case "offsets":
                return torch.arange(batch + self.last_offset, device=ids.device) * length
            case "types":
                return torch.zeros_like(ids)
            case "positions":
                return torch.arange(length, device=ids.device).expand(batch, length)


def text_call_of(found: Mapping[str, Any] | None) -> TextCall | None:
    """Return the call of which `to_json` is stored in a blueprint."""
    if found is None:
        return None
    pairs = tuple((name, role) for name, role in found["arguments"])
    return TextCall(**{**found, "arguments": pairs})


def read_forward(network: nn.Module, *, name: str) -> TextCall:
    """Return how `network` is called, by the names of its forward's parameters.

    The first parameter gets the numbers, whatever its name. A parameter with a default that is
    not known keeps it.

    Raises:
        ModelError: a parameter without a default is not known, or can be given by name only.
    """
    try:
        parameters = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return TextCall((("tokens", "ids"),))
    arguments: dict[str, Role | None] = {}
    defaults: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        role = _role(parameter.name, first="ids" not in arguments.values(), required=required)
        by_name_only = parameter.kind is parameter.KEYWORD_ONLY
        if required and (role is None or by_name_only):
            raise _unknown(name, network.forward, parameter.name)
        if by_name_only:
            continue
        arguments[parameter.name] = role
        if role is None and parameter.default is not None:
            defaults[parameter.name] = parameter.default
    arguments = _without_tail(arguments) or {"tokens": "ids"}
    defaults = {key: value for key, value in defaults.items() if key in arguments}
    return TextCall(tuple(arguments.items()), defaults, as_table=_takes_table(parameters))


def _role(name: str, *, first: bool, required: bool) -> Role | None:
    """Return the role of a parameter; `first`: none before it gets the numbers."""
    found = role_of(name)
    if found in (None, "ids"):
        return "ids" if first else None
    if not required and (found in ("types", "positions") or _ATTENTION.fullmatch(name)):
        return None
    return found


def _without_tail(arguments: Mapping[str, Role | None]) -> dict[str, Role | None]:
    """Leave out the last parameters that keep their default."""
    names = list(arguments)
    while names and arguments[names[-1]] is None:
        names.pop()
    return {name: arguments[name] for name in names}


def _takes_table(parameters: list[inspect.Parameter]) -> bool:
    required = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(required) != 1:
        return False
    annotation = str(required[0].annotation)
    return bool(re.search(r"\b(dict|Dict|Mapping|BatchEncoding)\b", annotation))


def describe_roles() -> str:
    """Return what parameters of a network may be called, for messages."""
    return "; ".join(_MEANINGS.values())


def _unknown(name: str, forward: Callable[..., Any], parameter: str) -> ModelError:
    return ModelError(
        f"the data are texts, and forward{inspect.signature(forward)} of {name} has the parameter "
        f"{parameter!r}, for which nothing is known. A network of texts may take: "
        f"{describe_roles()}. Rename the parameter, or give it a default (docs/text-networks.md)"
    )
