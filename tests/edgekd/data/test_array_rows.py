from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError
from edgekd.tasks.task import Target


def opened(folder: Path, wanted: Target, arrays: dict[str, Any], **options: Any) -> Dataset:
    np.savez(folder / "a.npz", **arrays)
    spec = Source.model_validate({"path": "a.npz", **options})
    return open_source(spec, root=folder, wanted=wanted)


def test_samples_without_a_target_can_be_left_out(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    y = np.array([[0, 1], [np.nan, 1], [2, 3], [4, 5], [6, np.inf], [8, 9]])
    arrays = {"x_train": x[:4], "y_train": y[:4], "x_test": x[4:], "y_test": y[4:]}
    with pytest.raises(DataError, match=r"first in sample 1.*skip_broken"):
        opened(tmp_path, "value", arrays)
    found = opened(tmp_path, "value", arrays, skip_broken=True)
    assert found.targets["value"].tolist() == [[0, 1], [2, 3], [4, 5], [8, 9]]
    assert found.samples["x"][:, 0].tolist() == [0, 4, 6, 10]
    assert {name: rows.tolist() for name, rows in found.fixed.items()} == {
        "train": [0, 1, 2],
        "test": [3],
    }
    assert found.skipped == ("sample 1", "sample 4")


def test_pairs_become_identities(tmp_path: Path) -> None:
    a = np.array([[1.0], [2.0], [3.0], [1.0]])
    b = np.array([[10.0], [20.0], [30.0], [40.0]])
    found = opened(tmp_path, "identity", {"anchor": a, "positive": b})
    assert found.samples["x"][:, 0].tolist() == [1, 2, 3, 1, 10, 20, 30, 40]
    label = found.targets["label"].tolist()
    assert label[0] == label[3] == label[4] == label[7]
    assert label[1] == label[5] != label[0]
    assert len(set(label)) == 3
    same = opened(tmp_path, "identity", {"a": a, "b": b, "y": np.array([1, 0, 1, 0])})
    label = same.targets["label"].tolist()
    assert label[1] != label[5]
    assert label[2] == label[6]
    assert label[0] == label[3] == label[4] != label[7]
    texts = {"a": np.array(["red", "blue"]), "b": np.array(["rot", "blau"])}
    words = opened(tmp_path, "identity", texts)
    assert words.kind == "text"
    assert words.samples["text"].tolist() == ["red", "blue", "rot", "blau"]
    two = opened(tmp_path, "label", {"a": a, "b": b, "y": np.array([1, 0, 1, 0])})
    assert set(two.samples) == {"a", "b"}
