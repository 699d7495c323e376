"""The training loop: teacher, student and recovery all use `fit`.

Everything random is a function of (seed, epoch) or of (seed, epoch, sample), so a training that was
killed resumes from its last checkpoint to the same bytes as one that was not.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.data.batches import Data, batch_starts
from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess
from edgekd.errors import TrainingDiverged
from edgekd.options import Training
from edgekd.progress import Progress
from edgekd.store import write_atomic, write_json
from edgekd.training.losses import LOSSES
from edgekd.training.precision import computing
from edgekd.training.signals import Signals
from edgekd.training.terms import Part
from edgekd.training.threads import choose_threads
from edgekd.training.trainee import Trainee

TRAINED, TEACHER = "trained", "teacher"
"""The names under which a batch has the inputs of the network in training and of its teacher."""


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Some samples of the training split; all networks see the same view of each."""

    inputs: Mapping[str, Arrays]
    """The name of a network -> its inputs by name."""
    targets: Arrays
    index: NDArray[np.int64]
    """The samples' numbers in the data set. With `view`, the key of a cache of signals."""
    view: int | None
    """The number of the view; None where nothing is varied."""


@dataclass(frozen=True)
class Course:
    """The data of a training: the training split, encoded for each network."""

    data: Data
    preprocesses: Mapping[str, Preprocess]
    """By the network's name; `TRAINED` is one of them."""
    size: int
    """Samples of a batch."""
    views: int | None = None
    """The number of views, which come again in turn; None: every epoch has its own."""

    @property
    def samples(self) -> int:
        """The number of samples of an epoch."""
        return self.data.per_epoch("train")

    def batches(self, epoch: int) -> Iterator[TrainingBatch]:
        """Yield the batches of an epoch, shuffled and augmented."""
        view = epoch if self.views is None else epoch % self.views
        return self._named(order=epoch, view=view, size=self.size)

    def in_order(self, *, view: int) -> Iterator[TrainingBatch]:
        """Yield every sample of the split once, in its own order, as view number `view`."""
        return self._named(order=None, view=view, size=self.size)

    def example(self) -> TrainingBatch:
        """Return two samples, not augmented: for shapes."""
        return next(self._named(order=None, view=None, size=2))

    def _named(self, *, order: int | None, view: int | None, size: int) -> Iterator[TrainingBatch]:
        encoders = self.preprocesses.values()
        for batch in self.data.batches("train", *encoders, size=size, order=order, view=view):
            inputs = dict(zip(self.preprocesses, batch.inputs, strict=True))
            yield TrainingBatch(inputs, batch.targets, batch.index, batch.view)


Objective = Callable[[Signals, TrainingBatch, float], Sequence[Part]]
"""Of the trained network's signals, the batch and the share of the training that is over: the
parts whose weighted sum, in this order, goes down."""


def choose_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None else torch.device("cpu")


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to `device`; one with convolutions is laid out channels last, for speed."""
    network.to(device)
    if any(p.ndim == 4 for p in network.parameters()):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub


def _lay_out(trainee: Trainee, example: Mapping[str, Tensor]) -> None:
    """Go back to the usual memory layout where the network's code takes no other.

    `x.view(x.size(0), -1)` after a convolution is ordinary code, and fails for channels last.
    """
    trainee.eval()  # no statistic and no random number is touched
    try:
        with torch.no_grad():
            trainee(example)
    except RuntimeError:
        trainee.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def learning_rate(training: Training, step: int, steps_per_epoch: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to zero (SGDR, 2017)."""
    warmup = training.warmup_epochs * steps_per_epoch
    total = training.epochs * steps_per_epoch
    if step < warmup:
        return training.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _optimizer(trainee: Trainee, training: Training) -> torch.optim.Optimizer:
    decayed = [p for p in trainee.parameters() if p.requires_grad and p.ndim >= 2]
    plain = [p for p in trainee.parameters() if p.requires_grad and p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=training.learning_rate)


