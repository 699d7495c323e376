from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.data.augment import Augment, check_augment
from edgekd.data.dataset import Dataset
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError

Opener = Callable[..., Dataset]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures for training and one to test, with masks of three classes."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    for i, split in enumerate(("train", "train", "test")):
        for kind, suffix, value in (("images", "jpg", 60), ("masks", "png", 1)):
            path = tmp_path / "data" / kind / split / f"{i}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), i * value, np.uint8)).save(path)
    return tmp_path / "data"


def opened(folder: Path, **options: Any) -> Dataset:
    spec = Source.model_validate({"path": folder.name, **options})
    return open_source(spec, root=folder.parent, wanted="mask")


def test_pictures_have_the_masks_of_their_names(folder: Path) -> None:
    dataset = opened(folder, labels=["ground", "tree", "house"], size=4)
    assert dataset.targets["mask"].shape == dataset.samples["image"].shape[:3] == (3, 4, 4)
    shade = dataset.samples["image"][:, 0, 0, 0] // 55
    assert dataset.targets["mask"][:, 0, 0].tolist() == shade.tolist()
    assert {name: len(rows) for name, rows in dataset.fixed.items()} == {"train": 2, "test": 1}
    assert dataset.labels == ("ground", "tree", "house")


def test_black_and_white_masks_are_two_classes(folder: Path) -> None:
    for path in folder.glob("masks/*/*.png"):
        Image.fromarray(255 * np.eye(8, dtype=np.uint8)).save(path)
    assert opened(folder).targets["mask"][1].tolist() == np.eye(8).tolist()


def test_masks_that_cannot_be_it_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="task = 'segmentation'"):
        open_source(Source(path="data"), root=folder.parent, wanted="label")
    with pytest.raises(DataError, match="not those of their masks"):
        check_augment(Augment(flip=True), opened(folder))
    Image.new("RGB", (8, 8)).save(folder / "masks" / "train" / "0.png")
    with pytest.raises(DataError, match=r"0\.png has the mode RGB.*mode L or P"):
        opened(folder)
    (folder / "masks" / "train" / "0.png").unlink()
    with pytest.raises(DataError, match=r"images/train/0\.jpg has no mask .*0\.png"):
        opened(folder)
    with pytest.raises(DataError, match="no folders images/ and masks/"):
        opened(folder / "images")


def test_masks_as_arrays(tmp_path: Path) -> None:
    x, y = np.zeros((3, 4, 4, 3), np.uint8), np.arange(48).reshape(3, 4, 4) % 5
    np.savez(tmp_path / "a.npz", x=x, y=y)
    spec = Source(path="a.npz")
    mask = open_source(spec, root=tmp_path, wanted="mask").targets["mask"]
    assert mask.dtype == np.uint8
    assert mask.tolist() == y.tolist()
    with pytest.raises(DataError, match="task = 'segmentation'"):
        open_source(spec, root=tmp_path, wanted="label")
    np.savez(tmp_path / "a.npz", x=x, y=y / 2)
    with pytest.raises(DataError, match="masks are class numbers, whole"):
        open_source(spec, root=tmp_path, wanted="mask")
    np.savez(tmp_path / "a.npz", x=x, y=y - 1)
    with pytest.raises(DataError, match="from -1 to 3"):
        open_source(spec, root=tmp_path, wanted="mask")
