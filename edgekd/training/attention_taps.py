"""Queries, keys and values of an attention, however its author wrote it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekd.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

PARTS = ("query", "key", "value")
SEPARATE = (
    PARTS,
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("query_proj", "key_proj", "value_proj"),
    ("q", "k", "v"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
)
"""Names of three Linear layers."""
FUSED = ("qkv", "in_proj", "to_qkv", "Wqkv")
"""Names of one Linear layer that gives queries, keys and values side by side."""
Keep = Callable[["Tensor"], None]


def is_attention(module: nn.Module) -> bool:
    """Whether queries, keys and values can be taken from a module."""
    from torch import nn

    return isinstance(module, nn.MultiheadAttention) or bool(_separate(module) or _fused(module))


def hook_attention(module: nn.Module, path: str, part: str, keep: Keep) -> RemovableHandle:
    """Call `keep` with the queries, keys or values [batch, tokens, width] of every forward pass.

    Raises:
        ModelError: the module has no such layers.
    """
    from torch import nn

    index = PARTS.index(part)
    if isinstance(module, nn.MultiheadAttention):
        return _hook_torch(module, index, keep)
    if layer := _fused(module):

        def keep_third(_: nn.Module, __: object, output: Tensor) -> None:
            keep(output.chunk(3, dim=-1)[index])

        return layer.register_forward_hook(keep_third)
    if not (layers := _separate(module)):
        raise ModelError(
            f"the layer {path!r} ({type(module).__name__}) is no attention whose queries, keys and "
            f"values are known: it has neither three Linear layers ({', '.join(PARTS)}, or "
            f"{', '.join(SEPARATE[1])}) nor one called {FUSED[0]}; name the attention itself"
        )

    def keep_whole(_: nn.Module, __: object, output: Tensor) -> None:
        keep(output)

    return layers[index].register_forward_hook(keep_whole)


def _hook_torch(module: nn.MultiheadAttention, index: int, keep: Keep) -> RemovableHandle:
    """PyTorch's own attention has no layers for them: they are computed once more."""
    import torch.nn.functional as F

    def compute(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        given = args[index] if len(args) > index else kwargs[PARTS[index]]
        if module.in_proj_weight is not None:
            weight = module.in_proj_weight.chunk(3)[index]
        else:
            own = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)[index]
            assert own is not None  # torch's rule: either one weight or three
            weight = own
        bias = module.in_proj_bias
        found = F.linear(given, weight, None if bias is None else bias.chunk(3)[index])
        keep(found if module.batch_first else found.transpose(0, 1))

    return module.register_forward_pre_hook(compute, with_kwargs=True)


def _separate(module: nn.Module) -> list[nn.Module]:
    from torch import nn

    children = dict(module.named_children())
    for names in SEPARATE:
        found = [children[name] for name in names if isinstance(children.get(name), nn.Linear)]
        if len(found) == len(names):
            return found
    return []


def _fused(module: nn.Module) -> nn.Module | None:
    from torch import nn

    for name, child in module.named_children():
        if name in FUSED and isinstance(child, nn.Linear):
            return child if child.out_features % 3 == 0 else None
    return None
