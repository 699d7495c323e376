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


@pytest.mark.parametrize("white", [255, 1])
def test_borders_of_pad_do_not_count_whatever_the_masks_numbers_are(
    folder: Path, white: int
) -> None:
    for i, split in enumerate(("train", "train", "test")):
        wide = np.zeros((4, 8), np.uint8)
        Image.fromarray(wide).save(folder / "images" / split / f"{i}.jpg")
        wide[:, 4:] = white
        Image.fromarray(wide).save(folder / "masks" / split / f"{i}.png")
    mask = opened(folder, size=8, resize="pad").targets["mask"]
    assert mask[0, :, 7].tolist() == [255, 255, 1, 1, 1, 1, 255, 255]
    assert mask[0, :, 0].tolist() == [255, 255, 0, 0, 0, 0, 255, 255]


def test_black_and_white_masks_are_two_classes(folder: Path) -> None:
    for path in folder.glob("masks/*/*.png"):
        Image.fromarray(255 * np.eye(8, dtype=np.uint8)).save(path)
    assert opened(folder).targets["mask"][1].tolist() == np.eye(8).tolist()


def write(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/a.jpg", "masks/a_mask.png"),
        ("imgs/1_sat.jpg", "Masks/1_mask.png"),
        ("train/images/a.png", "train/masks/a.tif"),
        ("JPEGImages/deep/a.jpg", "SegmentationClass/deep/a.png"),
        ("images/city_leftImg8bit.png", "labels/city_gtFine_labelIds.png"),
        ("images/mask_7.png", "masks/mask_7.png"),
    ],
)
@pytest.mark.parametrize("form", ["grey", "palette", "three channels", "half size", "16 bits"])
def test_masks_as_people_name_and_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: str, mask: str, form: str
) -> None:
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "data" / picture, np.full((8, 8), 90, np.uint8))
    classes = np.kron(np.array([[0, 1], [2, 255]], np.uint8), np.ones((4, 4), np.uint8))
    path = tmp_path / "data" / mask
    write(path, classes[::2, ::2] if form == "half size" else classes)
    if form == "palette":
        image = Image.fromarray(classes)
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        image.save(path)
    if form == "three channels":
        write(path, np.repeat(classes[..., None], 3, axis=2))
    if form == "16 bits" and path.suffix == ".png":
        write(path, classes.astype(np.uint16))
    found = opened(tmp_path / "data")
    assert found.targets["mask"].tolist() == [classes.tolist()]
    assert found.samples["image"].shape == (1, 8, 8, 1)
    spec = Source(path="data")
    alone = open_source(spec, root=tmp_path, labelled=False)
    assert (len(alone), dict(alone.targets)) == (1, {})


def test_two_masks_of_one_picture_and_a_jpeg_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    flat = np.zeros((8, 8), np.uint8)
    write(tmp_path / "data" / "images" / "a.png", flat)
    write(tmp_path / "data" / "masks" / "a.jpg", flat)
    with pytest.raises(DataError, match="is a JPEG, which changes class numbers"):
        opened(tmp_path / "data")
    (tmp_path / "data" / "masks" / "a.jpg").unlink()
    for name in ("a_mask.png", "a_seg.png"):
        write(tmp_path / "data" / "masks" / name, flat)
    with pytest.raises(DataError, match=r"several masks: a_mask\.png, a_seg\.png"):
        opened(tmp_path / "data")


def test_pictures_without_a_mask_can_be_left_out(folder: Path) -> None:
    (folder / "masks" / "train" / "1.png").unlink()
    with pytest.raises(DataError, match=r"has no mask .*1\.png.*skip_broken"):
        opened(folder)
    found = opened(folder, skip_broken=True)
    assert found.targets["mask"][:, 0, 0].tolist() == [2, 0]
    assert {n: rows.tolist() for n, rows in found.fixed.items()} == {"train": [1], "test": [0]}
    assert found.skipped == ("train/1.jpg",)
    assert [file.name for file in found.files] == ["2.jpg", "0.jpg"]


def test_masks_that_cannot_be_it_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match='task = "segmentation"'):
        open_source(Source(path="data"), root=folder.parent, wanted="label")
    with pytest.raises(DataError, match="not those of their masks"):
        check_augment(Augment(flip=True), opened(folder))
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[0, 0] = (128, 0, 0)
    Image.fromarray(colours).save(folder / "masks" / "train" / "0.png")
    with pytest.raises(DataError, match=r"0\.png has colours, such as \(128, 0, 0\).*mode L or P"):
        opened(folder)
    Image.new("L", (8, 4)).save(folder / "masks" / "train" / "0.png")
    with pytest.raises(
        DataError, match=r"0\.png is 8 x 4 pixels .* 8 x 8: they do not lie on each"
    ):
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
    with pytest.raises(DataError, match='task = "segmentation"'):
        open_source(spec, root=tmp_path, wanted="label")
    np.savez(tmp_path / "a.npz", images=x, masks=y)
    assert open_source(spec, root=tmp_path, wanted="mask").targets["mask"].tolist() == y.tolist()
    np.savez(tmp_path / "a.npz", x=x, y=y[..., None].astype(np.float32))
    assert open_source(spec, root=tmp_path, wanted="mask").targets["mask"].tolist() == y.tolist()
    np.savez(tmp_path / "a.npz", x=x, y=y / 2)
    with pytest.raises(DataError, match="masks are class numbers, whole"):
        open_source(spec, root=tmp_path, wanted="mask")
    np.savez(tmp_path / "a.npz", x=x, y=y - 1)
    with pytest.raises(DataError, match="from -1 to 3"):
        open_source(spec, root=tmp_path, wanted="mask")
