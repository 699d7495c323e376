"""The training itself: averages, early stopping, mixed samples, curves, and exact resume of all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.data.array_facts import ArrayOptions
from edgekd.data.augment import Augment, Jitter
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.mixing import Mixed
from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess, Preprocess
from edgekd.distill.losses import Decoupled, SoftTargets
from edgekd.errors import DataError, ModelError, RecipeError
from edgekd.networks.blueprint import Blueprint, build_network
from edgekd.networks.trainable import Model
from edgekd.options import Budget, Cache, Training
from edgekd.progress import Silent, Tick
from edgekd.step import Context
from edgekd.tasks.classification import Classification
from edgekd.tasks.reference import Reference
from edgekd.training.averaging import WeightAverage, decay_at
from edgekd.training.early_stop import Best, check_early_stop, make_judge
from edgekd.training.loop import TEACHER, TRAINED, Course, TrainingBatch, choose_device
from edgekd.training.losses import read_curves
from edgekd.training.signals import Signals
from edgekd.training.teacher_cache import CacheRequest
from edgekd.training.teacher_outputs import NetworkOutputs
from edgekd.training.trainee import Trainee
from edgekd.training.transfer import Lesson, hard_losses, make_objective, transfer

NETS = """
from torch import nn


def images(width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3),
    )


