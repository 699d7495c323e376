"""A message names an option as the caller writes it."""

from __future__ import annotations

import inspect

import pytest

from edgekd.cli.compress import compress
from edgekd.recipe.from_flags import Asked
from edgekd.wording import (
    NAMES,
    Language,
    flag,
    option,
    rename,
    speaking,
    speaking_of,
    without_labels,
)

ALL = frozenset(NAMES.values())


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("flags", ("--size 224", "--skip-broken", "--set data.validation=0.3")),
        ("recipe", ("data.size = 224", "data.skip_broken = true", "data.validation = 0.3")),
        ("python", ("size=224", "skip_broken=True", "changes=['data.validation=0.3']")),
    ],
)
def test_an_option_in_each_language(language: Language, said: tuple[str, ...]) -> None:
    with speaking(language, names=ALL):
        found = (
            option("data.size", 224),
            option("data.skip_broken", True),
            option("data.validation", 0.3),
        )
    assert found == said


def test_without_a_call_it_is_the_recipe_and_calls_end() -> None:
    with speaking("flags", names=ALL):
        pass
    assert option("data.size") == "data.size"


def test_what_is_beside_a_recipe_is_named_as_the_caller_writes_it() -> None:
    assert option("out") == "--out"
    with speaking("python", names=ALL), speaking("recipe"), speaking_of(["prune"]):
        assert (option("out"), option("data.size", 9), flag("quick")) == (
            "out",
            "data.size = 9",
            "quick",
        )


def test_a_flag_that_this_command_lacks_is_set() -> None:
    with speaking("flags", names={"size"}):
        assert option("task", "regression") == "--set 'task=\"regression\"'"
        assert rename("budget.max_drop") == "budget.max_drop"


def test_the_option_of_a_step_has_its_place() -> None:
    with speaking("flags"), speaking_of(["distill", "quantize"]):
        assert option("quantize.samples", 64) == "--set steps.1.samples=64"
    with speaking("recipe"), speaking_of(["quantize"]):
        assert option("quantize.samples", 64) == "steps[0].samples = 64"


def test_every_name_is_a_flag_of_compress_or_a_keyword() -> None:
    flags, keywords = set(inspect.signature(compress).parameters), set(Asked.__annotations__)
    assert flags | keywords | {"model", "data"} >= ALL
    assert keywords - {"labels"} <= flags, "a keyword without a flag"


def test_labels_are_left_out_in_the_language_of_the_call() -> None:
    assert without_labels() == 'task = "reference"'
    with speaking("flags", names=["no_labels"]):
        assert without_labels() == "--no-labels"
    with speaking("python", names=["no_labels"]):
        assert without_labels() == "no_labels=True"
