"""Run a network of texts on made-up numbers, and see what it does with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekd.errors import EdgekdError, ModelError
from edgekd.networks.outputs import name_outputs
from edgekd.networks.recurrent import any_order
from edgekd.networks.text_call import TextCall

BATCH = 3
_TOLERANCE = 1e-3


@contextmanager
def quiet_run(body: nn.Module) -> Iterator[None]:
    """Run in evaluation mode, without gradients, and leave modes and generators as they were."""
    modes = [(module, module.training) for module in body.modules()]
    body.eval()
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(),
            any_order(body),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass(frozen=True)
class Table:
    """A layer that turns numbers into vectors."""

    path: str
    rows: int
    padding: int | None


class Trial:
    """A network, its name in messages, and the number of padding."""

    def __init__(self, body: nn.Module, name: str, padding: int) -> None:
        """Keep them; `padding` may change."""
        self.body, self.name, self.padding = body, name, padding

    def run(self, call: TextCall, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the first output."""
        seen = torch.ones_like(ids) if mask is None else mask
        outputs = name_outputs(self.body(*call.values(ids, seen)))
        if not outputs:
            raise ModelError(f"{self.name} returned no tensor; let its forward return the outputs")
        tensors = list(outputs.values())
        best = next((t for n, t in outputs.items() if n.lower() == "logits"), tensors[0])
        return next((t for t in [best, *tensors] if t.ndim > 0), best).float()

    def numbers(self, count: int, length: int) -> Tensor:
        """Return numbers [count, length] of two words, in an arbitrary order."""
        generator = torch.Generator().manual_seed(count * 1000 + length)
        pair = torch.tensor([n for n in range(3) if n != self.padding][:2])
        return pair[torch.randint(0, 2, (count, length), generator=generator)]

    def fault(self, call: TextCall, length: int) -> Exception | None:
        """Return why the network does not run on texts of this length."""
        try:
            count = count_texts(length)
            answer = self.run(call, self.numbers(count, length))
            if answer.ndim == 0 or len(answer) not in (count, length):  # of `view(-1, ...)`
                return ValueError(
                    f"it returned the shape {list(answer.shape)} for {count} texts of {length} "
                    "tokens, expected is a row for each text"
                )
        except EdgekdError:
            raise
        except Exception as error:  # noqa: BLE001  # user code may raise anything
            return error
        return None


def count_texts(length: int) -> int:
    """Return a number of texts that is not their length: the axes cannot be mixed up."""
    return BATCH if length != BATCH else BATCH + 1


def equal(one: Tensor, other: Tensor) -> bool:
    """Tell whether two answers are equal but for rounding; NaN equals NaN."""
    if one.shape != other.shape:
        return False
    scale = float(one[one.isfinite()].abs().max()) if one.isfinite().any() else 0.0
    limit = _TOLERANCE * max(scale, 1e-6)
    return bool(torch.allclose(one, other, rtol=0, atol=limit, equal_nan=True))


def find_table(body: nn.Module, run: Callable[[], object], ids: Tensor) -> Table | None:
    """Return the smallest table that is read by the numbers of words."""
    found: list[Table] = []

    def watch(path: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def look(module: nn.Module, inputs: tuple[object, ...]) -> None:
            seen = inputs[0] if inputs else None
            if not isinstance(seen, Tensor) or seen.numel() != ids.numel():
                return
            if torch.equal(_sorted(seen), _sorted(ids)):
                rows, padding = module.num_embeddings, module.padding_idx
                found.append(Table(path, int(rows), padding))  # type: ignore[arg-type]

        return look

    kinds = (nn.Embedding, nn.EmbeddingBag)
    tables = [(path, m) for path, m in body.named_modules() if isinstance(m, kinds)]
    handles = [m.register_forward_pre_hook(watch(path or "its table")) for path, m in tables]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return min(found, key=lambda table: table.rows, default=None)


def _sorted(values: Tensor) -> Tensor:
    return values.reshape(-1).sort().values
