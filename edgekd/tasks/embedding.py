"""Embedding: a vector for each sample; vectors of one label are close to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.tasks.task import Arrays, Metric, Predictor, SignalKind

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURE = 0.1  # of the loss; Khosla et al. 2020, section 4.4
_ROWS = 512
_GALLERY = 2000  # similarities to so many samples are ranked


def recall(reduced: Arrays, *, k: int) -> NDArray[np.float64]:
    """Return for each query 100 if one of its `k` nearest others has its label, else 0.

    Every sample whose label another one has is a query, and is looked for among all others. The
    rest only stand in the way. If there are no queries, each sample counts 0.
    """
    label, found = reduced["label"], []
    queries = has_mate(label)
    if not queries.any():
        return np.zeros(len(label))
    for rows, nearest in nearest_others(reduced["vector"], k=k):
        asked = queries[rows]
        same = label[nearest[asked]] == label[rows[asked]][:, None]
        found.append(100.0 * same.any(axis=1))
    return np.concatenate(found)


def has_mate(label: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each sample whether another one has its label."""
    _, group, sizes = np.unique(label, return_inverse=True, return_counts=True)
    return np.asarray(sizes[group] > 1)


def drawn_mate(reduced: Arrays) -> float:
    """Return how often another sample drawn at random has a query's label, in percent."""
    label = reduced["label"]
    _, group, sizes = np.unique(label, return_inverse=True, return_counts=True)
    mates = (sizes[group] - 1)[has_mate(label)]
    return float(100.0 * mates.mean() / (len(label) - 1)) if len(mates) else 0.0


def nearest_others(
    vectors: NDArray[Any], *, k: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows of unit vectors and the `k` most similar other rows of each, the nearest first."""
    most = max(1, min(k, len(vectors) - 1))
    for rows, similar in _similarities(vectors, vectors):
        similar[np.arange(len(rows)), rows] = -np.inf
        some = np.argpartition(-similar, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(similar, some, axis=1), axis=1, kind="stable")
        yield rows, np.take_along_axis(some, order, axis=1)


def rank_correlation(reduced: Arrays) -> NDArray[np.float64]:
    """Return for each sample how alike model and teacher rank the others, from -100 to 100.

    It is Spearman's coefficient, in percent, of the cosine similarities to the first 2,000.
    """
    vector, teacher = reduced["vector"], reduced["teacher"]
    pairs = zip(
        _similarities(vector, vector[:_GALLERY]),
        _similarities(teacher, teacher[:_GALLERY]),
        strict=True,
    )
    return np.concatenate([_spearman(mine, its) for (_, mine), (_, its) in pairs])


def _spearman(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    ranks = [np.argsort(np.argsort(x, axis=1), axis=1).astype(np.float64) for x in (a, b)]
    first, second = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    scale = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
    return np.asarray(100.0 * (first * second).sum(axis=1) / np.maximum(scale, 1e-12))


def _similarities(
    vectors: NDArray[Any], others: NDArray[Any]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield rows and their cosine similarities to all `others`, few rows at a time."""
    for start in range(0, len(vectors), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(vectors)))
        yield rows, vectors[rows] @ others.T


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    flat = np.asarray(vectors, np.float32).reshape(len(vectors), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))


class Embedding:
    """Vectors; the model gives `embedding`, shape [batch, size]. Similarity is the cosine.

    `targets["label"]` is int64 [n]: samples of one label belong together.
    """

    target: ClassVar = "identity"
    signals: Mapping[str, SignalKind] = {"embedding": "embedding"}
    metrics: Sequence[Metric] = (
        Metric(
            "recall at 1",
            "%",
            values=partial(recall, k=1),
            is_percentage=True,
            chance=drawn_mate,
        ),
        Metric("recall at 5", "%", values=partial(recall, k=5), is_percentage=True),
        Metric("rank correlation", "%", values=rank_correlation, is_percentage=True),
    )

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return model(inputs)

    def reference(self, predictions: Arrays) -> Arrays:
        return {"vector": _unit(predictions["embedding"])}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        vector = _unit(predictions["embedding"])
        return {"vector": vector, "label": targets["label"], "teacher": teacher["vector"]}

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the supervised contrastive loss (Khosla et al. 2020, equation 2).

        It is 0 for a sample whose label no other of the batch has.
        """
        import torch
        from torch.nn.functional import normalize

        vectors, label = outputs["embedding"], targets["label"]
        unit = normalize(vectors.float().flatten(1), dim=1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        similar = (unit @ unit.T / TEMPERATURE).masked_fill(itself, -1e4)
        same = (label[:, None] == label[None, :]) & ~itself
        log_share = similar - torch.logsumexp(similar, dim=1, keepdim=True)
        total = (log_share * same).sum(dim=1)
        return -total / same.sum(dim=1).clamp(min=1)

    def check(self, targets: Arrays) -> None:
        if "label" not in targets:
            found = ", ".join(sorted(targets)) or "no targets"
            found = "numbers that are not whole" if found == "value" else found
            raise DataError(
                f"task 'embedding' needs a target 'label', whole numbers or names: samples of one "
                f"label belong together; got {found}. Pairs are two inputs of one form, such as "
                "anchor and positive"
            )
