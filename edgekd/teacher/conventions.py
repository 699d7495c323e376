"""How the pixels of a given network are scaled: tried, where nothing says it.

A network that comes with its weights wants the normalisation it was trained with. The mean and
deviation of the data here are a guess like any other, so the usual conventions are tried on
training samples with labels, and the one that stands out is taken and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd.data.input_options import InputSpec
from edgekd.errors import ModelError
from edgekd.evaluation.class_order import describe_folders, find_order
from edgekd.evaluation.quality import matched_difference, wilson
from edgekd.store import digest
from edgekd.tasks.classification import softmax
from edgekd.wording import has_recipe, option

if TYPE_CHECKING:
    from edgekd.data.batches import Data
    from edgekd.data.dataset import Arrays
    from edgekd.data.preprocess import Preprocess

Predict = Callable[["Preprocess"], Callable[["Arrays"], "Arrays"]]
"""For a preprocessing, the network behind it."""
_ROUNDS = (32, 96, 384)  # samples: all conventions first, then those that are not clearly worse
_POOR = 0.6  # below this share of right answers another order of the classes is looked for
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_PLAIN: Mapping[str, tuple[float, float]] = {
    "pixels / 255, 0..1": (0.0, 255.0),
    "pixels as they are, 0..255": (0.0, 1.0),
    "pixels / 127.5 - 1, -1..1": (127.5, 127.5),
}


def ask() -> str:
    """Return how the normalisation is stated, in the language of the call."""
    blue = f"{option('model.input.colours', 'bgr')} where blue comes first"
    if has_recipe():
        return (
            "set model.input.mean and model.input.std in pixel units 0..255: 0 and 255 for pixels "
            "of 0..1, 127.5 and 127.5 for -1..1, 0 and 1 for 0..255, [123.675, 116.28, 103.53] "
            f"and [58.395, 57.12, 57.375] for ImageNet's; {blue}"
        )
    return (
        f"say which one it takes: {option('normalize', 'imagenet')}, or 0..1, -1..1, none (0..255) "
        f"or MEAN,STD; {blue}"
    )


@dataclass(frozen=True)
class _Try:
    title: str
    right: NDArray[np.bool_]
    surprise: NDArray[np.float64]
    """-log of the probability of the label, [n]."""
    answer: NDArray[np.int64]
    label: NDArray[np.int64]
    outputs: int
    """The number of the model's classes."""


def conventions(spec: InputSpec, channels: int, *, in_colour: bool) -> dict[str, InputSpec]:
    """Return the usual normalisations by their name; the last is the data's own."""
    found = {
        title: spec.model_copy(update={"mean": mean, "std": std})
        for title, (mean, std) in _PLAIN.items()
    }
    if channels == 3:
        mean, std = _IMAGENET
        found["ImageNet's mean and deviation"] = spec.model_copy(update={"mean": mean, "std": std})
    if channels == 3 and in_colour and spec.colours is None:
        for title, one in list(found.items()):
            turned = {"mean": _reversed(one.mean), "std": _reversed(one.std), "colours": "bgr"}
            found[f"{title}, blue first (BGR)"] = one.model_copy(update=turned)
    found["the data's own mean and deviation"] = spec
    return found


def _reversed(value: float | tuple[float, ...] | None) -> float | tuple[float, ...] | None:
    return value[::-1] if isinstance(value, tuple) else value


def choose_convention(
    tried: Mapping[str, Preprocess], predict: Predict, data: Data, *, name: str, identity: str
) -> tuple[Preprocess, str]:
    """Return the normalisation that fits the labels of training samples, and a sentence about it.

    It is tried once in a process: a run builds its network several times.

    Args:
        tried: the conventions by name.
        predict: runs the network behind one of them.
        data: with the split "train".
        name: of the network, for messages.
        identity: a hash of the network.

    Raises:
        ModelError: there are no labels, or none stands out; the message asks for it.
    """
    label = data.targets("train").get("label")
    if label is None:
        raise ModelError(
            f"nothing states how {name} wants its pixels scaled, and without labels it cannot be "
            f"tried; {ask()}"
        )
    key = digest(identity, data.fingerprint("training"), list(tried))
    if key not in _FOUND:
        _FOUND[key] = _choose(tried, predict, data, label, name=name)
    title, note = _FOUND[key]
    return tried[title], note


_FOUND: dict[str, tuple[str, str]] = {}
"""What was tried in this process: the convention that fits, and the sentence about it."""


