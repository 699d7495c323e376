"""Networks whose code takes one memory layout alone are trained in that one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ImagePreprocess
from edgekd.networks.blueprint import Deployed
from edgekd.options import Training
from edgekd.progress import Silent
from edgekd.training.loop import TRAINED, Course, TrainingBatch, TrainingLog, fit
from edgekd.training.signals import Signals
from edgekd.training.terms import Part
from edgekd.training.trainee import Trainee

IMAGES = ImagePreprocess(height=8, width=8, mean=(127,) * 3, std=(64,) * 3)


class Views(nn.Module):
    """Flattens by `view` after a convolution, as most tutorials do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        logits: Tensor = self.fc(x.view(x.size(0), -1))
        return logits


class Flattens(Views):
    """The same without a view."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.relu(self.conv(x)).flatten(1))
        return logits


@pytest.mark.parametrize("make", [Views, Flattens])
def test_a_view_after_a_convolution_trains(make: type[nn.Module], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    dataset = Dataset("image", {"image": pixels}, {"label": np.arange(20) % 3})
    data = Data(dataset, {"train": np.arange(20)}, augment=Augment(), seed=0)
    trainee = Trainee(Deployed(make(), IMAGES, ("logits",)))
    course = Course(data, {TRAINED: IMAGES}, 8)

    def objective(signals: Signals, batch: TrainingBatch, done: float) -> list[Part]:
        label = torch.as_tensor(batch.targets["label"])
        return [Part("hard", 1.0, nn.functional.cross_entropy(signals.outputs["logits"], label))]

    body = trainee.network.body
    before = body.get_parameter("fc.weight").detach().clone()
    training = Training(epochs=1, batch_size=8, precision="fp32")
    (tmp_path / "work").mkdir()
    fit(
        trainee,
        course,
        objective,
        training,
        seed=0,
        log=TrainingLog(tmp_path / "work", Silent(), "t"),
    )
    assert not torch.equal(before, body.get_parameter("fc.weight"))
    weight = body.get_parameter("conv.weight")
    channels_last = weight.is_contiguous(memory_format=torch.channels_last)
    assert channels_last == (make is Flattens)