def signals(width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 3))
"""
PIXELS = ImagePreprocess(height=8, width=8, channels=1, mean=(100.0,), std=(50.0,))
SMALL = ImagePreprocess(height=6, width=6, channels=1, mean=(90.0,), std=(40.0,))
VALUES = ArrayPreprocess(names=("x",))
LABEL = np.arange(40) % 3
VIEWS = Augment(
    resized_crop=0.5,
    crop=1,
    flip=True,
    trivial_augment=True,
    jitter=Jitter(),
    cutout=2,
    mixup=0.4,
    cutmix=1.0,
)


class Killed(Silent):
    """Ends a training after some steps; keeps what was said."""

    def __init__(self, steps: float = math.inf) -> None:
        self.left, self.lines, self.notes = steps, list[str](), list[str]()

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        def tick(advance: float = 1, note: str = "") -> None:
            self.notes += [note] if note else []
            self.left -= bool(note)
            if self.left < 0:
                raise KeyboardInterrupt

        yield tick


def context_of(dataset: Dataset, options: Augment, root: Path) -> Context:
    splits = {"train": np.arange(28), "validation": np.arange(28, 40)}
    return Context(
        task=Classification(),
        data=Data(dataset, splits, augment=options, seed=0),
        teachers=(),
        device=None,  # type: ignore[arg-type]  # nothing is measured
        budget=Budget(),
        seed=0,
        root=root,
        identity={},
        progress=Killed(),
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


@pytest.fixture
def images(root: Path) -> Context:
    pixels = np.random.default_rng(0).integers(0, 200, (40, 8, 8, 1), dtype=np.uint8)
    pixels[np.arange(40), :, LABEL * 2] = 255
    return context_of(Dataset("image", {"image": pixels}, {"label": LABEL}), VIEWS, root)


@pytest.fixture
def signals(root: Path) -> Context:
    x = np.random.default_rng(0).normal(size=(40, 4, 8)).astype(np.float32)
    x[np.arange(40), LABEL] += 1
    meaning = ArrayOptions(axes={"x": ("frequency", "time")})
    dataset = Dataset("array", {"x": x}, {"label": LABEL}, meaning=meaning)
    return context_of(dataset, Augment(time_mask=3, frequency_mask=1, mixup=0.3), root)


def network(context: Context, preprocess: Preprocess, width: int = 4) -> Model:
    torch.manual_seed(width)
    name = "images" if context.data.kind == "image" else "signals"
    blueprint = Blueprint(f"nets.py:{name}", {"width": width})
    return Model(build_network(blueprint, root=context.root), blueprint, preprocess)


def train(
    context: Context, training: Training, work: Path, *, lesson: Lesson | None = None
) -> dict[str, Tensor]:
    student = network(context, PIXELS if context.data.kind == "image" else VALUES)
    transfer(student, lesson or Lesson(), context, training, work=work, title="train")
    return {name: value.clone() for name, value in student.body.state_dict().items()}


def taught(context: Context, *, cache: Cache | None = None) -> Lesson:
    """A lesson of labels and of a teacher that sees smaller pictures."""
    teacher = network(context, SMALL, 6).deployed(context.task)
    guide = NetworkOutputs(Trainee(teacher), SMALL, "fp32")
    request = None if cache is None else CacheRequest(cache, "one")
    return Lesson(0.5, (SoftTargets(), Decoupled()), guide, request)


TRAINING = Training(
    epochs=5, batch_size=8, learning_rate=0.05, precision="fp32", ema=0.9, clip_norm=1.0
)


@pytest.mark.parametrize("kind", ["images", "signals", "cached"])
def test_a_killed_training_ends_in_the_same_bytes(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    context = request.getfixturevalue("images" if kind == "cached" else kind)
    training = TRAINING.model_copy(update={"patience": 4})

    def run(work: str, **changes: object) -> dict[str, Tensor]:
        own = replace(context, **{"progress": Killed(), **changes})
        lesson = taught(own, cache=Cache(views=2)) if kind == "cached" else None
        return train(own, training, tmp_path / work, lesson=lesson)

    whole = run("whole")
    for steps in (5, 6, 1):  # 4 an epoch: in the second one, in that again, in the third
        with pytest.raises(KeyboardInterrupt):
            run("killed", progress=Killed(steps))
    again = run("killed")
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    curves = [(tmp_path / work / "losses.json").read_text() for work in ("whole", "killed")]
    assert curves[0] == curves[1]


def test_batches_prepared_ahead_have_the_same_bytes(images: Context, signals: Context) -> None:
    for context, preprocess in ((images, PIXELS), (signals, VALUES)):
        encoders = {TRAINED: preprocess, TEACHER: preprocess}
        one, many = (
            [
                b"".join(
                    a.tobytes()
                    for inputs in batch.inputs.values()
                    for a in (*inputs.values(), *batch.targets.values(), batch.index)
                )
                for epoch in (0, 1)
                for batch in Course(context.data, encoders, 5, workers=workers).batches(epoch)
            ]
            for workers in (0, 3)
        )
        assert one == many
        assert len(one) == 12


def test_an_error_in_a_batch_that_is_prepared_ahead_comes_in_its_turn(signals: Context) -> None:
    course = Course(signals.data, {TRAINED: ArrayPreprocess(names=("y",))}, 5, workers=2)
    with pytest.raises(DataError, match="takes the arrays y"):
        list(course.batches(0))


def test_the_teacher_sees_the_mixed_view(images: Context) -> None:
    course = Course(images.data, {TRAINED: PIXELS, TEACHER: PIXELS}, 8)
    for batch in course.batches(1):
        own, its = batch.inputs[TRAINED]["image"], batch.inputs[TEACHER]["image"]
        assert np.array_equal(own, its)
        assert batch.mixed is not None


def test_a_mixed_sample_is_held_against_both_targets() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    mixed = Mixed({"label": np.array([1, 1])}, np.array([0.75, 0.25], np.float32))
    batch = TrainingBatch({}, {"label": np.array([0, 0])}, np.arange(2), 0, mixed)
    log = logits.log_softmax(dim=1)
    rows = [-(0.75 * log[0, 0] + 0.25 * log[0, 1]), -(0.25 * log[1, 0] + 0.75 * log[1, 1])]
    each = hard_losses(Signals({"logits": logits}), batch, Classification(), torch.device("cpu"))
    found = each.mean()
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_a_task_whose_loss_is_one_number_cannot_have_mixed_samples() -> None:
    class Whole(Classification):
        def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
            return super().loss(outputs, targets).mean()

    mixed = Mixed({"label": np.array([1, 1])}, np.array([0.75, 0.25], np.float32))
    batch = TrainingBatch({}, {"label": np.array([0, 0])}, np.arange(2), 0, mixed)
    with pytest.raises(ModelError, match=r"shape \[\], and mixed samples"):
        hard_losses(Signals({"logits": torch.zeros(2, 2)}), batch, Whole(), torch.device("cpu"))


def test_terms_get_the_label_of_the_larger_share(images: Context) -> None:
    lesson = taught(images)
    student = network(images, PIXELS)
    trainee = Trainee(student.deployed(images.task)).eval()
    objective = make_objective(trainee, lesson, images, PIXELS)
    course = Course(images.data, {TRAINED: PIXELS, TEACHER: SMALL}, 28)
    batch = next(course.batches(0))
    assert batch.mixed is not None
    inputs = {n: torch.as_tensor(a) for n, a in batch.inputs[TRAINED].items()}
    parts = {part.name: part for part in objective(trainee(inputs), batch, 0.0)}
    assert list(parts) == ["hard", "soft-targets", "dkd"]
    own = batch.mixed.share >= 0.5
    assert 0 < own.sum() < len(own)
    label = np.where(own, batch.targets["label"], batch.mixed.targets["label"])
    plain = replace(batch, targets={"label": label}, mixed=None)
    again = {part.name: part for part in objective(trainee(inputs), plain, 0.0)}
    assert torch.equal(parts["dkd"].value, again["dkd"].value)
    assert not torch.equal(parts["hard"].value, again["hard"].value)


def test_the_average_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.register_buffer("count", torch.tensor(0))
    nn.init.constant_(layer.weight, 1.0)
    average = WeightAverage(layer, 0.5)
    assert [decay_at(step, 0.5) for step in (0, 1, 100)] == [0.1, 2 / 11, 0.5]
    nn.init.constant_(layer.weight, 3.0)
    average.update(0)  # 1 + 0.9 (3 - 1)
    assert average.state["weight"].item() == pytest.approx(2.8)
    nn.init.constant_(layer.weight, 2.0)
    layer.get_buffer("count").fill_(7)
    average.update(100)  # 2.8 + 0.5 (2 - 2.8)
    with average.applied():
        assert layer.weight.item() == pytest.approx(2.4)
        assert layer.get_buffer("count").item() == 7
    assert layer.weight.item() == 2.0


def test_the_average_is_what_comes_out(images: Context, tmp_path: Path) -> None:
    found = train(images, TRAINING, tmp_path / "work")
    stored = torch.load(tmp_path / "work" / "last.pt", weights_only=True)
    for name, value in found.items():
        assert torch.equal(value, stored["average"][f"network.body.{name}"])
    assert any(
        not torch.equal(value, stored["trainee"][f"network.body.{name}"])
        for name, value in found.items()
    )
    assert isinstance(images.progress, Killed)
    (line,) = images.progress.lines
    assert line.startswith("ema: the average of the weights (0.9 ")
    assert json.loads((tmp_path / "work" / "notes.json").read_text()) == [line]


def test_a_training_stops_when_validation_stops_improving(images: Context, tmp_path: Path) -> None:
    training = Training(
        epochs=40, batch_size=8, learning_rate=1e-6, patience=2, precision="fp32", ema=0.5
    )
    found = train(images, training, tmp_path / "work")  # nothing changes, so no epoch is better
    values = read_curves(tmp_path / "work" / "losses.json")["validation top-1"]
    best = int(np.argmax(np.array(values, np.float64)))
    assert len(values) == best + 3 < 40
    assert isinstance(images.progress, Killed)
    assert images.progress.lines[-1] == (
        f"early stopping: stopped after epoch {best + 3} of 40; the weights of epoch {best + 1} "
        f"ship, whose top-1 on validation was best: {values[best]:.4g} %"
    )
    model = network(images, PIXELS)
    model.body.load_state_dict(found)
    trainee = Trainee(model.deployed(images.task)).eval()
    judge = make_judge(images.task, images.data, PIXELS, size=5, device=choose_device())
    assert judge.measure(trainee) == pytest.approx(values[best])


def test_the_first_of_equal_epochs_is_the_best() -> None:
    judge = make_judge(Classification(), None, PIXELS, size=1, device=choose_device())  # type: ignore[arg-type]
    model, best = nn.Linear(1, 1), Best()
    for epoch, value in enumerate((float("nan"), 50.0, 60.0, 60.0, float("nan"), 59.0)):
        best.take(judge, epoch, value, model)  # type: ignore[arg-type]
    assert (best.epoch, best.value) == (2, 60.0)
    assert not best.is_over(5, 3)
    assert best.is_over(6, 3)


def test_what_cannot_be_judged_is_refused(images: Context) -> None:
    watched = Training(patience=1)
    check_early_stop(Training(), Reference(), images.data)
    with pytest.raises(RecipeError, match=r"without labels .* remove patience"):
        check_early_stop(watched, Reference(), images.data)
    empty = Data(
        images.data._dataset,
        {"train": np.arange(9), "validation": np.arange(0)},
        augment=Augment(),
        seed=0,
    )
    with pytest.raises(DataError, match=r"validation split, but this is empty"):
        check_early_stop(watched, Classification(), empty)


def test_curves_have_every_part_and_reach_the_watcher(images: Context, tmp_path: Path) -> None:
    seen: list[Mapping[str, Sequence[float | None]]] = []
    context = replace(images, watch=lambda title, curves: seen.append(curves))
    train(context, TRAINING, tmp_path / "work", lesson=taught(images))
    assert [len(curves["loss"]) for curves in seen] == [1, 2, 3, 4, 5]
    assert list(seen[-1]) == ["loss", "hard", "soft-targets", "dkd", "learning rate"]
    assert read_curves(tmp_path / "work" / "losses.json") == seen[-1]
    for loss, hard, soft, dkd in zip(*list(seen[-1].values())[:4], strict=True):
        assert loss is not None
        assert loss == pytest.approx(0.5 * (hard or 0) + 0.9 * (soft or 0) + (dkd or 0), abs=1e-4)
    assert isinstance(images.progress, Killed)
    assert "samples/s" in images.progress.notes[-1]
