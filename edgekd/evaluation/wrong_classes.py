"""How much a teacher says about the classes that it does not choose: what soft targets carry.

Label smoothing asks for one fixed distance between the right class and all others alike. A network
trained with it has nearly that distance in every sample and little order among the others (Mueller
et al. 2019, sections 2 and 4), and is less sure of its answers than they deserve. Each sign alone
has other causes too: short training, noise in the labels, a temperature in the exported graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.evaluation.quality import wilson
from edgekd.tasks.classification import softmax

LEAST_CLASSES = 3
LEAST_FOR_SMOOTHING = 4
"""Of two classes that are not chosen nothing can be told: they are nearly always alike."""
LEAST_SMOOTHING = 0.04
"""Less than this is what a short training leaves on easy samples."""
EVEN = 0.6
"""Networks trained on digits without smoothing had 0.35 to 0.46, with 0.05 to 0.2 of it 0.67 to
0.93 (`test_wrong_classes` trains some)."""
NARROW = 0.3
"""The spread of those with smoothing was 0.13 to 0.28, after two epochs of any training 0.34 up."""
UNSURE = 0.01
"""By how much the surer half must be more often right than its confidence says."""
_VERY_EVEN, _VERY_NARROW, _CEILING = 0.75, 0.25, 0.99
"""Signs that do without labels, or with too few to prove it: the confidence has a ceiling too."""


@dataclass(frozen=True, kw_only=True)
class WrongClasses:
    """How class scores lie, on average over samples."""

    gap: float
    """Of the greatest score above the mean of the others, in nats."""
    spread: float
    """Standard deviation of the others, as a share of the gap; no temperature changes it."""
    evenness: float
    """Entropy of the others' probabilities among themselves, as a share of the largest possible."""
    ceiling: float
    """95th percentile of the confidence, from 0 to 1."""
    sure_confidence: float
    """Mean confidence of the surer half of the samples, from 0 to 1."""
    sure_accuracy: float | None
    """The share of them that is right; None without labels."""
    smoothing: float | None
    """The label smoothing that would ask for such confidence; None: no sign of any."""


def describe_wrong_classes(
    logits: NDArray[np.float64], right: NDArray[np.bool_] | None
) -> WrongClasses | None:
    """Return how the scores of the classes that are not chosen lie.

    Args:
        logits: class scores [n, classes].
        right: whether the answer to each sample is its label, [n]; None: there are no labels.

    Returns:
        None for two classes: the one that is not chosen has nothing beside it.
    """
    classes = logits.shape[1]
    if classes < LEAST_CLASSES:
        return None
    ordered = np.sort(np.asarray(logits, np.float64), axis=1)
    others, top = ordered[:, :-1], ordered[:, -1]
    gap = top - others.mean(axis=1)
    apart = gap > 0  # equal scores have neither gap nor spread
    share = others.std(axis=1)[apart] / gap[apart]
    confidence = softmax(ordered)[:, -1]
    sure = surer_half(confidence)
    chosen = confidence if right is None or not right.any() else confidence[right]
    found = WrongClasses(
        gap=float(gap.mean()),
        spread=float(share.mean()) if apart.any() else 0.0,
        evenness=float(_entropy(softmax(others)).mean() / np.log(classes - 1)),
        ceiling=float(np.quantile(confidence, 0.95)),
        sure_confidence=float(confidence[sure].mean()),
        sure_accuracy=None if right is None else float(right[sure].mean()),
        smoothing=(1 - float(np.median(chosen))) * classes / (classes - 1),
    )
    hits = None if right is None else (int(right[sure].sum()), int(sure.sum()))
    return found if _is_smoothed(found, hits, classes) else _without_smoothing(found)


def surer_half(confidence: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which samples [n] are the half with the greatest confidence; never none of them."""
    count = max(1, len(confidence) // 2)
    chosen = np.zeros(len(confidence), bool)
    chosen[np.argsort(-confidence, kind="stable")[:count]] = True
    return chosen


def _is_smoothed(found: WrongClasses, hits: tuple[int, int] | None, classes: int) -> bool:
    if classes < LEAST_FOR_SMOOTHING or (found.smoothing or 0.0) < LEAST_SMOOTHING:
        return False
    strong = (
        found.evenness > _VERY_EVEN and found.spread < _VERY_NARROW and found.ceiling < _CEILING
    )
    if hits is None or found.sure_accuracy is None:
        return strong
    if strong and found.sure_accuracy >= found.sure_confidence:
        return True
    undeserved = wilson(*hits)[0] - found.sure_confidence
    return found.evenness > EVEN and found.spread < NARROW and undeserved > UNSURE


def _without_smoothing(found: WrongClasses) -> WrongClasses:
    return WrongClasses(**{**vars(found), "smoothing": None})


def _entropy(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(probability * np.log(np.maximum(probability, 1e-300))).sum(axis=1))
