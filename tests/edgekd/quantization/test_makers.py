"""Laws of the registry: every variant that a recipe may ask for has a maker of its own."""

from __future__ import annotations

from typing import get_args

from edgekd.artifact import FP32, Variant
from edgekd.quantization.makers import MAKERS
from edgekd.quantization.step import Quantize


def test_a_recipe_may_ask_for_exactly_what_has_a_maker() -> None:
    asked = Quantize.model_json_schema()["properties"]["variants"]["items"]["enum"]
    assert set(asked) == set(MAKERS) <= set(get_args(Variant)) - {FP32}
