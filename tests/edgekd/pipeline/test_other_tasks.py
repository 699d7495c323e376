"""Nothing in the core assumes images or logits: a text classifier and a toy detector go through."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgekd.pipeline.compress import compress
from edgekd.recipe.recipe import load_recipe
from edgekd.store import file_sha256

QUICK = "[measure]\nrounds = 3\nblocks = 2\nblock_s = 0.005\n"

TEXT = (
    """
name = "moods"
[data]
path = "moods.tsv"
validation = 0.3
test = 0.2
calibration = 32
[model]
build = "edgekd.models:text_encoder"
options = { vocabulary_size = 64, classes = 2, width = 64, heads = 2, layers = 1, max_length = 16 }
input = { vocabulary = "words.txt", max_length = 16 }
[model.train]
epochs = 4
batch_size = 32
optimizer = "adamw"
learning_rate = 3e-3
[budget]
max_drop = 10.0
[[steps]]
name = "distill"
train = { epochs = 4, batch_size = 32, optimizer = "adamw", learning_rate = 3e-3 }
[steps.student]
build = "edgekd.models:text_encoder"
options = { vocabulary_size = 64, classes = 2, width = 32, heads = 2, layers = 1, max_length = 16 }
input = { vocabulary = "words.txt", max_length = 16 }
[[steps]]
name = "quantize"
samples = 32
"""
    + QUICK
)

DETECTOR = """
import numpy as np
import torch
from torch import nn
from edgekd.tasks.task import Metric


def data():
    rng = np.random.default_rng(0)
    n = 300
    image = rng.integers(0, 60, (n, 16, 16, 1), dtype=np.uint8)
    box = np.zeros((n, 4), np.float32)
    present = (np.arange(n) % 2).astype(np.float32)[:, None]
    for i in range(n):
        if present[i]:
            y, x = rng.integers(0, 10, 2)
            image[i, y : y + 6, x : x + 6] = 240
            box[i] = np.array([x, y, x + 6, y + 6]) / 16
    return {"image": image}, {"box": box, "present": present}


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(),
            nn.Flatten(),
        )
        self.box = nn.Linear(width * 16, 4)
        self.score = nn.Linear(width * 16, 1)

    def forward(self, x):
        features = self.trunk(x)
        return {"boxes": self.box(features), "scores": self.score(features)}


def iou(a, b):
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    area = [np.clip(x[:, 2:] - x[:, :2], 0, None).prod(axis=1) for x in (a, b)]
    return both / np.maximum(area[0] + area[1] - both, 1e-9)


class Detect:
    signals = {"boxes": "values", "scores": "labels"}
    metrics = (Metric("found", "", values=lambda reduced: reduced["found"].astype(np.float64)),)

    def predict(self, model, inputs):
        return model(inputs)

    def reference(self, predictions):
        return {}

    def reduce(self, predictions, targets, teacher):
        there = targets["present"][:, 0] > 0
        good = np.where(there, iou(predictions["boxes"], targets["box"]) > 0.3, True)
        return {"found": good & ((predictions["scores"][:, 0] > 0) == there)}

    def loss(self, outputs, targets):
        there = targets["present"]
        box = ((outputs["boxes"] - targets["box"]) ** 2).mean(1) * there[:, 0]
        score = nn.functional.binary_cross_entropy_with_logits(
            outputs["scores"], there, reduction="none"
        )
        return 20 * box + score[:, 0]

    def check(self, targets):
        assert set(targets) == {"box", "present"}


def task():
    return Detect()


def net(width=32):
    return Net(width)
"""

DETECTOR_RECIPE = (
    """
