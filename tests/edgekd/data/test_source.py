from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError
from edgekd.tasks import open_task

HEAD = """
import numpy as np
from edgekd.data.dataset import Dataset
x = np.zeros((20, 4, 4, 3), np.uint8)
y = np.arange(20) % 2
"""


def called(folder: Path, body: str, **options: Any) -> Dataset:
    path = folder / "user.py"
    path.write_text(f"{HEAD}\ndef load():\n    {body}\n")
    spec = Source.model_validate({"call": f"{path.name}:load", **options})
    return open_source(spec, root=folder)


def test_a_function_may_return_arrays(tmp_path: Path) -> None:
    dataset = called(tmp_path, "return x, y", licence="MIT", labels=["a", "b"])
    assert (dataset.kind, len(dataset), dataset.licence) == ("image", 20, "MIT")
    assert dataset.labels == ("a", "b")


def test_a_function_may_return_splits(tmp_path: Path) -> None:
    body = 'return {"train": (x, y), "val": (x[:6], y[:6]), "test": (x[:4], y[:4])}'
    dataset = called(tmp_path, body)
    sizes = {name: len(indices) for name, indices in dataset.fixed.items()}
    assert sizes == {"train": 20, "validation": 6, "test": 4}


def test_a_function_may_return_a_dataset_or_texts(tmp_path: Path) -> None:
    body = 'return Dataset("array", {"a": y.astype(np.float32)}, {"label": y}, licence="CC0")'
    assert called(tmp_path, body).licence == "CC0"
    texts = called(tmp_path, 'return ["one", "two"], ["n", "p"]')
    assert (texts.kind, texts.labels) == ("text", ("n", "p"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "is NoneType .None.; expected is .inputs, targets."),
        ("return x, y, y", "is .ndarray, ndarray, ndarray., 3 things"),
        ('return {"test": (x, y)}', "has the split 'test' but not 'train'"),
        ('return {"train": (x, y), "extra": (x, y)}', "has 'extra' beside 'train'"),
        ('return {"train": 5}', "'train'. is int"),
        ("return x, y[0]", "is one value"),
        ("return 1 / 0", r"raised ZeroDivisionError: .*\.py:8\).*without arguments"),
        ("return x, y[:3]", "different lengths"),
        ("return {}, y", "gives no inputs"),
    ],
)
def test_what_a_function_gets_wrong_is_said(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        called(tmp_path, body)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": "a", "name": "mnist5k"},
        {"name": "imagenet"},
        {"path": "a", "validation": 0},
        {"path": "a", "validation": 1.5},
        {"path": "a", "test": -1},
        {"path": "a", "calibration": 0},
        {"path": "a", "labels": ["a", "a"]},
        {"path": "a", "lables": ["a", "b"]},
        {"path": "a", "augment": {"crop": -1}},
        {"path": "a", "augment": {"crops": 1}},
        {"path": "a", "mix": [{"path": "b", "resize": "pad"}]},  # as the main source's, always
    ],
)
def test_senseless_tables_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Source.model_validate(options)


def test_a_further_source_becomes_pixels_as_the_main_one_does(tmp_path: Path) -> None:
    shape = {"main": (40, 40), "more": (20, 40)}
    for source, size in shape.items():
        for name, value in (("a", 50), ("b", 200)):
            (tmp_path / source / name).mkdir(parents=True)
            for i in range(4):
                pixels = np.full((*size, 3), value + i + 10 * (source == "more"), np.uint8)
                Image.fromarray(pixels).save(tmp_path / source / name / f"{i}.png")
    table = {"path": "main", "size": 20, "resize": "pad", "pad_value": 7, "mix": [{"path": "more"}]}
    whole = open_source(Source.model_validate(table), root=tmp_path)
    assert (whole.samples["image"][8:, :5] == 7).all(), "the borders of pad"


def test_counts_stay_counts_and_shares_shares(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((100, 2)), y=np.arange(100) % 4)
    spec = Source.model_validate({"path": "a.npz", "validation": 20, "test": 0.08})
    splits = spec.split_options(0).make(open_source(spec, root=tmp_path))
    sizes = [len(s) for s in (splits.train, splits.calibration, splits.validation, splits.test)]
    assert sizes == [72, 72, 20, 8]


@pytest.mark.parametrize(
    "body",
    [
        "return y * 1.0, None",
        "return y * 1.0",
        'return {"ids": y * 1.0}',
        'return {"train": y * 1.0}',
        'return {"train": (y * 1.0, None)}',
    ],
)
def test_data_without_labels_is_split_and_yielded(tmp_path: Path, body: str) -> None:
    spec = Source(call="own.py:load", validation=3, test=2, calibration=4)
    dataset = called(tmp_path, body, validation=3, test=2, calibration=4)
    splits = spec.split_options(0).make(dataset)
    data = Data(dataset, splits.for_steps(), augment=spec.augment, seed=0)
    batches = list(
        data.batches("validation", data.choose_preprocess(InputSpec(), root=tmp_path), size=2)
    )
    assert [len(batch.index) for batch in batches] == [2, 1]
    assert all(batch.targets == {} for batch in batches)
    assert data.targets("train") == {}
    with pytest.raises(
        DataError, match=r"needs a target named 'label', got no targets; give it this name"
    ):
        open_task("classification", root=tmp_path).check(dataset.targets)


def test_splits_with_and_without_labels_do_not_mix(tmp_path: Path) -> None:
    body = 'return {"train": (y * 1.0, y), "test": (y * 1.0, None)}'
    with pytest.raises(DataError, match="give all splits the same"):
        called(tmp_path, body)


def test_labels_of_a_ready_dataset_must_cover_it(tmp_path: Path) -> None:
    body = 'return Dataset("array", {"a": y * 1.0}, {"label": y}, ("n", "p"))'
    assert called(tmp_path, body, labels=["no", "yes"]).labels == ("no", "yes")
    with pytest.raises(DataError, match="labels has 1 names, but the data has 2 classes"):
        called(tmp_path, body, labels=["no"])


def test_the_format_can_be_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2)), y=np.arange(4) % 2)
    (tmp_path / "a.npz").rename(tmp_path / "a.data")
    with pytest.raises(DataError, match="is not a known format"):
        open_source(Source(path="a.data"), root=tmp_path)
    assert len(open_source(Source(path="a.data", format="npz"), root=tmp_path)) == 4


def test_the_data_may_have_a_part_of_the_models_classes(tmp_path: Path) -> None:
    names = [f"kind{i}" for i in range(30)]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    some = np.array(["kind7", "kind29", "kind0", "kind12"] * 3)
    np.savez(tmp_path / "d.npz", x=np.zeros((12, 2), np.float32), y=some)
    dataset = open_source(Source(path="d.npz", classes="names.txt"), root=tmp_path)
    assert dataset.labels == tuple(names)
    assert dataset.targets["label"][:4].tolist() == [7, 29, 0, 12]
    (tmp_path / "names.txt").write_text("kind0\nkind0\n")
    with pytest.raises(DataError, match="contains 'kind0' twice"):
        open_source(Source(path="d.npz", classes="names.txt"), root=tmp_path)
