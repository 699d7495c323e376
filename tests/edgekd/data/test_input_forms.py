"""Whole numbers in the form of a file's input are that input, and images stay images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.source import Source, open_source
from edgekd.exporters.file_facts import Entry
from edgekd.teacher.file_inputs import match_arrays

Shape = tuple[int | str, ...]


def open_for(
    entry: Entry, own: tuple[int, ...], folder: Path, *, name: str = "signal", labelled: bool
) -> Dataset:
    values = np.random.default_rng(0).integers(0, 256, (6, *own), dtype=np.uint8)
    arrays: dict[str, Any] = {name: values}
    if labelled:
        arrays["y"] = np.array([0, 1, 2, 0, 1, 2])
    np.savez(folder / "d.npz", **arrays)
    return open_source(Source(path="d.npz"), root=folder, inputs=[entry])


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize(
    ("shape", "own"),
    [
        (("n", 2, 128), (2, 128)),
        (("n", "c", "t"), (2, 128)),
        ((1, 9), (9,)),
        (("n", 3, 8, 9), (3, 8, 9)),
        (("n", 3, 8, 3), (3, 8, 3)),  # by its name: as an image its axes would be turned
        (("n", 2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_whole_numbers_of_the_files_form_are_its_input(
    shape: Shape, own: tuple[int, ...], dtype: str, labelled: bool, tmp_path: Path
) -> None:
    entry = Entry("signal", dtype, shape)
    dataset = open_for(entry, own, tmp_path, labelled=labelled)
    assert dataset.kind == "array"
    assert dataset.samples["signal"].shape == (6, *own)
    assert bool(dataset.targets) == labelled
    sample = {"signal": dataset.samples["signal"][:1]}
    assert match_arrays([entry], sample, file="m.onnx") == (("signal",), [])


@pytest.mark.parametrize(
    ("shape", "dtype", "own", "name"),
    [
        (("n", 8, 9, 3), "uint8", (8, 9, 3), "signal"),  # as an image it becomes the same tensor
        (("n", "h", "w", "c"), "uint8", (8, 9, 3), "signal"),
        (("n", 3, 8, 3), "uint8", (3, 8, 3), "x"),  # another name
        (("n", 1, 8, 9), "float32", (8, 9), "signal"),
        (("n", 8, 9), "float32", (8, 9), "signal"),  # how bytes are scaled is not known
        (("n", 8, 9), "?", (8, 9), "signal"),
    ],
)
def test_other_bytes_stay_images(
    shape: Shape, dtype: str, own: tuple[int, ...], name: str, tmp_path: Path
) -> None:
    entry = Entry("signal", dtype, shape)
    assert open_for(entry, own, tmp_path, name=name, labelled=False).kind == "image"


def test_a_function_gives_them_too(tmp_path: Path) -> None:
    (tmp_path / "d.py").write_text(
        "import numpy as np\n"
        "def signals():\n"
        "    return {'signal': np.zeros((6, 2, 128), np.uint8)}, np.arange(6) % 2\n"
    )
    entry = Entry("signal", "uint8", ("n", 2, 128))
    dataset = open_source(Source(call="d.py:signals"), root=tmp_path, inputs=[entry])
    assert dataset.kind == "array"
    np.save(tmp_path / "x.npy", np.zeros((6, 2, 128), np.uint8))
    assert open_source(Source(path="x.npy"), root=tmp_path, inputs=[entry]).kind == "array"