def _choose(
    tried: Mapping[str, Preprocess],
    predict: Predict,
    data: Data,
    label: NDArray[np.int64],
    *,
    name: str,
) -> tuple[str, str]:
    every: list[_Try] = []
    rivals: list[_Try] = []
    for count in _ROUNDS:
        rows = np.unique(np.linspace(0, len(label) - 1, min(count, len(label))).astype(np.int64))
        titles = [one.title for one in rivals] or list(tried)
        found = [_try(title, tried[title], predict, data, rows) for title in titles]
        best = max(found, key=lambda one: (one.right.mean(), -one.surprise.mean()))
        every = found if len(found) == len(tried) else every
        if count == _ROUNDS[0] and best.right.mean() < _POOR:
            continue  # which order of the classes would fit takes more samples of all
        rivals = [best, *(o for o in found if o is not best and not _is_better(best, o))]
        if len(rivals) == 1:
            break
    share = float(np.bincount(label).max()) / len(label)
    low, _ = wilson(int(best.right.sum()), len(best.right))
    poor = best.right.mean() < _POOR
    order = next((text for one in every if (text := _order(one, data))), "") if poor else ""
    if order or low <= share:
        folders = describe_folders(data.folders, every[0].outputs)
        raise _none_fits(every, order, share, name=name, folders=folders)
    if len(rivals) > 1:
        raise ModelError(
            f"nothing states how {name} wants its pixels scaled, and several conventions fit "
            f"equally: {_listed(rivals)}; {ask()}"
        )
    return best.title, (
        f"nothing states how {name} wants its pixels scaled; tried on {len(best.right)} training "
        f"samples, {best.title}, fits: {100 * best.right.mean():.1f} % right "
        f"(the others: {_listed([o for o in every if o.title != best.title][:3])})"
    )


def _try(
    title: str, preprocess: Preprocess, predict: Predict, data: Data, rows: NDArray[np.int64]
) -> _Try:
    model, scores, labels = predict(preprocess), [], []
    for start in range(0, len(rows), 16):
        samples, targets = data.raw("train", rows[start : start + 16])
        outputs = model(preprocess.encode(samples))
        first = next(iter(outputs.values()))
        scores.append(np.asarray(first, np.float64).reshape(len(first), -1))
        labels.append(targets["label"])
    score, label = np.concatenate(scores), np.concatenate(labels)
    probability = softmax(np.nan_to_num(score))
    known = label < score.shape[1]
    own = probability[np.arange(len(label)), np.where(known, label, 0)] * known
    answer = score.argmax(axis=1)
    return _Try(
        title, answer == label, -np.log(np.maximum(own, 1e-12)), answer, label, score.shape[1]
    )


def _is_better(one: _Try, other: _Try) -> bool:
    """Tell whether `one` is proven better, or the other computes the same."""
    n = len(one.right)
    if np.allclose(one.surprise, other.surprise, rtol=1e-4, atol=1e-6):
        return bool((one.answer == other.answer).all())
    gained, lost = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
    if matched_difference(gained, lost, n)[0] > 0:
        return True
    less = other.surprise - one.surprise
    return bool(less.mean() > 3 * less.std() / np.sqrt(n)) and gained >= lost


def _listed(found: Sequence[_Try]) -> str:
    return "; ".join(f"{one.title}: {100 * one.right.mean():.1f} %" for one in found)


def _order(one: _Try, data: Data) -> str:
    """Return which order of the classes fits the answers with this convention, in words."""
    names = data.labels or tuple(map(str, range(int(one.label.max()) + 1)))
    return find_order(one.label, one.answer, names)


def _none_fits(
    every: Sequence[_Try], order: str, share: float, *, name: str, folders: str
) -> ModelError:
    """Return the refusal; if the classes are in another order, that is the cause."""
    if order:
        return ModelError(
            f"{name} answers wrongly with any usual scale of its pixels ({_listed(every)}), as its "
            f"classes are in another order than those of the data. {order}"
        )
    return ModelError(
        f"{name} is no better than a guess (the commonest class: {100 * share:.1f} %) with any "
        f"usual scale of its pixels: {_listed(every)}. {folders}{' ' if folders else ''}If its "
        f"classes are in another order, give {option('data.labels')}; else {ask()}. "
        f"{option('allow_poor_teacher', True)} permits a poor model whose scale is stated"
    )
