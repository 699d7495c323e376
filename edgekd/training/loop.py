"""The one training loop: teacher, student and recovery all go through `fit`.

Everything random is a function of (seed, epoch) or of (seed, epoch, sample), so a training that was
killed goes on from its last checkpoint to the same bytes as one that was not.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekd.data.batches import Batch
from edgekd.errors import TrainingDiverged
from edgekd.networks.blueprint import Deployed
from edgekd.options import Training
from edgekd.progress import Progress
from edgekd.store import write_atomic
from edgekd.training.precision import computing

Outputs = dict[str, Tensor]
Objective = Callable[[Outputs, Batch], Tensor]
"""Of the network's named outputs and the batch (arrays): the scalar loss to go down."""


@dataclass(frozen=True)
class Course:
    """What a training runs through: the batches of an epoch and how many there are."""

    batches: Callable[[int], Iterator[Batch]]
    samples: int


def device_of_training() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None else torch.device("cpu")


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to `device`; one with convolutions is laid out channels last, for speed."""
    network.to(device)
    if any(p.ndim == 4 for p in network.parameters()):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub


def learning_rate(training: Training, step: int, steps_per_epoch: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to zero (SGDR, 2017)."""
    warmup = training.warmup_epochs * steps_per_epoch
    total = training.epochs * steps_per_epoch
    if step < warmup:
        return training.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim >= 2]
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=training.learning_rate)


def to_tensors(arrays: Mapping[str, object], device: torch.device) -> Outputs:
    """Return the arrays as tensors on `device`, without a copy where there need be none."""
    return {name: torch.as_tensor(array).to(device) for name, array in arrays.items()}


def forward(network: Deployed, batch: Batch, which: int, device: torch.device) -> Outputs:
    """Return the named outputs of `network` for its own view (`which`) of the batch."""
    inputs = to_tensors(batch.inputs[which], device)
    return dict(zip(network.outputs, network(*inputs.values()), strict=True))


def fit(
    network: Deployed,
    course: Course,
    objective: Objective,
    training: Training,
    *,
    seed: int,
    work: Path,
    progress: Progress,
    title: str,
) -> None:
    """Train `network` in place; checkpoints in `work` after every epoch, resumed from there.

    The network sees `batch.inputs[0]`. The last epoch's weights are the result.

    Raises:
        TrainingDiverged: the loss is no finite number; `work/last.pt` keeps the last good epoch.
    """
    device = device_of_training()
    place(network, device)
    optimizer = _optimizer(network, training)
    first = _resume(network, optimizer, work / "last.pt")
    steps_per_epoch = math.ceil(course.samples / training.batch_size)
    with progress.track(title, training.epochs * steps_per_epoch) as tick:
        tick(first * steps_per_epoch)
        for epoch in range(first, training.epochs):
            torch.manual_seed((seed << 20) + epoch)  # dropout; the same after a resume
            network.train()
            for i, batch in enumerate(course.batches(epoch)):
                rate = learning_rate(training, epoch * steps_per_epoch + i, steps_per_epoch)
                loss = _step(network, optimizer, objective, batch, training, rate)
                if not math.isfinite(loss):
                    raise TrainingDiverged(_diverged(title, epoch, i, loss, first, training, work))
                tick(1, f"epoch {epoch + 1}/{training.epochs}  loss {loss:.4f}")
            _checkpoint(network, optimizer, epoch + 1, work / "last.pt")
    network.eval()


def _step(
    network: Deployed,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    batch: Batch,
    training: Training,
    rate: float,
) -> float:
    device = next(network.parameters()).device
    for group in optimizer.param_groups:
        group["lr"] = rate
    with computing(training.precision, device):
        outputs = forward(network, batch, 0, device)
    loss = objective(outputs, batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if training.clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
    optimizer.step()
    return float(loss.detach())


def _checkpoint(
    network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, path: Path
) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    buffer = io.BytesIO()  # so that a full disk is an OSError, whatever torch makes of it
    torch.save(state, buffer)
    write_atomic(path, buffer.getbuffer())


def _resume(network: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> int:
    """Load the checkpoint if there is one; return the epoch to go on with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])


def _diverged(
    title: str, epoch: int, step: int, loss: float, first: int, training: Training, work: Path
) -> str:
    kept = f"the weights after epoch {epoch} are in {work / 'last.pt'}"
    where = kept if epoch > first or (work / "last.pt").exists() else "no epoch was finished"
    precision = "" if training.precision == "fp32" else ", or precision = 'fp32'"
    return (
        f"{title}: the loss became {loss} in epoch {epoch + 1}, step {step + 1}; {where}. "
        f"Try a lower learning_rate ({training.learning_rate:g} was used), clip_norm = 1.0, "
        f"a longer warmup_epochs{precision}, and look for NaN in the data"
    )
