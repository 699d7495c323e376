"""The columns of a table keep their names, whoever reads it, and in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.array_facts import Column
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import choose_preprocess
from edgekd.data.objects import collect, hash_collected
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError
from edgekd.user_code import Given, giving

HEATING = "area;outside;kW\n222,52;-0,69;5,3\n100,5;12,25;2,1\n180;-18,89;9,75\n"


@dataclass
class Frame:
    """The part of a pandas frame that is read."""

    values: dict[str, NDArray[Any]]

    @property
    def columns(self) -> list[str]:
        return list(self.values)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values[name]

    def to_numpy(self) -> NDArray[Any]:
        return np.stack(list(self.values.values()), axis=1)


def test_a_table_tells_its_columns_their_ranges_in_training_and_the_target(tmp_path: Path) -> None:
    (tmp_path / "heating.csv").write_text(HEATING)
    spec = Source.model_validate({"path": "heating.csv", "label_column": "kW"})
    dataset = open_source(spec, root=tmp_path)
    preprocess = choose_preprocess(InputSpec(), dataset, np.array([0, 1]), root=tmp_path)
    assert isinstance(preprocess, ArrayPreprocess)
    assert preprocess.targets == ("kW",)
    assert preprocess.facts[0].columns == (
        Column("area", 100.5, 222.52),
        Column("outside", -0.69, 12.25),
    )


def test_equal_numbers_under_other_names_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEATING)
    (tmp_path / "b.csv").write_text(HEATING.replace("area", "floor"))
    table = {"label_column": "kW"}
    found = [
        open_source(Source.model_validate({"path": name, **table}), root=tmp_path)
        for name in ("a.csv", "b.csv")
    ]
    assert found[0].fingerprint != found[1].fingerprint
    mixed = {"path": "a.csv", **table, "mix": [{"path": "b.csv", **table}]}
    with pytest.raises(DataError, match="has the columns floor, outside and the main source area"):
        open_source(Source.model_validate(mixed), root=tmp_path)


def test_a_frame_keeps_the_names_of_its_columns() -> None:
    values = {name: np.array([1.0, 2.5]) for name in ("area", "outside", "label")}
    parts = collect(Frame(values), where="data")
    assert (parts.columns, parts.targets) == (("area", "outside"), ("label",))
    targets = Frame({"kW": values["label"]})
    both = collect((Frame({"area": values["area"]}), targets), where="data")
    assert (both.columns, both.targets) == (("area",), ("kW",))
    given = Given("data", lambda: both, hash_collected(both))
    with giving((given,)):
        dataset = open_source(Source.model_validate({"call": given.spec}), root=Path())
    assert dataset.columns == {"x": ("area",), "value": ("kW",)}


def test_splits_with_their_columns_in_another_order_are_refused() -> None:
    values = {name: np.array([1.0, 2.5]) for name in ("a", "b", "y")}
    turned = {name: values[name] for name in ("b", "a", "y")}
    with pytest.raises(DataError, match="the columns a, b and b, a; give all the same"):
        collect({"train": Frame(values), "test": Frame(turned)}, where="data")
