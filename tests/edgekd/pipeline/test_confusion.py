"""Which classes are taken for which."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from edgekd.pipeline.examples.answers import MOST_SHOWN_CLASSES, _Answers, _confusion
from edgekd.pipeline.examples.shipping import Shipping

NAMED = cast("Shipping", SimpleNamespace(label="class {}".format))


def answers(truth: Any, shipped: Any, teacher: Any) -> _Answers:
    return _Answers(
        teacher=np.asarray(teacher),
        shipped=np.asarray(shipped),
        truth=np.asarray(truth),
        index=np.arange(len(truth)),
    )


def test_every_sample_is_counted_once() -> None:
    found = _confusion(NAMED, answers([0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 0, 2], [0, 0, 1, 0, 2, 2]))
    assert found.labels == ("class 0", "class 1", "class 2")
    assert found.counts == ((1, 1, 0), (0, 1, 0), (2, 0, 1))
    first, second = found.pairs
    assert (first.label, first.predicted, first.shipped, first.teacher) == (
        *("class 2", "class 0", 2, 1),
    )
    assert (second.label, second.predicted, second.shipped, second.teacher) == (
        *("class 0", "class 1", 1, 0),
    )


def test_many_classes_and_no_mistake() -> None:
    truth = np.arange(MOST_SHOWN_CLASSES + 5)
    found = _confusion(NAMED, answers(truth, truth, truth))
    assert (found.counts, found.pairs, found.labels) == ((), (), ())
    few = _confusion(NAMED, answers([1, 1], [1, 1], [0, 1]))
    assert few.counts == ((2,),)
