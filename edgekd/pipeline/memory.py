"""The memory that a job needs at its most: estimated before it starts, from a real batch.

What is kept for the way back grows with the samples of a batch, so it is counted on two and on four
samples; weights, gradients and the optimizer's state do not grow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.evaluation.formatting import size
from edgekd.networks.bounded import Peak, free_bytes
from edgekd.options import Training
from edgekd.store import write_json
from edgekd.wording import option

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PEAK = "memory.json"
EXPORT_BYTES = 400_000_000
"""What the exporter and its libraries take, whatever the network (torch 2.13)."""


@dataclass
class Kept:
    """What a forward pass keeps for the way back."""

    samples: int
    own: set[int]
    """Where the weights are: they are not counted."""
    found: dict[int, int] = field(default_factory=dict)
    """Where a block of memory is -> its bytes."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return sum(self.found.values())

    @property
    def largest_bytes(self) -> int:
        """The largest block: its gradient lies beside it on the way back."""
        return max(self.found.values(), default=0)


@contextmanager
def count_kept(network: nn.Module, samples: int) -> Iterator[Kept]:
    """Count what is kept for the way back of what runs inside."""
    import torch

    tensors = [*network.parameters(), *network.buffers()]
    kept = Kept(samples, {tensor.untyped_storage().data_ptr() for tensor in tensors})

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept.own:
            kept.found[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # keeps the memory, so that no other block comes to its place

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


@dataclass(frozen=True)
class TrainingNeed:
    """The memory that a training takes at its most, beside what is there before it."""

    fixed_bytes: int
    """Weights, gradients, the optimizer's state, and the checkpoint as it is written."""
    sample_bytes: int
    """For each sample of a batch."""

    def of(self, batch_size: int) -> int:
        """Return the need of a training with batches of that size."""
        return self.fixed_bytes + batch_size * self.sample_bytes


def training_need(kept: Sequence[Kept], weight_bytes: int, training: Training) -> TrainingNeed:
    """Return the need of a training whose passes on fewer samples kept that."""
    large, small = max(kept, key=lambda k: k.samples), min(kept, key=lambda k: k.samples)
    more = large.samples - small.samples
    each = large.total_bytes / large.samples
    if more:
        each = min(each, max(0, large.total_bytes - small.total_bytes) / more)
    beside = large.total_bytes - each * large.samples  # weights in another number type, tables
    states = 2 if training.optimizer == "adamw" else 1
    copies = 2 + states + (1 + states)
    gradients = 2 * large.largest_bytes / large.samples
    return TrainingNeed(round(copies * weight_bytes + beside), round(each + gradients))


def check_need(
    need: TrainingNeed, training: Training, *, name: str, path: str, device: torch.device
) -> None:
    """Refuse a training that does not fit into the memory that is free.

    Args:
        need: from `training_need`.
        training: its options.
        name: of the network, for the message.
        path: of the options in the recipe, as in `model.train`.
        device: where it is trained.

    Raises:
        ModelError: it does not fit.
    """
    free = free_on(device)
    wanted = need.of(training.batch_size)
    if free is None or wanted <= free:
        return
    fits = [n for n in (2**i for i in range(1, 17)) if n < training.batch_size]
    fits = [n for n in fits if need.of(n) <= 0.8 * free]
    cure = (
        f"take smaller batches: {option(f'{path}.batch_size', fits[-1])} fits"
        if fits
        else "not even two samples fit: take smaller inputs (input = { size = ... } of the "
        "model), a smaller network, or a larger machine"
    )
    raise ModelError(
        f"training the {name} on batches of {training.batch_size} needs about {size(wanted)} of "
        f"memory ({size(need.sample_bytes)} for each sample, {size(need.fixed_bytes)} for weights, "
        f"gradients and the optimizer), and {size(free)} are free; {cure}"
    )


def free_on(device: torch.device) -> int | None:
    """Return the free memory of where a network is trained; None where it is not known."""
    import torch

    if device.type == "cpu":
        return free_bytes()
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def keep_peak(folder: Path, found: Peak) -> Peak:
    """Return the most memory that a run took so far, over all its starts; it is stored there.

    A start that takes hardly more than an earlier one is no other figure: a run that is only
    repeated gives the same report.
    """
    path = folder / PEAK
    if path.exists():
        before = Peak(**json.loads(path.read_text(encoding="utf8")))
        if _grown(found) <= 2 * _grown(before) + EXPORT_BYTES:
            return before
    write_json(path, asdict(found))
    return found


def _grown(peak: Peak) -> int:
    return max(0, peak.most_bytes - peak.held_bytes)
