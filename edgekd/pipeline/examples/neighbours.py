"""Embedding: what is nearest to some queries, and recall at several k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.evaluation.examples import Neighbours, RecallAt, Retrieval, Thing
from edgekd.pipeline.examples.shipping import Shipping, spread
from edgekd.tasks.embedding import has_mate, recall
from edgekd.tasks.task import Arrays

SHOWN_QUERIES, SHOWN_NEIGHBOURS = 8, 5
_AT = (1, 2, 5, 10)


def find_retrieval(shipping: Shipping) -> Retrieval | None:
    """Return retrieval within the test split; None where the task gives no vectors."""
    if list(shipping.bench.task.signals.values()) != ["embedding"]:
        return None
    old, new = shipping.reduced()
    if not {"vector", "label"} <= set(old.arrays):
        return None
    queries = np.flatnonzero(has_mate(old.arrays["label"]))
    if not len(queries):
        return None
    before, after = (
        {k: recall(found.arrays, k=k) for k in _AT if k < len(found.index)} for found in (old, new)
    )
    rows = queries[spread(after[1] - before[1], SHOWN_QUERIES)]
    return Retrieval(
        queries=len(queries),
        mates=float((np.bincount(old.arrays["label"])[old.arrays["label"][queries]] - 1).mean()),
        recalls=tuple(
            RecallAt(k=k, teacher=float(before[k].mean()), shipped=float(after[k].mean()))
            for k in before
        ),
        shown=tuple(
            _neighbours(shipping, int(row), old.arrays, new.arrays, old.index) for row in rows
        ),
    )


def _neighbours(
    shipping: Shipping, row: int, old: Arrays, new: Arrays, index: NDArray[np.int64]
) -> Neighbours:
    label = old["label"]

    def things(rows: NDArray[np.int64]) -> tuple[Thing, ...]:
        return shipping.things(index[rows], [shipping.label(int(label[i])) for i in rows])

    (query,) = things(np.array([row]))
    return Neighbours(
        query=query,
        teacher=things(_nearest(old["vector"], row)),
        shipped=() if shipping.teacher_ships else things(_nearest(new["vector"], row)),
    )


def _nearest(vectors: NDArray[np.float32], row: int) -> NDArray[np.int64]:
    similar = vectors @ vectors[row]
    similar[row] = -np.inf
    order = np.argsort(-similar, kind="stable")
    return order[: min(SHOWN_NEIGHBOURS, len(vectors) - 1)].astype(np.int64)
