"""Without labels: the teacher's own outputs are the reference, and every metric compares with them.

Signal-to-noise of an output is 10 log10(sum of signal^2 / sum of (difference)^2) over all its
values and samples, in dB. A value that is not finite in the reference is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ModelError
from edgekd.tasks.task import Arrays, Floor, Metric, Predictor, SignalKind

if TYPE_CHECKING:
    from torch import Tensor

MOST_DB = 150.0
"""Beyond it a difference lies below the rounding of float32; equal outputs count as this."""
MOST_VALUES = 1 << 16
"""Values of one sample's output that are compared; of a larger output as many, drawn at random."""
MOST_ALIKE = 0.9
"""Where more samples than this share have one answer, agreement says nothing."""
_SAMPLES = "/samples"
_FAINT = 0.01
"""A sample fainter than this share of the mean power is measured against that share of it."""


@dataclass(frozen=True)
class Form:
    """The description of an output of the model."""

    name: str
    axis: int | None
    """Where the samples are counted; None: the output is the same for all samples of a batch."""
    is_float: bool
    is_classes: bool
    """Whether its greatest value is an answer: [n, classes], [n, classes, 1, 1], [n, 1, classes]"""
    is_flat: bool
    """Whether its shape is [n, classes]."""

    def rows(self, output: NDArray[Any], samples: int) -> NDArray[Any]:
        """Return the values of each sample that are compared, [samples, values]."""
        if self.axis is None:
            flat = np.broadcast_to(output.reshape(1, -1), (samples, output.size))
        else:
            flat = np.moveaxis(output, self.axis, 0).reshape(samples, -1)
        if flat.shape[1] <= MOST_VALUES:
            return np.ascontiguousarray(flat)
        drawn = np.random.default_rng(0).choice(flat.shape[1], MOST_VALUES, replace=False)
        return np.ascontiguousarray(flat[:, np.sort(drawn)])


def find_forms(smaller: Arrays, larger: Arrays, *, sizes: tuple[int, int]) -> tuple[Form, ...]:
    """Return what the outputs of a model are like, from its outputs for two batches.

    Args:
        smaller: outputs for a batch.
        larger: outputs for a larger one, or the same where the batch is fixed.
        sizes: samples of each.

    Raises:
        ModelError: an output is not an array of numbers.
    """
    forms = []
    for name, output in smaller.items():
        other = larger[name]
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "buif":
            raise ModelError(
                f"the model's output {name!r} is not an array of numbers, so outputs cannot be "
                "compared; remove this output from the file"
            )
        axis = _batch_axis(output.shape, other.shape, sizes)
        shape = tuple(length for i, length in enumerate(output.shape) if i != axis)
        is_float = output.dtype.kind == "f"
        looks_like = is_float and len(shape) in (1, 3, 2) and max(shape) > 1
        is_classes = axis == 0 and looks_like and (shape[1:] in ((), (1, 1)) or shape[:-1] == (1,))
        forms.append(Form(name, axis, is_float, is_classes, is_classes and len(shape) == 1))
    return tuple(forms)


def without_constant_answers(forms: Sequence[Form], outputs: Sequence[Arrays]) -> tuple[Form, ...]:
    """Return the forms; an output whose greatest value hardly ever moves has no classes.

    Any model would agree with it. Outputs of a few batches show that.
    """
    found = []
    for form in forms:
        if form.is_classes:
            winners = np.concatenate(
                [np.asarray(o[form.name]).reshape(len(o[form.name]), -1).argmax(1) for o in outputs]
            )
            if np.bincount(winners).max() > MOST_ALIKE * len(winners):
                form = replace(form, is_classes=False)
        found.append(form)
    return tuple(found)


def _batch_axis(
    smaller: Sequence[int], larger: Sequence[int], sizes: tuple[int, int]
) -> int | None:
    if sizes[0] == sizes[1]:
        fits = [i for i, length in enumerate(smaller) if length == sizes[0]]
    else:
        fits = [i for i, pair in enumerate(zip(smaller, larger, strict=False)) if pair == sizes]
    return fits[0] if fits else None


class Reference:
    """Compares any number of outputs of any rank with those of the teacher. It has no hard loss."""

    def __init__(self, forms: Sequence[Form] = ()) -> None:
        """Compare the outputs that `forms` describe."""
        self._forms = tuple(forms)
        self.signals: Mapping[str, SignalKind] = {
            form.name: "classes" if form.is_flat else "values" for form in self._forms
        }
        self.metrics: Sequence[Metric] = tuple(_metrics(self._forms))

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return {**model(inputs), _SAMPLES: np.array(len(next(iter(inputs.values()))))}

    def reference(self, predictions: Arrays) -> Arrays:
        samples = int(predictions[_SAMPLES])
        return {f.name: f.rows(predictions[f.name], samples) for f in self._forms}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        samples, found = int(predictions[_SAMPLES]), dict[str, NDArray[Any]]()
        for form in self._forms:
            own = form.rows(predictions[form.name], samples)
            same = teacher[form.name][:, : own.shape[1]]  # the rest pads shorter batches of texts
            if same.shape != own.shape:
                raise ModelError(
                    f"the output {form.name!r} has {own.shape[1]} values for a sample, and the "
                    f"teacher's has {same.shape[1]}: they cannot be compared"
                )
            compared = _compare(own, same) if form.is_float else {"agrees": (own == same).mean(1)}
            if form.is_classes:
                compared["agrees"] = own.argmax(axis=1) == same.argmax(axis=1)
            found |= {f"{form.name}/{key}": array for key, array in compared.items()}
        return found

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        raise ModelError("without labels there is no hard loss: a student learns from the teacher")

    def check(self, targets: Arrays) -> None:
        """Accept anything: targets are not read."""


