"""The cache of a teacher: the same signals as the teacher's, computed once, never trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgekd.artifact import Artifact
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ImagePreprocess
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import Hidden, SoftTargets
from edgekd.errors import DataError
from edgekd.networks.blueprint import Blueprint, build_network
from edgekd.networks.trainable import Model, open_model
from edgekd.options import Budget, Cache, Training
from edgekd.progress import Silent, Tick
from edgekd.step import Context
from edgekd.tasks.classification import Classification
from edgekd.training import teacher_cache
from edgekd.training.cache_packing import Greatest, Whole, choose_packing
from edgekd.training.cache_store import folder_bytes, make_room
from edgekd.training.loop import TEACHER, Course
from edgekd.training.signals import Wanted
from edgekd.training.teacher_cache import CachedOutputs, CacheRequest, open_cache
from edgekd.training.teacher_outputs import NetworkOutputs
from edgekd.training.trainee import Trainee

NETS = """
from torch import nn


def net(width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 3),
    )
"""
PIXELS = ImagePreprocess(height=8, width=8, channels=1, mean=(100.0,), std=(50.0,))
BOTH = Wanted(layers=("1",))


class Heard(Silent):
    """Keeps what was said, and the titles of the bars; may end a training after some steps."""

    def __init__(self, steps: int | None = None) -> None:
        self.lines: list[str] = []
        self.titles: list[str] = []
        self.left = steps

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        self.titles.append(title)

        def tick(advance: float = 1, note: str = "") -> None:
            if note and self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt

        yield tick


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Twenty training images with views, and a cache folder; chunks of eight samples."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(teacher_cache, "CHUNK", 8)
    (tmp_path / "nets.py").write_text(NETS)
    images = np.random.default_rng(0).integers(0, 255, (30, 8, 8, 1), dtype=np.uint8)
    label = np.arange(30) % 3
    dataset = Dataset("image", {"image": images}, {"label": label}, labels=("a", "b", "c"))
    numbers = np.random.default_rng(1).permutation(30)
    splits = {"train": numbers[:20], "validation": numbers[20:]}
    return Context(
        task=Classification(),
        data=Data(dataset, splits, augment=Augment(crop=2, flip=True), seed=0),
        teachers=(),
        device=None,  # type: ignore[arg-type]  # nothing is measured
        budget=Budget(),
        seed=0,
        root=tmp_path,
        identity={},
        progress=Heard(),
    )


def network(context: Context, width: int) -> Model:
    torch.manual_seed(width)
    blueprint = Blueprint("nets.py:net", {"width": width})
    return Model(build_network(blueprint, root=context.root), blueprint, PIXELS)


@pytest.fixture
def teacher(context: Context, tmp_path: Path) -> Artifact:
    folder = tmp_path / "teacher"
    folder.mkdir()
    network(context, 6).save(folder)
    return Artifact(folder, {"model.pt": "", "preprocess.json": ""})


def guide_of(teacher: Artifact, context: Context) -> NetworkOutputs:
    model = open_model(teacher.folder, root=context.root)
    return NetworkOutputs(Trainee(model.deployed(context.task), layers=("1",)), PIXELS, "fp32")


def opened(
    teacher: Artifact,
    context: Context,
    *,
    epochs: int = 9,
    identity: str = "one",
    options: Cache = Cache(views=2),  # noqa: B008  # frozen
) -> tuple[CachedOutputs | None, str]:
    request = CacheRequest(options, identity)
    return open_cache(request, guide_of(teacher, context), BOTH, context, epochs=epochs)


def heard(context: Context) -> Heard:
    assert isinstance(context.progress, Heard)
    return context.progress


def test_it_replays_what_the_teacher_says_to_the_same_view(
    teacher: Artifact, context: Context
) -> None:
    cached, line = opened(teacher, context)
    assert cached is not None
    # 3 logits and 6 x 4 x 4 numbers of the layer, two bytes each
    assert line == "teacher cache: 2 views of 20 samples, 3.96 kB, or 198 kB per 1,000, each"
    guide = guide_of(teacher, context)
    course = Course(context.data, {TEACHER: PIXELS, "trained": PIXELS}, 7, views=2)
    first: dict[int, Tensor] = {}
    for epoch in range(4):
        for batch in course.batches(epoch):
            assert batch.view == epoch % 2
            own, its = cached.signals(batch, BOTH), guide.signals(batch, BOTH)
            for ours, theirs in ((own.outputs, its.outputs), (own.layers, its.layers)):
                for name, value in ours.items():
                    torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-3)
            for number, row in zip(batch.index, own.outputs["logits"], strict=True):
                key = int(number) * 2 + epoch % 2
                assert torch.equal(first.setdefault(key, row), row)  # the view comes again
    assert len(first) == 40


def test_views_on_disk_are_not_computed_again_unless_something_else_teaches(
    teacher: Artifact, context: Context
) -> None:
    for identity, titles in (("one", 2), ("one", 0), ("another", 2), ("one", 0)):
        heard(context).titles.clear()
        opened(teacher, context, identity=identity)
        assert len(heard(context).titles) == titles
    other = Data(context.data._dataset, context.data._splits, augment=Augment(flip=True), seed=0)
    heard(context).titles.clear()
    opened(teacher, Context(**{**vars(context), "data": other}))
    assert len(heard(context).titles) == 2


def damage_bytes(folder: Path) -> None:
    path = folder / "0.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def damage_length(folder: Path) -> None:
    path = folder / "1.npy"
    path.write_bytes(path.read_bytes()[:-3])


def damage_type(folder: Path) -> None:
    array = np.load(folder / "1.npy")
    np.save(folder / "1.npy", array.astype(np.float64))


def damage_key(folder: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, "key": "foreign"}))


def damage_json(folder: Path) -> None:
    (folder / "about.json").write_text("[1, 2")


def damage_kind_of_json(folder: Path) -> None:
    (folder / "about.json").write_text("[]")


def damage_whole(folder: Path) -> None:
    (folder / "about.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_bytes,
        damage_length,
        damage_type,
        damage_key,
        damage_json,
        damage_kind_of_json,
        damage_whole,
    ],
)
def test_what_is_damaged_or_foreign_is_computed_again_to_the_same_bytes(
    teacher: Artifact, context: Context, tmp_path: Path, damage: object
) -> None:
    opened(teacher, context)
    (view,) = (tmp_path / "cache").glob("teachers/*/0001")
    left = view.with_name("0001.killed")
    left.mkdir()
    before = {path.name: path.read_bytes() for path in view.iterdir()}
    assert callable(damage)
    damage(view)
    heard(context).titles.clear()
    opened(teacher, context)
    assert heard(context).titles == ["teacher, view 2 of 2"]
    assert {path.name: path.read_bytes() for path in view.iterdir()} == before
    assert not left.exists()


def test_it_stays_within_its_bytes(teacher: Artifact, context: Context, tmp_path: Path) -> None:
    one, line = opened(teacher, context, options=Cache(views=3, max_bytes="8.5 kB"))
    assert one is not None
    assert one.views == 2
    assert line.endswith("; 3 do not fit into max_bytes = 8.5 kB")
    none, line = opened(teacher, context, options=Cache(max_bytes="3 kB"))
    assert none is None
    assert line.endswith(
        "not used: one view of 20 samples, 3.96 kB, or 198 kB per 1,000, exceeds max_bytes = 3 kB"
    )
    opened(teacher, context, identity="another", options=Cache(views=1, max_bytes="8 kB"))
    assert len(list((tmp_path / "cache" / "teachers").iterdir())) == 1  # the first made room


def test_the_cache_that_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    for age, name in enumerate(("c", "b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert folder_bytes(tmp_path) == 300
    make_room(tmp_path / "b", needed=100, limit=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_data_without_views_and_few_epochs_need_fewer(teacher: Artifact, context: Context) -> None:
    short, _ = opened(teacher, context, epochs=1)
    assert short is not None
    assert short.views == 1
    plain = Data(context.data._dataset, context.data._splits, augment=Augment(), seed=0)
    still, line = opened(teacher, Context(**{**vars(context), "data": plain}))
    assert still is not None
    assert still.views == 1
    assert "1 view of" in line


def test_a_folder_that_cannot_be_written_is_named(
    teacher: Artifact, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"teacher cache .* cannot be written .* EDGEKD_CACHE"):
        opened(teacher, context)


def train(
    context: Context, teacher: Artifact, work: Path, cache: Cache | None
) -> dict[str, Tensor]:
    student = network(context, 4)
    terms = (SoftTargets(), Hidden(layers={"1": "1"}))
    loss = LearnsFromTeacher(hard_weight=0.5, terms=terms, cache=cache)
    training = Training(epochs=5, batch_size=8, learning_rate=0.05, precision="fp32")
    work.mkdir(exist_ok=True)
    loss.teach(student, teacher, context, training, work=work, title="train")
    state: dict[str, Tensor] = torch.load(work / "last.pt", weights_only=True)["trainee"]
    return state


def test_a_training_resumes_bitwise_with_the_cache_there_or_lost(
    teacher: Artifact, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(views=2)
    whole = train(context, teacher, tmp_path / "whole", cache)
    assert any(line.startswith("teacher cache: 2 views") for line in heard(context).lines)
    notes = json.loads((tmp_path / "whole" / "notes.json").read_text())
    assert notes == [line for line in heard(context).lines if "cache" in line]
    killed = Context(**{**vars(context), "progress": Heard(steps=8)})  # 3 steps an epoch
    with pytest.raises(KeyboardInterrupt):
        train(killed, teacher, tmp_path / "killed", cache)
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "elsewhere"))
    again = train(context, teacher, tmp_path / "killed", cache)
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    plain = train(context, teacher, tmp_path / "plain", None)
    assert any(not torch.equal(plain[name], whole[name]) for name in whole)


def test_the_greatest_scores_and_the_mass_of_the_others_stay() -> None:
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)) * 3
    packing = choose_packing("classes", (5, 12), 3)
    assert packing == Greatest(3, 12)
    stored = packing.pack(logits)
    assert {name: (str(a.dtype), a.shape) for name, a in stored.items()} == {
        "value whole": ("float16", (5, 3)),
        "level whole": ("float16", (5, 1)),
        "index": ("uint16", (5, 3)),
    }
    found, wanted = (x.softmax(dim=1) for x in (packing.unpack(stored), logits))
    index = logits.topk(3, dim=1).indices
    kept = found.gather(1, index), wanted.gather(1, index)
    torch.testing.assert_close(*kept, rtol=1e-2, atol=1e-3)
    others = found.scatter(1, index, 0.0)
    assert (others.max(dim=1).values - others.topk(9, dim=1).values[:, -1]).abs().max() < 1e-6


def test_maps_are_cut_to_their_greatest_scores_pixel_by_pixel() -> None:
    logits = torch.randn(2, 6, 3, 4)
    packing = choose_packing("class map", tuple(logits.shape), 2)
    found = packing.unpack(packing.pack(logits))
    assert found.shape == logits.shape
    assert torch.equal(found.argmax(dim=1), logits.argmax(dim=1))


def test_what_is_stored_how() -> None:
    assert choose_packing("classes", (5, 3), 3) == Whole(half=True)  # nothing to leave out
    assert choose_packing("values", (5, 3), 1) == Whole(half=False)
    assert choose_packing("embedding", (5, 30), 1) == Whole(half=False)
    assert choose_packing(None, (5, 30), 1) == Whole(half=True)
    assert choose_packing("labels", (5, 30), 1) == Whole(half=True)
    huge = torch.tensor([[1e9, -float("inf"), 0.5]])
    half = Whole().unpack(Whole().pack(huge))
    assert half.tolist() == [[65504.0, -65504.0, 0.5]]
    values = Whole(half=False)
    assert torch.equal(values.unpack(values.pack(huge)), huge)
    wide = Greatest(1, 70_000).pack(torch.zeros(1, 70_000))
    assert wide["index"].dtype == np.uint32


def test_outputs_of_bfloat16_are_stored_too() -> None:
    signal = torch.randn(2, 3).bfloat16()
    assert torch.equal(Whole().unpack(Whole().pack(signal)), signal.float())
