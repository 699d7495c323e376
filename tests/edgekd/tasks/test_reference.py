from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.errors import ModelError
from edgekd.tasks.reference import (
    MOST_DB,
    MOST_VALUES,
    Reference,
    find_forms,
    without_constant_answers,
)

Outputs = Mapping[str, NDArray[Any]]


def outputs(samples: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """A model with outputs of many shapes, float32 and int64."""
    draw = np.random.default_rng(seed).normal
    return {
        "logits": draw(size=(samples, 5)).astype(np.float32),
        "pooled": draw(size=(samples, 5, 1, 1)).astype(np.float32),
        "row": draw(size=(samples, 1, 5)).astype(np.float32),
        "map": draw(size=(samples, 4, 6, 6)).astype(np.float32),
        "score": draw(size=(samples, 1)).astype(np.float32),
        "state": draw(size=(2, samples, 7)).astype(np.float32),
        "anchors": np.arange(8, dtype=np.float32).reshape(4, 2),
        "count": np.arange(samples),
    }


def judged(teacher: Outputs, model: Outputs, *, samples: int) -> dict[str, float]:
    """Return every metric of `model`."""
    forms = find_forms(
        *({n: a for n, a in outputs(k).items() if n in teacher} for k in (2, 3)), sizes=(2, 3)
    )
    task = Reference(forms)
    inputs = {"x": np.zeros((samples, 1))}
    reference = task.reference(task.predict(lambda _: teacher, inputs))
    reduced = task.reduce(task.predict(lambda _: model, inputs), {}, reference)
    assert {len(array) for array in reduced.values()} == {samples}
    return {metric.name: metric.of(reduced) for metric in task.metrics}


def test_the_axis_of_the_samples_and_classes_are_found() -> None:
    forms = {form.name: form for form in find_forms(outputs(2), outputs(3), sizes=(2, 3))}
    assert {name: form.axis for name, form in forms.items()} == {
        **dict.fromkeys(("logits", "pooled", "row", "map", "score", "count"), 0),
        "state": 1,
        "anchors": None,
    }
    assert [n for n, form in forms.items() if form.is_classes] == ["logits", "pooled", "row"]
    signals = Reference(tuple(forms.values())).signals
    assert [name for name, kind in signals.items() if kind == "classes"] == ["logits"]


def test_equal_outputs_are_equal_and_a_tenth_of_noise_is_20_db() -> None:
    teacher = outputs(6)
    found = judged(teacher, teacher, samples=6)
    assert found["SNR"] == found["worst sample"] == MOST_DB
    assert found["cosine"] == pytest.approx(1.0)
    assert found["agreement"] == 100.0
    found = judged(teacher, {**teacher, "map": teacher["map"] * np.float32(1.1)}, samples=6)
    assert found["SNR"] == found["map SNR"] == pytest.approx(20.0, abs=1e-3)
    assert found["map cosine"] == pytest.approx(1.0)
    assert found["logits SNR"] == MOST_DB


def test_one_broken_sample_is_the_worst() -> None:
    teacher = {"logits": outputs(50)["logits"]}
    model = {"logits": teacher["logits"].copy()}
    model["logits"][7] *= -1
    found = judged(teacher, model, samples=50)
    assert found["worst sample"] == pytest.approx(-6.02, abs=0.01)
    assert found["agreement"] == 98.0
    assert found["SNR"] > found["worst sample"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_became_nan_is_the_worst_and_one_that_was_is_left_out(value: float) -> None:
    teacher = {"map": outputs(4)["map"]}
    model = {"map": teacher["map"].copy()}
    model["map"][0, 0, 0, 0] = value
    assert judged(teacher, model, samples=4)["SNR"] < -100
    assert judged(model, teacher, samples=4)["SNR"] == MOST_DB


def test_whole_numbers_agree_or_not() -> None:
    teacher, model = {"count": np.arange(4)}, {"count": np.array([0, 1, 2, 9])}
    assert judged(teacher, model, samples=4) == {"agreement": 75.0}


def test_outputs_of_zeros_have_finite_figures() -> None:
    teacher = {"map": np.zeros((3, 4, 6, 6), np.float32)}
    assert judged(teacher, teacher, samples=3)["SNR"] == MOST_DB
    found = judged(teacher, {"map": teacher["map"] + np.float32(1)}, samples=3)
    assert found["SNR"] == found["worst sample"] == -MOST_DB
    assert found["cosine"] == 0.0


def test_of_a_large_output_as_many_values_are_compared() -> None:
    large = {"map": np.zeros((2, 1, 300, 300), np.float32)}
    (form,) = find_forms(large, {"map": np.zeros((3, 1, 300, 300))}, sizes=(2, 3))
    assert form.rows(large["map"], 2).shape == (2, MOST_VALUES)


def test_an_output_with_one_answer_for_all_has_no_classes() -> None:
    forms = find_forms(*({"logits": outputs(n)["logits"]} for n in (2, 3)), sizes=(2, 3))
    varied, constant = outputs(40)["logits"], np.tile([[0.0, 9.0, 1.0, 2.0, 3.0]], (40, 1))
    assert without_constant_answers(forms, [{"logits": varied}]) == forms
    (form,) = without_constant_answers(forms, [{"logits": constant}])
    assert "agreement" not in [metric.name for metric in Reference([form]).metrics]


def test_what_is_not_numbers_is_refused() -> None:
    text = {"words": np.array(["a", "b"])}
    with pytest.raises(ModelError, match="output 'words' is not an array of numbers"):
        find_forms(text, text, sizes=(2, 2))
