"""Count multiplications of a network by running it once, as a whole and by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Macs:
    """Multiplications of a forward pass."""

    each: Sequence[float]
    """Of each convolution and matrix product, in their order."""
    by_weight: Mapping[str, float] = field(default_factory=dict)
    """Name of a parameter -> those of the products that read it."""

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.each)


def count_macs(network: nn.Module, *inputs: Any) -> Macs:
    """Return the multiplications of each convolution and matrix product of `network(*inputs)`.

    The network is left in evaluation mode; no statistic and no random number is touched.
    """
    network.eval()
    counter = _Counter(network.named_parameters())
    whole = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one call for a whole attention hides its parts
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), counter:
            network(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(whole)
    return Macs(counter.each, counter.by_weight)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Counts by the formulas of torch's own counter, call by call."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.each: list[float] = []
        self.by_weight: dict[str, float] = {}
        # a product reads a view of its weight, transposed or a part, which shares its storage
        self._names = {_storage(p): name for name, p in parameters if p.ndim > 1}

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if formula is not None:
            macs = formula(*args, **(kwargs or {}), out_val=result) / 2
            self.each.append(macs)
            for tensor in args:
                name = self._names.get(_storage(tensor)) if isinstance(tensor, Tensor) else None
                if name is not None:
                    self.by_weight[name] = self.by_weight.get(name, 0.0) + macs
        return result


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
