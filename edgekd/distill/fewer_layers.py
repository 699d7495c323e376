"""A student with some of the teacher's transformer blocks, which start from their weights.

Sanh et al. 2019 (DistilBERT, arXiv 1910.01108), section 3, take every second block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from edgekd.errors import NothingToDo, RecipeError
from edgekd.wording import option

if TYPE_CHECKING:
    from torch import nn

    from edgekd.networks.trainable import Model

Kept = Literal["half"] | int | tuple[int, ...]
"""How many blocks stay, or which, by their numbers from 0."""


@dataclass(frozen=True)
class Stack:
    """A list of transformer blocks."""

    path: str
    count: int
    needed: tuple[int, ...] = ()
    """Blocks that have tensors which most others lack, such as T5's table of distances."""


def shortened(model: Model, kept: Kept) -> Model:
    """Return a new Model with some of the blocks; the edit is in its blueprint.

    Raises:
        NothingToDo: there is no list of blocks.
        RecipeError: `kept` does not fit the list.
    """
    from edgekd.networks.copying import copy_network
    from edgekd.networks.depth import keep_layers, layers_edit

    model = model.plain()
    stack = find_stack(model.body)
    if stack is None:
        raise NothingToDo(
            f"the layers of {type(model.body).__name__} cannot be left out: it has no list "
            "(nn.ModuleList) of two or more equal blocks with attention; leave out "
            f"{option('distill.student.layers')}, or give a student of your own "
            f"({option('distill.student.build', 'net.py:build')})"
        )
    numbers = choose_layers(stack, kept)
    edit = layers_edit(stack.path, numbers)
    network = keep_layers(copy_network(model.body), edit)
    for parameter in network.parameters():  # it learns, also where the whole was frozen
        parameter.requires_grad_(parameter.is_floating_point())
    blueprint = replace(model.blueprint, edits=(*model.blueprint.edits, edit))
    shown = option("distill.student.layers", list(numbers))
    note = (
        f"the student starts from {len(numbers)} of the {stack.count} blocks in {stack.path}: "
        f"{', '.join(map(str, numbers))}, counted from 0 ({shown})"
    )
    return replace(model, body=network, blueprint=blueprint, notes=(note,))


def choose_layers(stack: Stack, kept: Kept) -> tuple[int, ...]:
    """Return the numbers of the blocks that stay.

    Of m blocks, k are evenly spaced: number i of 1..k is block ceil(i m / k), so the last one
    stays, whose output the head knows. A needed one takes the place of its nearest.

    Raises:
        RecipeError: there are no such blocks, or all stay.
    """
    count, way_out = stack.count, option("distill.student.layers", max(1, stack.count // 2))
    have = f"{stack.path} has {count} blocks, numbers 0 to {count - 1}"
    if isinstance(kept, tuple):
        if max(kept) >= count or len(kept) >= count:
            raise RecipeError(
                f"{option('distill.student.layers', list(kept))}: {have}, and a student has fewer; "
                f"give some of them, or how many: {way_out}"
            )
        missing = [number for number in stack.needed if number not in kept]
        if missing:
            raise RecipeError(
                f"{option('distill.student.layers', list(kept))} leaves out block {missing[0]}, "
                f"which has tensors that the others use; name it too, or give how many: {way_out}"
            )
        return kept
    k = max(1, count // 2) if kept == "half" else int(kept)
    if not 1 <= k < count:
        raise RecipeError(
            f"{option('distill.student.layers', k)}: {have}, and a student has fewer; for "
            f"instance {way_out}"
        )
    chosen = [-(-i * count // k) - 1 for i in range(1, k + 1)]
    for number in stack.needed:
        if number not in chosen:
            free = [i for i in range(k) if chosen[i] not in stack.needed]
            if not free:
                raise RecipeError(
                    f"{option('distill.student.layers', k)}: {len(stack.needed)} blocks of "
                    f"{stack.path} have tensors that the others use, so more have to stay"
                )
            chosen[min(free, key=lambda i: abs(chosen[i] - number))] = number
    return tuple(sorted(chosen))


def find_stack(network: nn.Module) -> Stack | None:
    """Return the list of blocks with attention that has the most parameters."""
    from torch import nn

    found: list[tuple[int, Stack]] = []
    for path, module in network.named_modules():
        if not path or not isinstance(module, (nn.ModuleList, nn.Sequential)) or len(module) < 2:
            continue
        blocks = list(module)
        if len({type(block) for block in blocks}) == 1 and all(map(_attends, blocks)):
            size = sum(parameter.numel() for parameter in module.parameters())
            found.append((size, Stack(path, len(blocks), _unlike(blocks))))
    return max(found, key=lambda one: one[0], default=(0, None))[1]


def _attends(block: nn.Module) -> bool:
    from edgekd.training.attention_taps import is_attention

    return any(
        is_attention(module) or "attention" in type(module).__name__.lower()
        for module in block.modules()
    )


def _unlike(blocks: Sequence[nn.Module]) -> tuple[int, ...]:
    """Return the blocks that have a tensor which most of the others lack."""
    names = [{name for name, _ in block.named_parameters()} for block in blocks]
    counts = Counter(name for own in names for name in own)
    rare = {name for name, count in counts.items() if 2 * count < len(blocks)}
    return tuple(i for i, own in enumerate(names) if own & rare)
