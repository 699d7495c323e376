"""What is wrong with a recipe is said at once, all of it, with the way out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import build_schema, parse_recipe


def table(**changes: Any) -> dict[str, Any]:
    """A small valid recipe."""
    base: dict[str, Any] = {
        "name": "tiny",
        "data": {"path": "digits"},
        "model": {"build": "net.py:teacher", "weights": "w.pt"},
        "steps": [
            {"name": "distill", "student": {"build": "net.py:student"}},
            {"name": "prune"},
            {"name": "quantize"},
        ],
    }
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": []}, "stepz is not a known key; did you mean 'steps'?"),
        ({"seed": "one"}, "seed: got 'one', expected a whole number"),
        ({"budget": {"max_drop": -1}}, "budget.max_drop: got -1, expected at least 0"),
        ({"budget": {"max_latency": "8 minutes"}}, "'8 minutes' is not a time"),
        ({"name": "No Spaces"}, "name: got 'No Spaces', expected small letters"),
        ({"steps": [{"name": "distil"}]}, "'distil'"),
        (
            {"steps": [{"name": "prune", "ratioo": 0.5}]},
            r"steps\[0\]\.ratioo is not a known key; did you mean 'ratio'",
        ),
        (
            {"steps": [{"name": "prune", "ratio": 1.5}]},
            r"steps\[0\].ratio: got 1.5, expected a number below 1",
        ),
        (
            {"steps": [{"name": "quantize"}, {"name": "prune"}]},
            r"steps\[1\] \(prune\) trains a network, but steps\[0\] \(quantize\) gives an ONNX",
        ),
        (
            {"model": {"onnx": "m.onnx"}, "steps": [{"name": "prune"}]},
            r"steps\[0\] \(prune\) starts from a network, but \[model\] is a bare ONNX file",
        ),
        ({"model": {"build": "net.py:teacher"}}, "needs weights .*or .model.train. to train it"),
        ({"model": {"build": "n:t", "wieghts": "w.pt"}}, "model.wieghts is not a known key"),
        (
            {"steps": [{"name": "distill", "student": {"build": "n:s", "from": "teacher"}}]},
            "either build = '...' or from = 'teacher'",
        ),
        (
            {"steps": [{"name": "distill", "student": {"from": "teacher", "weights": "w.pt"}}]},
            "weights goes with build; a student cut from the teacher has the teacher's",
        ),
        ({"data": {}}, "exactly one of path, name and call"),
        ({"export": {"opset": 21}}, "export.opset: got 21, expected at most 20"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(table(**changes), origin="r.toml")


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(table(seed=-1, stepz=[], budget={"max_drop": -1}), origin="r.toml")
    assert all(word in str(caught.value) for word in ("r.toml", "seed", "stepz", "max_drop"))


def fault(*changes: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(changed(table(), changes), origin="r.toml")
    return str(caught.value).removeprefix("r.toml: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gate=false", "gate is not a known key; gate belongs in [[steps]]"),
        ("model.gate=false", "model.gate is not a known key; gate belongs in [[steps]]"),
        ("data.crop=4", "data.crop is not a known key; crop belongs in [data.augment]"),
        ("budget.seed=1", "budget.seed is not a known key; seed belongs at the top of the recipe"),
        ("model.option={}", "model.option is not a known key; did you mean 'options'?"),
        ("steps.0.student.fro=1", "steps[0].student.fro is not a known key; did you mean 'from'?"),
        (
            "steps.1.epochs=3",
            "steps[1].epochs is not a known key; "
            "epochs belongs in [model.train], [steps.train] or [steps.recover]",
        ),
        (
            "steps.2.ratio=0.5",
            "steps[2].ratio is not a known key; ratio belongs in [[steps]] with name = 'prune'",
        ),
        (
            "wieghts='w'",
            "wieghts is not a known key; weights belongs in [model] or [steps.student]",
        ),
        ("xyz=1", "xyz is not a known key"),
    ],
)
def test_a_key_in_the_wrong_table_hears_where_it_belongs(change: str, message: str) -> None:
    assert fault(change) == message


def test_no_key_is_suggested_where_it_was_typed() -> None:
    """For every key of a recipe at every level: the level that was typed does not know it."""
    keys = {
        key
        for part in (build_schema(), *build_schema()["$defs"].values())
        for key in part.get("properties", {})
    }
    assert len(keys) > 60
    for level in ("", "budget.", "steps.2.", "steps.0.student."):
        for key in keys:
            with suppress(RecipeError, TypeError):
                parse_recipe(changed(table(), [f"{level}{key}={{}}"]), origin="r.toml")
                continue
            said = fault(f"{level}{key}={{}}")
            assert f"did you mean {key!r}" not in said


def test_a_wrong_model_hides_no_other_fault() -> None:
    said = fault("model.wieghts=1", "seed=-1")
    assert "model.wieghts" in said
    assert "seed: " in said