def _compare(own: NDArray[Any], same: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return for each sample the sums of squares and of products, [samples] each."""
    reference, model = np.asarray(same, np.float64), np.asarray(own, np.float64)
    known = np.isfinite(reference)
    broken = (known & ~np.isfinite(model)).any(axis=1)
    known &= np.isfinite(model)
    reference, model = np.where(known, reference, 0.0), np.where(known, model, 0.0)
    signal = np.square(reference).sum(axis=1)
    noise = np.square(model - reference).sum(axis=1)
    worst = 10.0 ** (MOST_DB / 10) * np.maximum(signal, 1.0)  # NaN where there was a number
    return {
        "signal": signal,
        "noise": np.where(broken, worst, noise),
        "power": np.square(model).sum(axis=1),
        "product": (reference * model).sum(axis=1),
    }


def decibel(signal: NDArray[Any], noise: NDArray[Any]) -> NDArray[np.float64]:
    """Return 10 log10(signal / noise), from -150 to 150; 150 where there is no noise."""
    floor = 10.0 ** (-MOST_DB / 10)
    share = np.maximum(signal, floor * noise) / np.where(noise > 0, noise, 1.0)
    found = np.where(noise > 0, 10 * np.log10(np.maximum(share, floor)), MOST_DB)
    return np.asarray(np.clip(found, -MOST_DB, MOST_DB))


def _ratio(reduced: Arrays, name: str) -> float:
    signal, noise = (np.asarray(reduced[f"{name}/{key}"].sum()) for key in ("signal", "noise"))
    return float(decibel(signal, noise))


def _worst(reduced: Arrays, name: str) -> float:
    signal, noise = reduced[f"{name}/signal"], reduced[f"{name}/noise"]
    return float(decibel(np.maximum(signal, _FAINT * signal.mean()), noise).min())


def _cosines(reduced: Arrays, name: str) -> NDArray[np.float64]:
    signal, power = reduced[f"{name}/signal"], reduced[f"{name}/power"]
    lengths = np.sqrt(signal * power)
    both_zero = np.where((signal == 0) & (power == 0), 1.0, 0.0)
    found = np.where(lengths > 0, reduced[f"{name}/product"] / np.maximum(lengths, 1e-300), 0.0)
    return np.asarray(np.where(lengths > 0, found, both_zero))


def _cosine(reduced: Arrays, name: str) -> float:
    return float(_cosines(reduced, name).mean())


def _agreement(reduced: Arrays, name: str) -> float:
    return float(100.0 * reduced[f"{name}/agrees"].mean())


def _agreements(reduced: Arrays, name: str) -> NDArray[np.float64]:
    return np.asarray(100.0 * reduced[f"{name}/agrees"])


def _metrics(forms: Sequence[Form]) -> list[Metric]:
    """Return the metrics of the worst output, and where there are several, of each."""
    found = _metrics_of(forms, "", floors=True)
    if len(forms) > 1:
        for form in forms:
            found += _metrics_of([form], f"{form.name} ", floors=False)
    return found


def _metrics_of(forms: Sequence[Form], prefix: str, *, floors: bool) -> list[Metric]:
    floats = [form.name for form in forms if form.is_float]
    answers = [form.name for form in forms if form.is_classes or not form.is_float]
    found = []
    if floats:
        found += [
            _metric(f"{prefix}SNR", "dB", _ratio, floats, floor="min_snr" if floors else None),
            _metric(f"{prefix}worst sample", "dB", _worst, floats),
            _metric(f"{prefix}cosine", "", _cosine, floats),
        ]
    if answers:
        floor: Floor | None = "min_agreement" if floors else None
        found.append(_metric(f"{prefix}agreement", "%", _agreement, answers, floor=floor))
    return found


def _metric(
    name: str, unit: str, of: Measure, outputs: Sequence[str], *, floor: Floor | None = None
) -> Metric:
    """Return a metric that is the least over some outputs."""
    per_sample = _PER_SAMPLE.get(of) if len(outputs) == 1 else None
    return Metric(
        name,
        unit,
        values=None if per_sample is None else partial(per_sample, name=outputs[0]),
        whole=lambda reduced: min(of(reduced, output) for output in outputs),
        is_percentage=unit == "%",
        against_teacher=True,
        floor=floor,
    )


Measure = Callable[[Arrays, str], float]
_PER_SAMPLE: Mapping[Measure, Callable[..., NDArray[np.float64]]] = {
    _cosine: _cosines,
    _agreement: _agreements,
}
"""Measures that are means over samples."""
