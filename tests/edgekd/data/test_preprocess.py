from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import choose_preprocess
from edgekd.data.pictures import Form, fit, resize, to_channels
from edgekd.data.preprocess import (
    ArrayPreprocess,
    ImagePreprocess,
    Preprocess,
    copy_preprocess,
    read_preprocess,
    write_preprocess,
)
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import DataError, ModelError

Maker = Callable[..., Dataset]
RANDOM = np.random.default_rng(0)
HERE = Path()


def image(height: int, width: int, channels: int = 3, **more: Any) -> ImagePreprocess:
    values: dict[str, Any] = {"mean": (127.0,) * channels, "std": (64.0,) * channels, **more}
    return ImagePreprocess.model_validate(
        {"height": height, "width": width, "channels": channels, **values}
    )


def pixels(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def test_two_pixels_become_four_by_hand() -> None:
    """Centres of the four lie at -0.25, 0.25, 0.75 and 1.25 of the two."""
    line = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
    found = image(1, 4, 1).encode({"image": line})["image"]
    assert found.ravel().tolist() == [0, 25, 75, 100]
    column = line.reshape(1, 2, 1, 1)
    assert image(4, 1, 1).encode({"image": column})["image"].ravel().tolist() == [0, 25, 75, 100]


def test_halving_averages_by_hand() -> None:
    """The triangle is twice as wide: weights 3 3 1 at the border, so (0*3 + 80*3 + 160*1) / 7."""
    line = np.array([0, 80, 160, 240], np.uint8).reshape(1, 1, 4, 1)
    found = image(1, 2, 1).encode({"image": line})["image"]
    assert found.ravel().tolist() == [57, 183]  # 400 / 7 and 240 - 400 / 7


@pytest.mark.parametrize("target", [(32, 32), (40, 29), (17, 64), (96, 96)])
def test_enlarging_is_what_torch_computes(target: tuple[int, int]) -> None:
    source = pixels(3, 17, 29, 3)
    found = image(*target, in_graph=False, mean=(0,) * 3, std=(1,) * 3).encode({"image": source})
    planes = torch.from_numpy(source).permute(0, 3, 1, 2).float()
    wanted = torch.nn.functional.interpolate(
        planes, size=target, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(found["image"], wanted.numpy(), rtol=0, atol=1.01)  # rounded twice


@pytest.mark.parametrize("target", [(8, 8), (11, 23), (3, 40)])
def test_shrinking_is_antialiased_as_torch_and_pillow_do_it(target: tuple[int, int]) -> None:
    source = pixels(2, 24, 31, 3)
    found = image(*target, in_graph=False, mean=(0,) * 3, std=(1,) * 3).encode({"image": source})
    planes = torch.from_numpy(source).permute(0, 3, 1, 2).float()
    wanted = torch.nn.functional.interpolate(
        planes, size=target, mode="bilinear", align_corners=False, antialias=True
    )
    np.testing.assert_allclose(found["image"], wanted.numpy(), rtol=0, atol=1.01)
    whole = image(*target).encode({"image": source})["image"]
    size = target[::-1]
    pillow = [Image.fromarray(one).resize(size, Image.Resampling.BILINEAR) for one in source]
    assert np.abs(whole.astype(int) - np.stack([np.asarray(p) for p in pillow])).max() <= 1


def test_equal_size_is_the_same_array() -> None:
    source = pixels(2, 5, 6, 3)
    assert image(5, 6).encode({"image": source})["image"] is source


def test_whole_pictures_become_what_the_datas_pixels_are() -> None:
    """The data is 6 x 8 grey, cut from the centre; the network takes 3 x 4 in colour."""
    form = Form(height=6, width=8, channels=1)
    small = image(3, 4, picture=form)
    whole = pixels(1, 20, 13, 3)
    of_data = np.stack([fit(to_channels(one, 1), form) for one in whole])
    for samples in (whole, of_data):
        found = small.encode({"image": samples})["image"]
        np.testing.assert_array_equal(found[0], to_channels(resize(of_data[0], 3, 4, form), 3))


def test_in_graph_gives_rounded_bytes_and_host_gives_normalised_planes() -> None:
    source = pixels(4, 7, 9, 3)
    inside = image(12, 10).encode({"image": source})["image"]
    outside = image(12, 10, in_graph=False).encode({"image": source})["image"]
    assert (inside.dtype.name, inside.shape) == ("uint8", (4, 12, 10, 3))
    assert (outside.dtype.name, outside.shape) == ("float32", (4, 3, 12, 10))
    assert inside.flags.c_contiguous
    back = (outside * 64 + 127).transpose(0, 2, 3, 1)
    assert np.abs(back - inside).max() <= 0.5 + 1e-3


def test_statistics_go_to_their_own_channel() -> None:
    source = np.zeros((1, 1, 1, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    encoded = image(1, 1, mean=(0, 10, 20), std=(1, 2, 10), in_graph=False)
    assert encoded.encode({"image": source})["image"].ravel().tolist() == [10, 5, 1]


def test_extremes_survive_resizing() -> None:
    for value in (0, 255):
        source = np.full((1, 5, 7, 3), value, np.uint8)
        assert (image(13, 3).encode({"image": source})["image"] == value).all()


def test_grey_is_repeated_and_colour_becomes_luma() -> None:
    grey = pixels(2, 4, 4, 1)
    colour = image(4, 4).encode({"image": grey})["image"]
    np.testing.assert_array_equal(colour, np.repeat(grey, 3, axis=3))
    primaries = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8).reshape(1, 1, 3, 3)
    luma = image(1, 3, 1).encode({"image": primaries})["image"]
    assert luma.ravel().tolist() == [76, 150, 29]  # 255 * (0.299, 0.587, 0.114)


def test_values_for_pixels_of_0_to_1_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"pixel units 0..255; multiply .* by 255"):
        image(4, 4, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_statistics_must_fit_the_channels() -> None:
    with pytest.raises(ValidationError, match="mean has 3 values for 1 channels"):
        image(4, 4, 1, mean=(1, 2, 3))


@pytest.mark.parametrize("wrong", [{}, {"x": np.zeros(3)}, {"image": np.zeros((1, 3, 4, 4))}])
def test_samples_of_another_kind_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="takes images"):
        image(4, 4).encode(wrong)
    with pytest.raises(DataError, match="takes texts"):
        TextPreprocess(vocabulary=("a",)).encode(wrong)
    with pytest.raises(DataError, match="takes the arrays y"):
        ArrayPreprocess(names=("y",)).encode(wrong)


def test_arrays_pass_unchanged() -> None:
    samples: dict[str, NDArray[Any]] = {"x": np.ones((2, 3), np.float32), "z": np.zeros(2)}
    kept = ArrayPreprocess(names=("x",))
    assert kept.encode(samples) == {"x": samples["x"]}
    assert kept.input_names == ("x",)
    assert kept.dynamic_axes == {"x": {0: "batch"}}


def test_texts_become_numbers_padded_to_the_longest() -> None:
    text = TextPreprocess(vocabulary=("the", "cat"), max_length=4)
    found = text.encode({"text": np.array(["The dog, the CAT!", "", "cat cat cat cat cat cat"])})
    assert found["tokens"].tolist() == [[2, 1, 2, 3], [1, 0, 0, 0], [3, 3, 3, 3]]
    assert found["mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert found["tokens"].dtype == found["mask"].dtype == np.int64
    assert text.encode({"text": np.array(["", ""])})["tokens"].tolist() == [[1], [1]]
    assert text.dynamic_axes["mask"] == {0: "batch", 1: "sequence"}


@pytest.mark.parametrize(
    "preprocess",
    [
        image(
            *(32, 24, 1),
            in_graph=False,
            name="x",
            layout="nchw",
            picture=Form(height=9, width=9, resize="pad"),
        ),
        ArrayPreprocess(names=("a", "b")),
        TextPreprocess(vocabulary=("ä", "b"), max_length=7, lower=False),
    ],
)
def test_written_preprocess_comes_back(preprocess: Preprocess, tmp_path: Path) -> None:
    write_preprocess(tmp_path, preprocess)
    assert read_preprocess(tmp_path) == preprocess


def test_a_stored_preprocess_says_what_the_tensor_is(tmp_path: Path) -> None:
    write_preprocess(tmp_path, image(6, 8, in_graph=False))
    stored = json.loads((tmp_path / "preprocess.json").read_text())
    assert stored["inputs"] == [
        {
            "name": "image",
            "dtype": "float32",
            "shape": ["batch", 3, 6, 8],
            "axes": ["batch", "channel", "height", "width"],
            "values": "(RGB pixels, 0 to 255; minus mean) / std",
        }
    ]
    assert stored["picture"]["resize"] == "stretch"


def test_files_that_belong_to_a_preprocess_travel_with_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    write_preprocess(source, TextPreprocess(vocabulary=("ä", "b")))
    assert (source / "preprocess" / "vocabulary.txt").read_bytes() == "ä\nb\n".encode()
    stored = json.loads((source / "preprocess.json").read_text())
    assert stored["files"] == {"vocabulary": "preprocess/vocabulary.txt"}
    assert "vocabulary" not in stored
    copy_preprocess(source, target)
    assert read_preprocess(target) == read_preprocess(source)
    write_preprocess(target, ArrayPreprocess(names=("x",)))
    assert [path.name for path in target.iterdir()] == ["preprocess.json"]


@pytest.mark.parametrize("content", [None, b"", b"a\na\n", b"two words\n", b"\xff\n"])
def test_a_damaged_file_of_a_preprocess_is_refused(tmp_path: Path, content: bytes | None) -> None:
    write_preprocess(tmp_path, TextPreprocess(vocabulary=("a", "b")))
    path = tmp_path / "preprocess" / "vocabulary.txt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ModelError, match=r"vocabulary\.txt cannot be read"):
        read_preprocess(tmp_path)


def test_a_preprocess_names_no_files_but_its_own(tmp_path: Path) -> None:
    write_preprocess(tmp_path, TextPreprocess(vocabulary=("a", "b")))
    path = tmp_path / "preprocess.json"
    for files in ({"vocabulary": "../words.txt"}, {}, {"max_length": "x"}, 3):
        path.write_text(json.dumps({**json.loads(path.read_text()), "files": files}))
        with pytest.raises(ModelError, match=r"files is .*, expected is"):
            read_preprocess(tmp_path)


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", "[" * 100_000, '{"kind": "sound"}', '{"kind": []}']
)
def test_a_damaged_preprocess_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "preprocess.json").write_text(text)
    with pytest.raises(ModelError, match=r"preprocess\.json cannot be read"):
        read_preprocess(tmp_path)


def test_default_is_the_data_as_it_is_with_statistics_of_train(images: Maker) -> None:
    dataset = images(50, 50, height=5, width=4)
    train = np.arange(30)
    found = choose_preprocess(InputSpec(), dataset, train, root=HERE)
    assert isinstance(found, ImagePreprocess)
    assert (found.height, found.width, found.channels, found.in_graph) == (5, 4, 3, True)
    seen = dataset.samples["image"][train].reshape(-1, 3)
    np.testing.assert_allclose(found.mean, seen.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.std, seen.std(axis=0), atol=1e-4)


def test_what_the_recipe_says_wins(images: Maker) -> None:
    spec = InputSpec(size=(8, 9), channels=1, mean=127, std=128, in_graph=False, name="x")
    found = choose_preprocess(spec, images(5, 5), np.arange(5), root=HERE)
    assert found == image(8, 9, 1, mean=(127,), std=(128,), in_graph=False, name="x")
    square = choose_preprocess(InputSpec(size=12), images(5, 5), np.arange(5), root=HERE)
    assert isinstance(square, ImagePreprocess)
    assert (square.height, square.width) == (12, 12)


def test_grey_statistics_are_of_the_luma(images: Maker) -> None:
    dataset = images(20, 20)
    found = choose_preprocess(InputSpec(channels=1), dataset, np.arange(40), root=HERE)
    assert isinstance(found, ImagePreprocess)
    luma = dataset.samples["image"] @ np.array([0.299, 0.587, 0.114])
    assert found.mean == pytest.approx((luma.mean(),), abs=0.1)  # rounded


def test_words_are_learned_from_train_alone() -> None:
    texts = np.array(["red red blue", "green", "blue"], dtype=object)
    dataset = Dataset("text", {"text": texts}, {"label": np.array([0, 1, 1])})
    found = choose_preprocess(InputSpec(max_length=5), dataset, np.array([0, 2]), root=HERE)
    assert found == TextPreprocess(vocabulary=("blue", "red"), max_length=5)


def test_an_input_option_of_another_kind_is_refused(images: Maker) -> None:
    with pytest.raises(DataError, match=r"vocabulary_size cannot be used.* kind 'image'"):
        choose_preprocess(InputSpec(vocabulary_size=9), images(3, 3), np.arange(3), root=HERE)
    data = Dataset("array", {"x": np.zeros((2, 1))}, {"label": np.array([0, 1])})
    assert choose_preprocess(InputSpec(), data, np.arange(1), root=HERE).input_names == ("x",)
    with pytest.raises(DataError, match=r"model.input.size cannot be used.*are: none"):
        choose_preprocess(InputSpec(size=4), data, np.arange(1), root=HERE)


@pytest.mark.parametrize(
    "spec", [{"mean": 3}, {"size": 0}, {"size": (4, 9999)}, {"max_length": 0}, {"sise": 3}]
)
def test_senseless_inputs_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InputSpec.model_validate(spec)


def test_statistics_in_other_units_are_refused_with_the_recipe_line(images: Maker) -> None:
    with pytest.raises(DataError, match=r"input = .*0\.5.*multiply"):
        choose_preprocess(InputSpec(mean=0.5, std=0.5), images(3, 3), np.arange(3), root=HERE)
