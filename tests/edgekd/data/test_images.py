from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.data.dataset import Dataset, array_sha256
from edgekd.data.model_classes import number_classes
from edgekd.data.pictures import Form
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError

pytestmark = pytest.mark.usefixtures("cache")
Painter = Callable[..., Path]
RED, BLUE = (250, 0, 0), (0, 0, 250)


def opened(folder: Path, **options: object) -> Dataset:
    return open_source(Source.model_validate({"path": str(folder), **options}), root=Path("/"))


@pytest.fixture
def photos(paint: Painter) -> Path:
    for i in range(3):
        paint(f"red/{i}.png", RED)
        folder = paint(f"blue/{i}.png", BLUE)
    return folder


def test_folders_are_classes(photos: Path) -> None:
    dataset = opened(photos)
    assert dataset.kind == "image"
    assert dataset.labels == ("blue", "red")
    assert dataset.targets["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.samples["image"].shape == (6, 8, 8, 3)
    assert dataset.samples["image"][0, 4, 4].tolist() == list(BLUE)
    assert dataset.samples["image"][5, 4, 4].tolist() == list(RED)
    assert dataset.fixed == {}


def test_folders_are_in_doubt_as_classes_until_somebody_names_the_classes(photos: Path) -> None:
    dataset = opened(photos)
    assert dataset.folders == ("blue", "red")
    assert number_classes(dataset, ["red", "green", "blue"]).folders == ()
    assert opened(photos, labels=["red", "blue"]).folders == ()


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_train_and_test_folders_fix_the_splits(paint: Painter, validation: str) -> None:
    for split in ("train", validation, "test"):
        for name, colour in (("red", RED), ("blue", BLUE)):
            folder = paint(f"{split}/{name}/0.png", colour)
    dataset = opened(folder)
    assert sorted(dataset.fixed) == ["test", "train", "validation"]
    for indices in dataset.fixed.values():
        assert dataset.targets["label"][indices].tolist() == [0, 1]


def test_a_class_may_be_called_test(paint: Painter) -> None:
    paint("test/0.png")
    assert opened(paint("control/0.png")).labels == ("control", "test")


def test_numbered_folders_are_in_order_of_number(paint: Painter) -> None:
    for name in ("10", "9", "0"):
        folder = paint(f"{name}/0.png")
    assert opened(folder).labels == ("0", "9", "10")


def test_labels_decide_the_order_and_must_name_all(photos: Path) -> None:
    dataset = opened(photos, labels=["red", "blue"])
    assert dataset.targets["label"].tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(DataError, match=r"class 'blue' of the data is missing from data.labels"):
        opened(photos, labels=["red", "green"])


def test_all_grey_files_give_one_channel_and_mixed_ones_three(paint: Painter) -> None:
    paint("a/0.png", 7)
    folder = paint("b/0.jpg", 200)
    assert opened(folder).samples["image"].shape == (2, 8, 8, 1)
    paint("b/1.png", RED)
    assert opened(folder).samples["image"].shape == (3, 8, 8, 3)


def test_other_files_are_left_alone(photos: Path) -> None:
    (photos / "red" / "notes.txt").write_text("x")
    (photos / "red" / ".hidden.png").write_text("x")
    (photos / "README.md").write_text("x")
    assert len(opened(photos)) == 6


def test_differing_sizes_need_a_size(paint: Painter) -> None:
    paint("a/0.png", RED, width=8, height=8)
    folder = paint("b/0.png", BLUE, width=12, height=8)
    message = r"a/0.png is 8 x 8 and b/0.png is 12 x 8 .* data.size = 224"
    with pytest.raises(DataError, match=message):
        opened(folder)
    assert opened(folder, size=[4, 6]).samples["image"].shape == (2, 4, 6, 3)
    assert opened(folder, size=5).samples["image"].shape == (2, 5, 5, 3)


def test_the_centre_is_cut_out_after_shrinking(paint: Painter, tmp_path: Path) -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # the middle third
    folder = paint("a/0.png", RED)
    Image.fromarray(wide).save(folder / "a" / "0.png")
    paint("b/0.png")
    found = opened(folder, size=4).samples["image"]
    assert (found[0, :, 1:3] == 200).all()
    assert found[0].mean() > 180


def test_sideways_photos_are_turned_upright(paint: Painter) -> None:
    folder = paint("b/0.jpg", width=8, height=16)
    lying = np.zeros((8, 16, 3), np.uint8)
    lying[:, :8] = 255  # the left half is the top, once turned by a quarter clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "a").mkdir()
    Image.fromarray(lying).save(folder / "a" / "0.jpg", exif=exif, quality=95)
    found = opened(folder).samples["image"]
    assert found.shape == (2, 16, 8, 3)
    assert found[0, :6].min() > 200
    assert found[0, 10:].max() < 50


def test_another_way_to_resize_gives_other_pixels_though_the_files_are_the_same(
    paint: Painter,
) -> None:
    paint("a/0.png", RED, width=16, height=8)
    folder = paint("b/0.png", BLUE, width=9, height=9)
    ways: tuple[dict[str, object], ...] = (
        {"resize": "pad"}, {"resize": "pad", "pad_value": 7}, {"resize": "stretch"}, {}
    )  # fmt: skip
    found = [opened(folder, size=4, **way) for way in ways]
    assert len({dataset.fingerprint for dataset in found}) == len(ways)
    assert [one.samples["image"][0, 0, 0].tolist() for one in found] == [
        [114] * 3, [7] * 3, list(RED), list(RED)
    ]  # fmt: skip
    assert found[1].form == Form(height=4, width=4, resize="pad", pad_value=7)


def test_decoded_once_then_read_from_the_cache(photos: Path, cache: Path) -> None:
    first = opened(photos)
    (stored,) = (cache / "decoded").iterdir()
    stamp = (stored / "pixels.npy").stat().st_mtime_ns
    again = opened(photos)
    assert (stored / "pixels.npy").stat().st_mtime_ns == stamp
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.samples["image"], np.memmap)
    assert not again.samples["image"].flags.writeable
    assert array_sha256(again.samples["image"]) == again.known_sha256["image"]