name = "squares"
task = "toy.py:task"
[data]
call = "toy.py:data"
validation = 0.3
test = 0.2
calibration = 32
[model]
build = "toy.py:net"
options = { width = 48 }
[model.train]
epochs = 12
batch_size = 32
optimizer = "adamw"
learning_rate = 3e-3
[budget]
max_drop = 0.3
[[steps]]
name = "distill"
student = { build = "toy.py:net", options = { width = 16 } }
train = { epochs = 6, batch_size = 32, optimizer = "adamw", learning_rate = 3e-3 }
[[steps]]
name = "quantize"
samples = 32
"""
    + QUICK
)


def run(folder: Path, recipe: str) -> dict[str, Any]:
    """Write and run a recipe; return its record."""
    (folder / "r.toml").write_text(recipe)
    out = folder / "run"
    compress(load_recipe(folder / "r.toml"), root=folder, out=out)
    content: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf8"))
    return content


MOODS = {
    "good": ["fine", "lovely", "bright", "warm", "kind"],
    "bad": ["dull", "grim", "cold", "harsh", "sour"],
}
FILL = [f"word{i}" for i in range(20)]
WORDS = [*MOODS["bad"], *FILL, *MOODS["good"]]


def write_moods(path: Path) -> None:
    """Write 300 short texts of unlike length: one class says good words, the other bad ones."""
    rng = np.random.default_rng(1)
    fill, words = FILL, MOODS
    lines = ["text\tlabel"]
    for i in range(300):
        mood = ("good", "bad")[i % 2]
        said = [*rng.choice(fill, rng.integers(2, 10)), *rng.choice(words[mood], 2)]
        rng.shuffle(said)
        lines.append(f"{' '.join(said)}\t{mood}")
    path.write_text("\n".join(lines) + "\n")


def test_a_text_classifier_goes_from_a_table_to_a_bundle(
    tmp_path: Path, lawful: Callable[[Mapping[str, Any]], None]
) -> None:
    write_moods(tmp_path / "moods.tsv")
    (tmp_path / "words.txt").write_text("\r\n".join(WORDS))
    content = run(tmp_path, TEXT)
    lawful(content)
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert teacher["metrics"]["top-1"]["value"] > 85
    inputs = {entry["name"]: entry for entry in teacher["facts"]["inputs"]}
    assert set(inputs) == {"tokens", "mask"}
    assert inputs["tokens"]["dtype"] == "int64"
    assert [type(d) for d in inputs["tokens"]["shape"]] == [str, str]  # batch and length are free
    session = onnxruntime.InferenceSession(tmp_path / "run" / "bundle" / "model.fp32.onnx")
    for length in (3, 11):
        feed = {n: np.ones((2, length), np.int64) for n in ("tokens", "mask")}
        assert session.run(None, feed)[0].shape == (2, 2)
    sealed = [
        json.loads(path.read_text())["files"]["preprocess/vocabulary.txt"]
        for path in (tmp_path / "run" / "stages").glob("*/artifact.json")
    ]
    written = tmp_path / "run" / "bundle" / "preprocess" / "vocabulary.txt"
    assert written.read_text().splitlines() == WORDS
    assert set(sealed) == {file_sha256(written)}
    assert len(sealed) == 5  # teacher, distill, an export of each, quantize
    quantized = content["rungs"][2]["evidence"]["files"]
    assert any(f["variant"] == "int8" and f["facts"]["int8_share"] > 0 for f in quantized)


def test_a_detector_with_boxes_and_scores_goes_through(
    tmp_path: Path, lawful: Callable[[Mapping[str, Any]], None]
) -> None:
    (tmp_path / "toy.py").write_text(DETECTOR)
    content = run(tmp_path, DETECTOR_RECIPE)
    lawful(content)
    assert [m["name"] for m in content["task"]["metrics"]] == ["found"]
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert teacher["metrics"]["found"]["value"] > 0.6
    assert [o["name"] for o in teacher["facts"]["outputs"]] == ["boxes", "scores"]
    assert content["changes"] is None  # there are no classes to count
    assert len(content["rungs"]) == 3
    assert (tmp_path / "run" / "bundle" / "SHA256SUMS").exists()
