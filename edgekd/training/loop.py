"""The training loop: teacher, student and recovery all use `fit`.

Everything random is a function of (seed, epoch) or of (seed, epoch, sample), so a training that was
killed resumes from its last checkpoint to the same bytes as one that was not.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.data.batches import Data, batch_starts
from edgekd.data.dataset import Arrays
from edgekd.data.mixing import Mixed
from edgekd.data.preprocess import Preprocess
from edgekd.errors import TrainingDiverged
from edgekd.options import Training
from edgekd.progress import Progress, Tick
from edgekd.training.averaging import WeightAverage
from edgekd.training.checkpoint import TrainingState
from edgekd.training.curves import EpochSums, Watch, describe_step, note_epoch
from edgekd.training.early_stop import Best, Judge
from edgekd.training.losses import LOSS, LOSSES, RATE, Curves, add_notes
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
    mixed: Mixed | None = None
    """The partners of the samples, where augmentation mixes them."""


_MOST_WORKERS = 8


def choose_workers(kind: str, device: torch.device) -> int:
    """Return the number of threads that prepare batches ahead of a training; no result depends on.

    Texts are prepared by one, since a tokenizer may serve only one thread at a time. On a CPU they
    are the cores that the training leaves, at least one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = (cores or 1) - (torch.get_num_threads() if device.type == "cpu" else 1)
    return 1 if kind == "text" else min(_MOST_WORKERS, max(1, free))


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
    workers: int = 0
    """Threads that prepare batches ahead; no result depends on it."""

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
        for batch in self.data.batches(
            "train",
            *self.preprocesses.values(),
            size=size,
            order=order,
            view=view,
            workers=self.workers,
        ):
            inputs = dict(zip(self.preprocesses, batch.inputs, strict=True))
            yield TrainingBatch(inputs, batch.targets, batch.index, batch.view, batch.mixed)


_LOOK_S = 0.5
"""On an accelerator the loss is read this often."""
Objective = Callable[[Signals, TrainingBatch, float], Sequence[Part]]
"""Of the trained network's signals, the batch and the share of the training that is over: the
parts whose weighted sum, in this order, goes down."""


@dataclass(frozen=True)
class TrainingLog:
    """Where a training reports to, and where it keeps its checkpoints."""

    work: Path
    """A folder; checkpoints, curves and notes are files in it."""
    progress: Progress
    title: str
    watch: Watch = lambda curves: None
    """Called after every epoch."""


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
        return torch.optim.SGD(
            groups, lr=training.learning_rate, momentum=0.9, nesterov=True, fused=True
        )
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)


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
    log: TrainingLog,
    judge: Judge | None = None,
) -> None:
    """Train in place; checkpoints in `log.work` after every epoch, resumed from there.

    The result are the weights of the last epoch, with `ema` their average over the steps. With
    `patience` it is the best epoch by `judge`, which must be given then.

    Raises:
        TrainingDiverged: the loss is not a finite number; `last.pt` keeps the last good epoch.
    """
    work, title = log.work, log.title
    device = choose_device()
    place(trainee, device)
    example = to_tensors(course.example().inputs[TRAINED], device)
    _lay_out(trainee, example)
    average = None if training.ema is None else WeightAverage(trainee, training.ema)
    state = TrainingState(trainee, _optimizer(trainee, training), average, Best())
    done = first = state.resume(work / "last.pt")
    steps_per_epoch = len(batch_starts(course.samples, training.batch_size, training=True))
    total = training.epochs * steps_per_epoch
    threads = choose_threads(trainee, example, size=training.batch_size)
    with threads, log.progress.track(title, total) as tick:
        tick(first * steps_per_epoch)
        runner = _Runner(state, course, objective, training, steps_per_epoch, tick)
        while done < training.epochs and not _is_over(state.best, done, training):
            torch.manual_seed((seed << 20) + done)  # dropout; the same after a resume
            sums = runner.run_epoch(done)
            broken = sums.first_broken()
            if broken is not None:
                raise TrainingDiverged(_diverged(title, done, *broken, first, training, work))
            values = {**sums.means(), RATE: learning_rate(training, runner.step, steps_per_epoch)}
            if judge is not None:
                values[judge.title] = _measure(state, judge, done)
            curves: Curves = note_epoch(work / LOSSES, done, values)
            done += 1
            state.save(work / "last.pt", done)
            log.watch(curves)
        if done < training.epochs:
            tick(total - done * steps_per_epoch)
    _settle(state, judge, training, done, log)


