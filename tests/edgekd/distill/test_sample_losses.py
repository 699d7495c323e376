"""Losses on how samples relate, against plain loops over pairs and triples in numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgekd.distill.losses.samples import (
    Contrast,
    Rkd,
    Similarity,
    angles,
    contrast,
    distances,
    similarities,
    vectors_of,
)
from edgekd.training.layer_finder import FoundLayers
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared

STUDENT = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.7], [-2.0, 1.1]])
TEACHER = np.array([[0.3, 1.0, -1.0], [2.0, -0.6, 0.4], [1.5, 0.2, 2.2], [-0.9, -1.4, 0.8]])
"""Four samples in spaces of two and three dimensions."""
Array = NDArray[np.float64]


def tensors(*arrays: Array) -> list[torch.Tensor]:
    return [torch.tensor(array, dtype=torch.float32) for array in arrays]


def huber(difference: float) -> float:
    size = abs(difference)
    return 0.5 * size**2 if size < 1 else size - 0.5


def test_distances_pair_by_pair() -> None:
    pairs = list(itertools.combinations(range(4), 2))
    own, its = (np.array([math.dist(x[i], x[j]) for i, j in pairs]) for x in (STUDENT, TEACHER))
    each = [huber(a - b) for a, b in zip(own / own.mean(), its / its.mean(), strict=True)]
    found = distances(*tensors(STUDENT, TEACHER)).item()
    assert found == pytest.approx(float(np.mean(each)), rel=1e-5)
    assert distances(*tensors(7 * STUDENT, TEACHER)).item() == pytest.approx(found, rel=1e-4)


def cosine_at(x: Array, i: int, j: int, k: int) -> float:
    a, b = x[i] - x[j], x[k] - x[j]
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_angles_triple_by_triple() -> None:
    each = [
        huber(cosine_at(STUDENT, *triple) - cosine_at(TEACHER, *triple))
        for triple in itertools.permutations(range(4), 3)
    ]
    found = angles(*tensors(STUDENT, TEACHER)).item()
    assert found == pytest.approx(float(np.mean(each)), rel=1e-5)


def test_angles_of_a_large_batch_are_those_of_its_first_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    own, its = (torch.randn(150, width, generator=generator) for width in (3, 5))
    assert torch.equal(angles(own, its), angles(own[:128], its[:128]))


def test_equal_samples_have_a_finite_slope() -> None:
    student = torch.ones(4, 2, requires_grad=True)
    (teacher,) = tensors(TEACHER)
    (distances(student, teacher) + angles(student, teacher)).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_similarities_by_their_definition() -> None:
    rows = []
    for x in (STUDENT, TEACHER):
        products = np.array([[a @ b for b in x] for a in x])
        rows.append(products / np.sqrt((products**2).sum(axis=1, keepdims=True)))
    expected = ((rows[0] - rows[1]) ** 2).sum() / 16
    assert similarities(*tensors(STUDENT, TEACHER)).item() == pytest.approx(expected, rel=1e-5)


def test_contrast_by_its_definition() -> None:
    teacher = TEACHER[:, :2]
    losses = []
    for i in range(4):
        scores = [
            STUDENT[i] @ t / (np.linalg.norm(STUDENT[i]) * np.linalg.norm(t)) / 0.5 for t in teacher
        ]
        losses.append(-scores[i] + math.log(sum(math.exp(score) for score in scores)))
    found = contrast(*tensors(STUDENT, teacher), temperature=0.5)
    assert found.item() == pytest.approx(float(np.mean(losses)), rel=1e-5)


def test_a_sample_is_the_mean_of_its_map_or_of_its_words() -> None:
    assert vectors_of(torch.arange(8.0).reshape(1, 2, 2, 2), None).tolist() == [[1.5, 5.5]]
    text = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    tokens = torch.tensor([[1, 1, 0]])
    assert vectors_of(text, tokens).tolist() == [[2.0, 4.0]]
    assert vectors_of(text, torch.zeros(1, 3)).tolist() == [[0.0, 0.0]]  # all padding


def test_outputs_that_are_vectors_are_compared_themselves_also_of_a_bare_file() -> None:
    term = Similarity().with_layers(FoundLayers(), None, {"embedding": "embedding"})
    assert term.teacher_wanted.outputs
    assert not term.teacher_wanted.inner
    student, teacher = tensors(STUDENT, TEACHER)
    seen = Compared(
        Signals({"embedding": student}), Signals({"embedding": teacher}), {"embedding": "embedding"}
    )
    assert torch.equal(term.parts(seen)["embedding"], similarities(student, teacher))


def test_a_batch_in_which_nothing_relates_is_left_out() -> None:
    two = Compared(Signals({}, {"a": torch.ones(2, 3)}), Signals({}, {"b": torch.ones(2, 3)}), {})
    assert Rkd(layers={"a": "b"}).parts(two) == {}  # angles need three
    term = Contrast(layers={"a": "b"})
    extra = term.extra(two.student, two.teacher)
    own, its = (Signals({}, {name: torch.ones(1, 3)}) for name in ("a", "b"))
    assert term.parts(Compared(own, its, {}, extra=extra)) == {}
