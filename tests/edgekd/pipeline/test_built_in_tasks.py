"""Each task that comes with edgekd goes from data through a student and INT8 to a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.devices import DEVICES
from edgekd.devices.local import LocalDevice
from edgekd.pipeline.compress import compress
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import parse_recipe

NETS = """
from torch import nn


def mlp(outputs):
    return nn.Sequential(
        nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)
    )


def pixels():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(32, 2, 1),
    )


def one():
    return mlp(1)


def three():
    return mlp(3)
"""
VARIANTS = ["int8", "int8-tensorrt", "int8-dynamic", "int8-weights", "int4", "fp16"]
QUICK = (
    'devices=["emulator"]', "model.train.epochs=15",
    "model.train.learning_rate=0.01", "data.licence=CC0-1.0",
)  # fmt: skip


def run(folder: Path, *, model: str, data: str, changes: tuple[str, ...]) -> dict[str, Any]:
    """Compress by flags; return the record."""
    (folder / "nets.py").write_text(NETS)
    table = make_recipe_table(model=f"nets.py:{model}", data=data, max_drop=10, epochs=6)
    recipe = parse_recipe(changed(table, (*QUICK, *changes)), origin="the flags")
    compress(recipe, root=folder, out=folder / "run")
    content: dict[str, Any] = json.loads((folder / "run" / "report.json").read_text("utf8"))
    return content


def check_int8(content: Mapping[str, Any], bundle: Path) -> None:
    """Each task has a teacher, a student and INT8 files, and golden samples in its bundle."""
    assert [rung["title"] for rung in content["rungs"]] == ["teacher", "distill", "quantize"]
    files = content["rungs"][2]["evidence"]["files"]
    assert any(f["variant"] == "int8" and f["facts"]["int8_share"] > 0 for f in files)
    assert (bundle / "golden" / "inputs.npz").exists()


def teacher_ships(content: Mapping[str, Any]) -> bool:
    """Whether no stage took the teacher's place."""
    files: list[dict[str, Any]] = content["final"]["files"]
    return bool(files[content["final"]["chosen"]]["title"] == "teacher")


@pytest.fixture
def place(tmp_path: Path, emulator: type[LocalDevice], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for data, and a device that gives no speed: quality is what these tests look at."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(DEVICES, "emulator", emulator)
    return tmp_path


def numbers(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(400, 6)).astype(np.float32)


def test_regression_from_a_table_of_numbers(place: Path) -> None:
    x = numbers(0)
    y = 5 + 2 * x[:, 0] - x[:, 1] * (x[:, 2] > 0)
    lines = [";".join(f"{value:.4f}" for value in (*row, y[i])) for i, row in enumerate(x)]
    (place / "prices.CSV").write_text("\n".join(["a;b;c;d;e;f;price", *lines]))
    quantize = (f"steps.1.variants={json.dumps(VARIANTS)}", "steps.1.gate=false")
    changes = ("task=regression", "data.label_column=price", *quantize)
    content = run(place, model="one", data="prices.CSV", changes=changes)
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert {"R2", "mean absolute error", "root mean squared error"} <= set(teacher["metrics"])
    assert teacher["metrics"]["R2"]["value"] > 80
    assert teacher["metrics"]["R2"]["low"] < teacher["metrics"]["R2"]["value"]
    (scattered,) = content["scattered"]
    assert len(scattered["true"]) == len(scattered["teacher"]) == content["test"]["samples"] == 40
    assert scattered["name"] == "price"
    assert "predicted against true numbers of price of 40 test samples" in (
        place / "run" / "report.html"
    ).read_text("utf8")
    check_int8(content, place / "run" / "bundle")
    rung = content["rungs"][2]
    assert set(rung["calibration"]) == set(VARIANTS)
    if not teacher_ships(content):
        for variant in VARIANTS:
            assert (place / "run" / "bundle" / f"model.{variant}.onnx").is_file()
            assert (place / "run" / "bundle" / f"golden/outputs.{variant}.npz").is_file()


def test_multilabel_from_rows_of_zeros_and_ones(place: Path) -> None:
    x = numbers(1)
    np.savez(place / "tags.npz", x=x, y=(x[:, :3] > 0.5).astype(np.float32))
    changes = ("task=multilabel", 'data.labels=["sun", "sea", "sand"]')
    content = run(place, model="three", data="tags.npz", changes=changes)
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert {"mean average precision", "F1", "label accuracy"} <= set(teacher["metrics"])
    assert teacher["metrics"]["mean average precision"]["value"] > 85
    if not teacher_ships(content):
        assert [c["label"] for c in content["changes"]["classes"]] == ["sun", "sea", "sand"]
        assert all(0 <= score <= 100 for c in content["changes"]["classes"] for score in c["f1"])
    bundle = place / "run" / "bundle"
    assert json.loads((bundle / "labels.json").read_text()) == ["sun", "sea", "sand"]
    check_int8(content, place / "run" / "bundle")


def test_segmentation_from_folders_of_pictures_and_masks(place: Path) -> None:
    write_squares(place / "squares")
    changes = ("task=segmentation", 'data.labels=["ground", "square"]')
    content = run(place, model="pixels", data="squares", changes=changes)
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert {"mean IoU", "pixel accuracy"} <= set(teacher["metrics"])
    assert teacher["metrics"]["mean IoU"]["value"] > 80
    masks = content["masks"]
    assert [c["label"] for c in masks["classes"]] == ["ground", "square"]
    assert len(masks["samples"]) == 8
    assert all((m["shipped"] is None) == teacher_ships(content) for m in masks["samples"])
    assert "Masks side by side" in (place / "run" / "report.html").read_text("utf8")
    licensed = (place / "run" / "bundle" / "report.html").read_text("utf8")
    assert "difference" in licensed
    check_int8(content, place / "run" / "bundle")


def write_squares(folder: Path) -> None:
    """Write 160 grey pictures of a bright square in noise, and where it is: 0 or 255."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    generator = np.random.default_rng(2)
    for i in range(160):
        mask = np.zeros((16, 16), np.uint8)
        top, left = generator.integers(0, 9, 2)
        mask[top : top + 7, left : left + 7] = 255
        pixels = generator.integers(0, 120, (16, 16)) + 100 * (mask > 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{i:03}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i:03}.png")


def test_embeddings_that_are_compared_by_cosine(place: Path) -> None:
    label = np.arange(400) % 8
    centres = 2 * np.random.default_rng(3).normal(size=(8, 6))
    np.savez(place / "people.npz", x=(numbers(4) + centres[label]).astype(np.float32), y=label)
    content = run(place, model="three", data="people.npz", changes=("task=embedding",))
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert {"recall at 1", "recall at 5", "rank correlation"} <= set(teacher["metrics"])
    assert teacher["metrics"]["recall at 1"]["value"] > 60
    assert teacher["metrics"]["rank correlation"]["value"] == pytest.approx(100)
    found = content["retrieval"]
    assert found["queries"] == content["test"]["samples"]
    recalls = [r["teacher"] for r in found["recalls"]]
    assert recalls == sorted(recalls)
    assert len(found["shown"]) == 8
    assert all(len(query["teacher"]) == 5 for query in found["shown"])
    assert not (place / "run" / "bundle" / "labels.json").exists()
    check_int8(content, place / "run" / "bundle")
