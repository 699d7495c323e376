"""The values of flags that stand for several keys."""

from __future__ import annotations

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.flag_values import choose_steps, parse_normalize, parse_size
from edgekd.wording import NAMES, speaking


@pytest.mark.parametrize(
    ("text", "size"),
    [("224", 224), (96, 96), ("224x320", [224, 320]), ((8, 9), [8, 9]), (" 64 X 48px", [64, 48])],
)
def test_a_size(text: object, size: object) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["big", "224x224x3", "", -3, 2.5, None, (1, 2, 3), "1e3"])
def test_what_is_no_size(text: object) -> None:
    with speaking("flags", names=NAMES.values()), pytest.raises(RecipeError, match="--size 224"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ImageNet", ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))),
        ("0.485,0.456,0.406,0.229,0.224,0.225", parse_normalize("imagenet")),
        (((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), parse_normalize("imagenet")),
        ("0..1", (0.0, 255.0)),
        ("-1..1", (127.5, 127.5)),
        ("0.5, 0.5", (127.5, 127.5)),
        ("127.5 127.5", (127.5, 127.5)),
        ("0,255", (0.0, 255.0)),
        ("none", (0.0, 1.0)),
    ],
)
def test_a_normalization(text: object, found: object) -> None:
    assert parse_normalize(text) == found


@pytest.mark.parametrize("text", ["imagnet", "0.5", "1,2,3", "0.5,0", "0.5,-1", "", None, 3])
def test_what_is_no_normalization(text: object) -> None:
    with speaking("flags", names=NAMES.values()), pytest.raises(RecipeError, match="imagenet, 0"):
        parse_normalize(text)


def test_numbers_that_may_mean_two_scales_are_asked_for() -> None:
    with (
        speaking("flags", names=NAMES.values()),
        pytest.raises(RecipeError, match=r"--normalize 0\.\.1 or --normalize none"),
    ):
        parse_normalize("0,1")


def test_steps() -> None:
    assert choose_steps() == ("distill", "prune", "quantize")
    assert choose_steps(only="quantize, prune") == ("prune", "quantize")
    assert choose_steps(no_distill=True) == ("prune", "quantize")
    assert choose_steps(no_quantize=True) == ("distill", "prune")
    with pytest.raises(RecipeError, match="did you mean quantize"):
        choose_steps(only="quantise")
    with pytest.raises(RecipeError, match="leave no step"):
        choose_steps(only="prune", no_prune=True)
