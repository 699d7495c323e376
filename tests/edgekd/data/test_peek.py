"""Names alone tell whether there are labels, or do not tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.peek import peek_labels
from edgekd.data.source import Source, open_source

Painter = Callable[..., Path]


def test_folders_and_arrays_tell_it_as_they_are_opened(paint: Painter, tmp_path: Path) -> None:
    folder = paint("a/0.png")
    x = np.zeros((9, 3), np.float32)
    arrays: dict[str, dict[str, Any]] = {
        "bare": {"x": x},
        "two": {"left": x, "right": x},
        "both": {"x": x, "Label": np.arange(9) % 3},
        "parts": {"x_train": x, "y_train": np.arange(9) % 3, "x_test": x, "y_test": np.zeros(9)},
    }
    for name, content in arrays.items():
        np.savez(tmp_path / name, **content)
    np.save(tmp_path / "rows.npy", x)
    names = [folder.name, *(f"{name}.npz" for name in arrays), "rows.npy"]
    found: list[bool | None] = []
    for name in [*names, folder.name]:
        if len(found) == len(names):
            paint("b/0.png")
        source = Source(path=str(folder if name == folder.name else tmp_path / name))
        found.append(peek_labels(source, root=Path()))
        assert found[-1] == bool(open_source(source, root=Path()).targets), name
    assert found == [False, False, False, True, True, False, True]


@pytest.mark.parametrize("name", ["rows.csv", "absent.npz", "absent"])
def test_where_the_names_do_not_tell_nothing_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", encoding="utf8")
    assert peek_labels(Source(path=name), root=tmp_path) is None
