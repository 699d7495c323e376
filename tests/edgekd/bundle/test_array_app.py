"""The loader of a bundle of arrays: one sample from memory, as the card shows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.bundle.write import Contents, write
from edgekd.data.array_facts import describe_arrays
from edgekd.data.preprocess import ArrayPreprocess, write_preprocess

ROOMS = ("area", "built", "outside", "wind", "persons")
MORE = """
row = np.arange(5.0)
answers = []
for x in (row, row[None], row.tolist(), dict(zip(reversed(ROOMS), reversed(row), strict=True))):
    found = load.run(session, load.to_inputs({"x": x, "text": row}))
    answers.append(found["y"][0].tolist())
for wrong in ({"x": np.zeros((2, 5)), "text": row}, {"x": {"area": 1}, "text": row}, {"x": row}):
    try:
        load.to_inputs(wrong)
    except ValueError as error:
        answers.append(str(error))
try:
    load.main(["heating.csv"])
except SystemExit as error:
    answers.append(str(error))
print(json.dumps(answers))
"""


def table_bundle(folder: Path, contents: Contents) -> str:
    """Write a bundle whose `x` are the columns of a table; return its card."""
    samples = {"x": np.arange(20.0, dtype=np.float32).reshape(4, 5)}
    facts = describe_arrays(samples, np.arange(3), {"x": ROOMS})
    preprocess = ArrayPreprocess(names=("x", "text"), facts=facts, targets=("kW",))
    write_preprocess(contents.artifact, preprocess)
    write(folder, replace(contents, fixed_shape=False))
    return (folder / "MODEL_CARD.md").read_text(encoding="utf8")


def test_the_call_that_the_card_shows_runs_and_takes_a_row_in_any_form(
    make_stage: Callable[[Path, str], Contents], tmp_path: Path
) -> None:
    card = table_bundle(tmp_path / "bundle", make_stage(tmp_path / "stage", "array"))
    shown = re.search(r"numbers in memory:\n\n```python\n(.+?)```", card, re.DOTALL)
    assert shown
    script = f"{shown[1]}\nimport json\nROOMS = {ROOMS}\n{MORE}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("value [0. 1. 2. 3. 4.]")
    *answers, shape, columns, name, csv = json.loads(done.stdout.splitlines()[-1])
    assert answers == [[0, 2, 4, 6, 8]] * 4
    assert "the shape [2, 5]; the model takes one sample, [5], or [1, 5] with the batch" in shape
    assert columns == "'x' lacks the columns built, outside, wind, persons"
    assert name == "'text' is missing; give x, text"
    assert csv.startswith("heating.csv: one sample is taken, as .npy or .npz")
    assert "the values of area, built, outside, wind, persons, in this order" in csv


def test_the_card_and_preprocess_json_name_the_columns_in_order(
    make_stage: Callable[[Path, str], Contents], tmp_path: Path
) -> None:
    card = table_bundle(tmp_path / "bundle", make_stage(tmp_path / "stage", "array"))
    assert "1. `area`: 0 to 10\n2. `built`: 1 to 11\n3. `outside`: 2 to 12\n" in card
    assert "`x`: float32 [5], the columns below in their order, unit not stated." in card
    assert "The answer stands for the column `kW`." in card
    about = json.loads((tmp_path / "bundle" / "preprocess.json").read_text())
    assert about["targets"] == ["kW"]
    assert [column["name"] for column in about["facts"][0]["columns"]] == list(ROOMS)