def test_a_changed_file_is_decoded_again(photos: Path) -> None:
    before = opened(photos)
    Image.new("RGB", (8, 8), BLUE).save(photos / "red" / "0.png")
    os.utime(photos / "red" / "0.png", ns=(1, 1))
    after = opened(photos)
    assert after.fingerprint != before.fingerprint
    assert after.samples["image"][3, 0, 0].tolist() == list(BLUE)


def damage_truncate(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:80])


def damage_text(path: Path) -> None:
    path.write_text("<html>not found</html>")


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_bomb(path: Path) -> None:
    """Make a PNG that says it has 60,000 x 60,000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = path.read_bytes()
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + head))
    path.write_bytes(data[:16] + head + crc + data[33:])


def damage_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.png")


def damage_floats(path: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(path, "TIFF")


DAMAGES = [damage_truncate, damage_text, damage_empty, damage_bomb, damage_floats, damage_link]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_file_is_named_or_skipped(photos: Path, damage: Callable[[Path], None]) -> None:
    damage(photos / "red" / "1.png")
    with pytest.raises(DataError, match=r"red/1\.png cannot be decoded.*skip_broken"):
        opened(photos)
    spec = Source(path=str(photos))
    dataset = open_source(spec, root=Path("/"), skip_broken=True)
    assert dataset.skipped == ("red/1.png",)
    assert len(dataset) == len(dataset.samples["image"]) == 5
    assert dataset.targets["label"].tolist() == [0, 0, 0, 1, 1]
    assert dataset.samples["image"][4, 0, 0].tolist() == list(RED)
    assert array_sha256(dataset.samples["image"]) == dataset.known_sha256["image"]
    with pytest.raises(DataError, match=r"red/1\.png cannot be decoded"):
        opened(photos)  # what was skipped is in the cache now


def test_photographs_of_a_phone_are_named_if_they_cannot_be_read(photos: Path) -> None:
    (photos / "red" / "1.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.raises(DataError, match=r"1\.heic cannot be decoded \(Pillow does not read HEIC"):
        opened(photos)
    (photos / "red" / "1.heic").unlink()
    Image.new("RGB", (8, 8), RED).save(photos / "red" / "9.jfif", "JPEG")
    (photos / "red" / "folder.jpg").mkdir()
    assert len(opened(photos)) == 7


def test_a_damaged_exif_is_no_damaged_picture(photos: Path) -> None:
    target, picture = photos / "red" / "9.jpg", Image.new("RGB", (8, 8), RED)
    picture.save(target, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert len(opened(photos)) == 7


def test_nothing_but_broken_files_is_refused(paint: Painter) -> None:
    for name in ("a", "b"):
        folder = paint(f"{name}/0.png")
        damage_text(folder / name / "0.png")
    with pytest.raises(DataError, match="none of the images could be opened"):
        opened(folder, skip_broken=True)


def test_no_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="contains no images"):
        opened(tmp_path / "empty")


@pytest.mark.parametrize(
    "names",
    [
        ("b.png", "a.png"),
        ("only/b.png", "only/a.png"),
        ("2024/may/b.png", "2024/june/a.png", "2024/a.png"),
        ("train/b.png", "train/deep/er/a.png", "test/c.png"),
    ],
)
def test_images_without_two_class_folders_have_no_labels(
    paint: Painter, names: tuple[str, ...]
) -> None:
    *_, folder = map(paint, names)
    dataset = opened(folder)
    assert (len(dataset), dataset.targets, dataset.labels) == (len(names), {}, ())
    assert set(dataset.fixed) == ({"train", "test"} if names[0][:5] == "train" else set())


def test_class_folders_are_no_labels_where_that_is_said(photos: Path) -> None:
    spec = Source(path=str(photos))
    dataset = open_source(spec, root=photos, labelled=False)
    assert dataset.targets == {}
    assert dataset.labels == ()
    assert len(dataset) == len(opened(photos))


def test_a_cache_that_cannot_be_written_is_said(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set EDGEKD_CACHE to a folder with free space"):
        opened(photos)