def _is_over(best: Best, epochs: int, training: Training) -> bool:
    return training.patience is not None and best.is_over(epochs, training.patience)


class _Runner:
    """Takes the steps of an epoch."""

    def __init__(
        self,
        state: TrainingState,
        course: Course,
        objective: Objective,
        training: Training,
        steps_per_epoch: int,
        tick: Tick,
    ) -> None:
        self._state, self._course, self._objective = state, course, objective
        self._training, self._per_epoch, self._tick = training, steps_per_epoch, tick
        self._device, self._last = choose_device(), max(1, training.epochs * steps_per_epoch - 1)
        self._start, self._samples, self._looked = time.monotonic(), 0, 0.0
        self.step = 0

    def run_epoch(self, epoch: int) -> EpochSums:
        """Train one epoch; it ends early where the loss is seen to be no finite number."""
        trainee, training, sums = self._state.trainee, self._training, EpochSums()
        trainee.train()
        for i, batch in enumerate(self._course.batches(epoch)):
            self.step = epoch * self._per_epoch + i
            for group in self._state.optimizer.param_groups:
                group["lr"] = learning_rate(training, self.step, self._per_epoch)
            with computing(training.precision, self._device):
                signals = trainee(to_tensors(batch.inputs[TRAINED], self._device))
            parts = self._objective(signals, batch, self.step / self._last)
            sums.add(_descend(trainee, self._state.optimizer, parts, training), parts)
            if self._state.average is not None:
                self._state.average.update(self.step)
            self._samples += len(batch.index)
            note, is_fine = self._look(epoch, sums)
            if not is_fine:
                break
            self._tick(1, note)
        return sums

    def _look(self, epoch: int, sums: EpochSums) -> tuple[str, bool]:
        """Return what is shown of the last step, and whether its loss is a finite number.

        On an accelerator only now and then, since a look waits for all steps that were begun.
        """
        now = time.monotonic()
        if self._device.type != "cpu" and now - self._looked < _LOOK_S:
            return "", True
        self._looked, values = now, sums.last()
        rate = self._samples / max(now - self._start, 1e-9)
        shown = f"epoch {epoch + 1}/{self._training.epochs}  {describe_step(values)}"
        return f"{shown}  {rate:,.0f} samples/s", math.isfinite(values[LOSS])


def _measure(state: TrainingState, judge: Judge, epoch: int) -> float:
    """Return the metric of the weights that would ship, and keep them if they are the best."""
    averaged = nullcontext() if state.average is None else state.average.applied()
    with averaged:
        state.trainee.eval()
        value = judge.measure(state.trainee)
        state.best.take(judge, epoch, value, state.trainee)
    return value


def _settle(
    state: TrainingState,
    judge: Judge | None,
    training: Training,
    epochs: int,
    log: TrainingLog,
) -> None:
    """Give the trainee the weights that ship, and say which these are."""
    lines = []
    if training.ema is not None:
        lines.append(
            f"ema: the average of the weights ({training.ema:g} of it is kept in each step) is "
            "evaluated and ships"
        )
    if judge is not None:
        lines.append(state.best.describe(judge, epochs, training.epochs))
        state.trainee.load_state_dict(state.best.state)
    elif state.average is not None:
        state.average.give()
    for line in lines:
        log.progress.say(line)
    add_notes(log.work, lines)
    state.trainee.eval()


def _descend(
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    training: Training,
) -> Tensor:
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
    return loss.detach()


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
