from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekd.distill.losses.response import SoftTargets, soft_targets
from edgekd.errors import DataError
from edgekd.tasks.segmentation import Segmentation, guessed_overlap, resize_nearest
from edgekd.tasks.task import Arrays

MASK = np.array([[[0, 0], [1, 255]], [[0, 1], [1, 1]]], np.uint8)


def logits(answer: list[list[list[int]]], classes: int = 3) -> np.ndarray:
    """Sure answers [n, classes, h, w]."""
    return np.moveaxis(10.0 * np.eye(classes, dtype=np.float32)[np.array(answer)], 3, 1)


def reduced(answer: list[list[list[int]]]) -> Arrays:
    return Segmentation().reduce({"logits": logits(answer)}, {"mask": MASK}, {})


def test_overlap_and_accuracy_by_hand() -> None:
    found = reduced([[[0, 1], [1, 2]], [[0, 1], [1, 1]]])  # one pixel wrong; one does not count
    mean, accuracy, worst = (metric.of(found) for metric in Segmentation().metrics)
    assert mean == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)  # class 2 was neither met nor answered
    assert accuracy == pytest.approx((100 * 2 / 3 + 100) / 2)
    assert worst == pytest.approx(100 * 2 / 3)


def test_the_loss_is_over_the_pixels_that_count() -> None:
    task, mask = Segmentation(), torch.from_numpy(MASK)
    loss = task.loss({"logits": torch.zeros(2, 3, 2, 2)}, {"mask": mask})
    assert loss.tolist() == pytest.approx([np.log(3)] * 2)
    small = task.loss({"logits": torch.zeros(2, 3, 1, 1)}, {"mask": mask})
    assert small.tolist() == pytest.approx([0, np.log(3)])  # the only pixel of the first: 255


def test_the_nearest_pixel_for_arrays_and_tensors() -> None:
    maps = np.arange(4).reshape(1, 2, 2)
    wide = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert resize_nearest(maps, 4, 4)[0].tolist() == wide
    assert resize_nearest(torch.from_numpy(maps), 4, 4)[0].tolist() == wide
    assert resize_nearest(np.array([wide]), 2, 2)[0].tolist() == [[0, 1], [2, 3]]


def test_soft_targets_compare_classes_pixel_by_pixel() -> None:
    a, b = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    flat = [x.permute(0, 2, 3, 1).reshape(-1, 3) for x in (a, b)]
    expected = soft_targets(flat[0], flat[1], temperature=4.0)
    assert torch.allclose(SoftTargets()._compare(a, b, "class map"), expected)


def test_what_does_not_fit_is_refused() -> None:
    task = Segmentation()
    with pytest.raises(DataError, match=r"class 2 is in a mask.*has 2 classes"):
        task.loss(
            {"logits": torch.zeros(2, 2, 2, 2)}, {"mask": torch.from_numpy(MASK + (MASK < 2))}
        )
    with pytest.raises(DataError, match=r"logits \[batch, classes, height, width\].*\[2, 3\]"):
        task.reduce({"logits": np.zeros((2, 3))}, {"mask": MASK}, {})
    with pytest.raises(DataError, match=r"needs a target 'mask'.*images/ and masks/"):
        task.check({"label": np.arange(2)})


def test_one_channel_is_the_logit_of_class_1() -> None:
    task = Segmentation()
    logits = np.array([[[[2.0, -1.0], [0.5, -3.0]]]])
    mask = np.array([[[1, 1], [0, 255]]], np.uint8)
    found = task.reduce({"logits": logits}, {"mask": mask}, {})
    assert found["hits"].tolist() == [[0, 1]]
    assert found["answered"].tolist() == [[1, 2]]
    loss = task.loss({"logits": torch.tensor(logits)}, {"mask": torch.tensor(mask)})
    expected = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0)), np.log1p(np.exp(0.5))]
    assert loss.tolist() == pytest.approx([np.mean(expected)])
    with pytest.raises(DataError, match="class 2 is in a mask, but the network has 2 classes"):
        task.reduce({"logits": logits}, {"mask": mask + np.uint8(1)}, {})


def test_a_guess_is_the_commonest_class_or_one_at_random() -> None:
    rare = {"labelled": np.array([[90, 4], [3, 3]])}
    assert guessed_overlap(rare) == pytest.approx(100 * 0.93 / 2)
    equal = {"labelled": np.array([[2, 2, 2]])}
    assert guessed_overlap(equal) == pytest.approx(20)