def to_tensors(arrays: Mapping[str, object], device: torch.device) -> dict[str, Tensor]:
    """Return the arrays as tensors on `device`, without a copy where there need be none."""
    return {name: torch.as_tensor(array).to(device) for name, array in arrays.items()}


def fit(
    trainee: Trainee,
    course: Course,
    objective: Objective,
    training: Training,
    *,
    seed: int,
    work: Path,
    progress: Progress,
    title: str,
) -> None:
    """Train in place; checkpoints in `work` after every epoch, resumed from there.

    The last epoch's weights are the result.

    Raises:
        TrainingDiverged: the loss is not a finite number; `work/last.pt` keeps the last good epoch.
    """
    device = choose_device()
    place(trainee, device)
    example = to_tensors(course.example().inputs[TRAINED], device)
    _lay_out(trainee, example)
    optimizer = _optimizer(trainee, training)
    first = _resume(trainee, optimizer, work / "last.pt")
    steps_per_epoch = len(batch_starts(course.samples, training.batch_size, training=True))
    last = max(1, training.epochs * steps_per_epoch - 1)
    threads = choose_threads(trainee, example, size=training.batch_size)
    with threads, progress.track(title, training.epochs * steps_per_epoch) as tick:
        tick(first * steps_per_epoch)
        for epoch in range(first, training.epochs):
            torch.manual_seed((seed << 20) + epoch)  # dropout; the same after a resume
            trainee.train()
            total = 0.0
            for i, batch in enumerate(course.batches(epoch)):
                step = epoch * steps_per_epoch + i
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(training, step, steps_per_epoch)
                with computing(training.precision, device):
                    signals = trainee(to_tensors(batch.inputs[TRAINED], device))
                parts = objective(signals, batch, step / last)
                loss = _descend(trainee, optimizer, parts, training)
                if not math.isfinite(loss):
                    raise TrainingDiverged(_diverged(title, epoch, i, loss, first, training, work))
                total += loss
                tick(1, f"epoch {epoch + 1}/{training.epochs}  {describe_loss(loss, parts)}")
            _note_loss(work / LOSSES, epoch, total / steps_per_epoch)
            _checkpoint(trainee, optimizer, epoch + 1, work / "last.pt")
    trainee.eval()


def describe_loss(loss: float, parts: Sequence[Part]) -> str:
    """Write a loss as progress shows it, with its parts before their weights if it has several."""
    named = [f"{part.name} {float(part.value.detach()):.3g}" for part in parts]
    return "  ".join([f"loss {loss:.4f}", *(named if len(named) > 1 else [])])


def _descend(
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    training: Training,
) -> float:
    """Take one step down the weighted sum of `parts`; return the sum."""
    first, *others = parts
    loss = first.weight * first.value
    for part in others:
        loss = loss + part.weight * part.value
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if training.clip_norm is not None:
        nn.utils.clip_grad_norm_(trainee.parameters(), training.clip_norm)
    optimizer.step()
    return float(loss.detach())


def _note_loss(path: Path, epoch: int, loss: float) -> None:
    """Keep the mean loss of each epoch; one that is repeated after a crash replaces its own."""
    known = json.loads(path.read_text(encoding="utf8")) if path.exists() else []
    write_json(path, [*known[:epoch], round(loss, 6)])


def _checkpoint(trainee: Trainee, optimizer: torch.optim.Optimizer, epoch: int, path: Path) -> None:
    state = {"trainee": trainee.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    buffer = io.BytesIO()  # so that a full disk is an OSError, whatever torch makes of it
    torch.save(state, buffer)
    write_atomic(path, buffer.getbuffer())


def _resume(trainee: Trainee, optimizer: torch.optim.Optimizer, path: Path) -> int:
    """Load the checkpoint if there is one; return the epoch to resume with."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    trainee.load_state_dict(state["trainee"])
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
