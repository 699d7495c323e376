"""Mixed samples: shares, boxes and partners; masks over signals. All by hand or by their law."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.array_facts import ArrayOptions
from edgekd.data.augment import Augment
from edgekd.data.batches import Batch, Data
from edgekd.data.dataset import Dataset
from edgekd.data.mixing import blend, draw_boxes, draw_partners, draw_shares, paste_boxes
from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess
from edgekd.data.signal_masks import mask_axis

RANDOM = np.random.default_rng(0)
PIXELS = ImagePreprocess(height=8, width=8, channels=1, mean=(0.0,), std=(1.0,))
VALUES = ArrayPreprocess(names=("x",))


def test_pixels_are_blended_in_whole_numbers() -> None:
    own = np.array([[[[0]]], [[[100]]], [[[255]]], [[[255]]]], np.uint8)
    other = np.array([[[[255]]], [[[201]]], [[[255]]], [[[0]]]], np.uint8)
    share = np.array([0, 128, 77, 256])
    assert blend(own, other, share).ravel().tolist() == [255, 151, 255, 255]  # 150.5 goes up
    values = np.array([[1.0, -2.0]], np.float32), np.array([[5.0, 2.0]], np.float32)
    found = blend(*values, np.array([64]))
    assert found.tolist() == [[4.0, 1.0]]
    assert found.dtype == np.float32


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_shares_have_the_moments_of_a_beta_distribution(alpha: float) -> None:
    share = draw_shares(alpha, np.arange(20_000), seed=3, view=1) / 256
    assert share.min() >= 0
    assert share.max() <= 1
    assert abs(share.mean() - 0.5) < 0.02
    assert abs(share.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_partners_are_any_samples_of_the_split_and_not_of_another() -> None:
    split = np.arange(10, 30) * 2
    index = np.arange(200)
    partners = draw_partners(index, split, seed=0, view=4)
    assert set(partners) == set(split)
    again = draw_partners(index[::-1], split, seed=0, view=4)[::-1]
    np.testing.assert_array_equal(again, partners)
    assert (draw_partners(index, split, seed=0, view=5) != partners).any()


def test_boxes_are_cut_at_the_borders() -> None:
    centre = np.array([0, 1 << 63, (1 << 64) - 1], np.uint64)  # 0, the middle, the last
    boxes = draw_boxes(8, 6, np.full((3, 2), 4), centre, centre)
    assert boxes.tolist() == [[0, 2, 0, 2], [2, 6, 1, 5], [5, 8, 3, 6]]


def test_a_pasted_box_has_the_share_that_is_said() -> None:
    own, other = np.zeros((200, 8, 8, 1), np.uint8), np.full((200, 8, 8, 1), 9, np.uint8)
    share = draw_shares(1.0, np.arange(200), seed=0, view=0)
    found, left = paste_boxes(own, other, share, np.arange(200), seed=0, view=0)
    pasted = (found == 9).reshape(200, -1).sum(axis=1)
    np.testing.assert_array_equal(left, 256 - 4 * pasted)  # a pixel is 4 / 256
    assert (left >= share - 24).all()  # the border cuts; sides are rounded to whole pixels
    assert not own.any()


def data_of(options: Augment, *, seed: int = 0) -> Data:
    """Thirty images of one grey level each, which is ten times their label."""
    label = np.arange(30) % 26
    pixels = np.broadcast_to((10 * label).astype(np.uint8)[:, None, None, None], (30, 8, 8, 1))
    dataset = Dataset("image", {"image": pixels}, {"label": label})
    return Data(dataset, {"train": np.arange(24)}, augment=options, seed=seed)


def rows(batches: list[Batch]) -> dict[int, tuple[bytes, float, int]]:
    found = {}
    for batch in batches:
        assert batch.mixed is not None
        others = batch.mixed.targets["label"]
        for i, number in enumerate(batch.index.tolist()):
            pixels = batch.inputs[0]["image"][i].tobytes()
            found[number] = (pixels, float(batch.mixed.share[i]), int(others[i]))
    return found


@pytest.mark.parametrize("options", [Augment(mixup=1.0), Augment(cutmix=1.0)])
def test_the_share_says_what_is_in_the_picture(options: Augment) -> None:
    (batch,) = data_of(options).batches("train", PIXELS, size=30, order=1, view=1)
    assert batch.mixed is not None
    mean = batch.inputs[0]["image"].reshape(24, -1).mean(axis=1)
    own, other = 10 * batch.targets["label"], 10 * batch.mixed.targets["label"]
    wanted = batch.mixed.share * own + (1 - batch.mixed.share) * other
    np.testing.assert_allclose(mean, wanted, atol=0.51)
    assert ((batch.mixed.share > 0) & (batch.mixed.share < 1)).mean() > 0.8
    assert set(batch.mixed.targets["label"]) <= set(range(24))


@pytest.mark.parametrize(
    "options", [Augment(mixup=0.2), Augment(mixup=1.0, cutmix=1.0, flip=True, crop=2)]
)
def test_a_mixed_view_does_not_depend_on_order_and_batch(options: Augment) -> None:
    data = data_of(options)
    whole = rows(list(data.batches("train", PIXELS, size=24, view=3)))
    parts = rows(list(data.batches("train", PIXELS, size=5, order=8, view=3)))
    assert parts == whole
    assert rows(list(data.batches("train", PIXELS, size=24, view=4))) != whole


def test_samples_without_a_view_are_not_mixed() -> None:
    (batch,) = data_of(Augment(mixup=1.0)).batches("train", PIXELS, size=30)
    assert batch.mixed is None
    assert batch.view is None


def test_both_kinds_come_about_equally_often() -> None:
    data = data_of(Augment(mixup=1.0, cutmix=1.0))
    levels = [
        len(np.unique(pixels))
        for view in range(20)
        for batch in data.batches("train", PIXELS, size=24, view=view)
        for pixels in batch.inputs[0]["image"]
    ]
    assert 0.35 < np.mean(np.array(levels) > 1) < 0.55  # some boxes are of the same level or empty


def signals(shape: tuple[int, ...], number_type: str = "float32") -> NDArray[np.generic]:
    return RANDOM.integers(1, 100, shape).astype(number_type)


@pytest.mark.parametrize("number_type", ["float32", "float16", "int16", "uint8"])
def test_a_mask_is_one_stretch_of_the_mean(number_type: str) -> None:
    x = signals((300, 3, 12), number_type)
    index = np.arange(300)
    found = mask_axis(x, 2, 5, index, seed=1, view=2, lane=0)
    assert found.dtype == x.dtype
    lengths, starts = [], []
    for before, after in zip(x, found, strict=True):
        mean = before.mean(dtype=np.float64)
        wanted = (mean if x.dtype.kind == "f" else np.rint(mean)).astype(x.dtype)
        masked = (after == wanted).all(axis=0)
        (where,) = np.nonzero(masked)
        lengths.append(len(where))
        if len(where):
            assert np.ptp(where) == len(where) - 1
            starts.append(where[0])
            starts.append(where[-1])
        np.testing.assert_array_equal(after[:, ~masked], before[:, ~masked])
    assert set(lengths) == set(range(6))
    assert {0, 11} <= set(starts)
    alone = mask_axis(x[7:8], 2, 5, index[7:8], seed=1, view=2, lane=0)
    np.testing.assert_array_equal(alone, found[7:8])


def test_masks_and_blends_of_signals_reach_the_batches() -> None:
    x = signals((20, 8, 16))
    meaning = ArrayOptions(axes={"x": ("frequency", "time")})
    dataset = Dataset("array", {"x": x}, {"label": np.arange(20) % 2}, meaning=meaning)
    options = Augment(time_mask=6, frequency_mask=3, mixup=0.5)
    data = Data(dataset, {"train": np.arange(20)}, augment=options, seed=0)
    (batch,) = data.batches("train", VALUES, size=20, view=0)
    assert batch.mixed is not None
    assert (batch.inputs[0]["x"] != x).any(axis=(1, 2)).mean() > 0.9
    assert batch.inputs[0]["x"].dtype == np.float32
    renamed = Dataset(
        "array", {"x": x}, dataset.targets, meaning=ArrayOptions(axes={"x": ("time", "frequency")})
    )
    other = Data(renamed, {"train": np.arange(20)}, augment=options, seed=0)
    assert other.fingerprint("training") != data.fingerprint("training")
