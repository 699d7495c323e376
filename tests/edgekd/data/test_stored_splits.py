"""Splits are made once for a run folder; what is stored there is used, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.stored_splits import FILE, SplitOptions, run_splits, write_splits
from edgekd.errors import DataError
from edgekd.pipeline.run_folder import claim
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.recipe.recipe import load_recipe

Maker = Callable[..., Dataset]
OPTIONS = SplitOptions(validation=4, test=4, calibration=6, seed=0)
NEW_FOLDER = r"remove the file.*or give a new run folder with --out"


@pytest.fixture
def dataset(images: Maker) -> Dataset:
    return images(20, 20)


def store(folder: Path, dataset: Dataset, **changes: object) -> dict[str, Any]:
    """Write the splits of `dataset` with some parts replaced; return what is in the file."""
    write_splits(folder, OPTIONS.make(dataset), OPTIONS, dataset)
    content: dict[str, Any] = {**json.loads((folder / FILE).read_text()), **changes}
    (folder / FILE).write_text(json.dumps(content))
    return content


def swapped(content: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    """Exchange the first sample of two splits with the first of equal class of the other."""
    return {a: [content[b][0], *content[a][1:]], b: [content[a][0], *content[b][1:]]}


def test_stored_splits_are_used_and_not_made_again(dataset: Dataset, tmp_path: Path) -> None:
    content = store(tmp_path, dataset)
    other = swapped(content, "train", "validation")
    other["calibration"] = other["train"][:6]
    store(tmp_path, dataset, **other)
    splits, remark = run_splits(tmp_path, OPTIONS, dataset)
    assert splits.to_json() == {**OPTIONS.make(dataset).to_json(), **other}
    assert splits.validation.tolist() != OPTIONS.make(dataset).validation.tolist()
    assert not remark


def test_changed_options_make_new_splits_and_say_so(dataset: Dataset, tmp_path: Path) -> None:
    store(tmp_path, dataset)
    asked = replace(OPTIONS, validation=0.2, seed=3)
    splits, remark = run_splits(tmp_path, asked, dataset)
    assert splits.to_json() == asked.make(dataset).to_json()
    assert "validation is now 0.2 (it was 4) and seed is now 3 (it was 0)" in remark
    write_splits(tmp_path, splits, asked, dataset)
    assert run_splits(tmp_path, asked, dataset)[1] == ""


def test_a_recipe_with_other_splits_is_not_ignored_in_its_old_folder(
    job: Path, tmp_path: Path, listener: Any
) -> None:
    prints = set()
    for validation in (0.3, 0.4, 0.4):
        recipe = load_recipe(job / "bars.toml", changes=[f"data.validation={validation}"])
        bench = set_up(recipe, root=job, folder=tmp_path, progress=listener, export=False)
        assert len(bench.splits.validation) == 600 * validation
        claim(bench, command="")
        prints.add(bench.data.fingerprint("training"))
    remarks = [text for text in listener.said if "splits" in text]
    assert len(remarks) == 1
    assert "validation is now 0.4 (it was 0.3)" in remarks[0]
    assert len(prints) == 2, "stages of the old splits are used again"


def test_a_default_that_is_written_out_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    default = replace(OPTIONS, calibration=None)
    write_splits(tmp_path, default.make(dataset), default, dataset)
    assert run_splits(tmp_path, replace(OPTIONS, calibration=32), dataset)[1] == ""


def test_splits_of_other_data_are_refused(images: Maker, dataset: Dataset, tmp_path: Path) -> None:
    store(tmp_path, dataset)
    with pytest.raises(DataError, match=r"data is now .* new run folder with --out"):
        run_splits(tmp_path, OPTIONS, images(21, 20))


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"dataset": "x", "train": ["a"]}', "\xff"])
def test_a_damaged_file_is_refused(dataset: Dataset, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=rf"cannot be read.*{NEW_FOLDER}"):
        run_splits(tmp_path, OPTIONS, dataset)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: {"test": [*c["test"][1:], 40]}, r"test contains sample 40.*40 samples"),
        (lambda c: {"train": [-1, *c["train"][1:]]}, r"train contains sample -1"),
        (lambda c: {"test": [*c["test"], c["train"][0]]}, r"sample \d+ is in train and in test"),
        (lambda c: {"train": [*c["train"], c["train"][0]]}, r"sample \d+ is in train twice"),
        (lambda c: {"validation": c["validation"][1:]}, r"sample \d+ is in no split"),
        (lambda c: {"calibration": c["test"]}, r"calibration sample \d+ is not in train"),
        (lambda c: {"calibration": []}, r"calibration is empty"),
        (lambda c: {"train": [1.5]}, r"train is not a list of whole numbers"),
        (lambda c: {"test": None}, r"test is not a list of whole numbers"),
    ],
)
def test_splits_that_do_not_fit_the_data_are_refused(
    dataset: Dataset,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    reason: str,
) -> None:
    store(tmp_path, dataset, **change(store(tmp_path, dataset)))
    with pytest.raises(DataError, match=rf"{reason}.*{NEW_FOLDER}"):
        run_splits(tmp_path, OPTIONS, dataset)


def test_what_the_source_fixes_stays_where_it_is(images: Maker, tmp_path: Path) -> None:
    fixed = {"train": np.arange(28), "test": np.arange(28, 34)}  # 34 to 39 are not used
    dataset = replace(images(20, 20), fixed=fixed)
    content = store(tmp_path, dataset)
    assert run_splits(tmp_path, OPTIONS, dataset)[0].to_json()["test"] == content["test"]
    store(tmp_path, dataset, train=[*content["train"], 39])
    with pytest.raises(DataError, match="sample 39 is used, and the source leaves it out"):
        run_splits(tmp_path, OPTIONS, dataset)
    store(tmp_path, dataset, **swapped(content, "validation", "test"))
    with pytest.raises(DataError, match=r"is in the test split of the source, and not here"):
        run_splits(tmp_path, OPTIONS, dataset)


def test_a_run_uses_its_stored_splits(job: Path, tmp_path: Path) -> None:
    recipe = load_recipe(job / "bars.toml")

    def opened() -> Any:
        return set_up(recipe, root=job, folder=tmp_path, progress=Silent(), export=False)

    claim(opened(), command="")
    content = json.loads((tmp_path / FILE).read_text())
    used = next(
        i for i, index in enumerate(content["train"]) if index not in content["calibration"]
    )
    train, test = content["train"], content["test"]
    train[used], test[0] = test[0], train[used]
    (tmp_path / FILE).write_text(json.dumps(content))
    assert opened().splits.to_json() == {name: content[name] for name in vars(opened().splits)}
    test[0] = train[used]
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match="is in train and in test"):
        opened()
