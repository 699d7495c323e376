from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.data.dataset import Dataset
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError
from edgekd.progress import Silent
from edgekd.tasks.task import Target


class Listener(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures, each brighter than the one before."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    for i in range(4):
        path = tmp_path / "data" / "images" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 6), 50 * i, np.uint8)).save(path)
    return tmp_path / "data"


def opened(folder: Path, wanted: Target, *lines: str, **options: Any) -> tuple[Dataset, str]:
    (folder / "table.csv").write_text("\n".join(lines))
    spec = Source.model_validate({"path": "data/table.csv", **options})
    heard = Listener()
    return open_source(spec, root=folder.parent, wanted=wanted, progress=heard), "".join(heard.said)


def test_a_table_names_pictures_and_numbers(folder: Path) -> None:
    lines = ("file;sex;age;split", "2.png;f;30,5;train", "0.png;m;7;test")
    found, said = opened(folder, "value", *lines, label_column="age")
    assert found.samples["image"][:, 0, 0, 0].tolist() == [100, 0]
    assert found.targets["value"].tolist() == [30.5, 7]
    assert {name: rows.tolist() for name, rows in found.fixed.items()} == {
        "train": [0],
        "test": [1],
    }
    assert [path.name for path in found.files] == ["2.png", "0.png"]
    assert "the column 'file' names the pictures" in said


def test_columns_of_0_and_1_are_the_labels_of_pictures(folder: Path) -> None:
    lines = ("image,sun,sea", "images/0.png,1,0", "images/3.png,1,1")
    found, said = opened(folder, "labels", *lines)
    assert found.targets["labels"].tolist() == [[1, 0], [1, 1]]
    assert found.labels == ("sun", "sea")
    assert "its columns of 0 and 1 are labels: sun, sea" in said


def test_pictures_that_are_missing_or_broken_can_be_left_out(folder: Path) -> None:
    (folder / "images" / "1.png").write_bytes(b"broken")
    lines = ("path,label", "0.png,a", "9.png,b", "1.png,b", "3.png,b")
    with pytest.raises(
        DataError, match=r"names the picture '9\.png', which is not in .*skip_broken"
    ):
        opened(folder, "label", *lines)
    found, _ = opened(folder, "label", *lines, skip_broken=True)
    assert found.targets["label"].tolist() == [0, 1]
    assert found.samples["image"][:, 0, 0, 0].tolist() == [0, 150]


def test_folders_named_by_numbers_are_numbers_to_predict(folder: Path) -> None:
    for i, age in enumerate(("23", "4,5")):
        path = folder / "ages" / age / "a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((6, 6), i, np.uint8)).save(path)
    found = open_source(Source(path="data/ages"), root=folder.parent, wanted="value")
    assert found.targets["value"].tolist() == [23, 4.5]
    classes = open_source(Source(path="data/ages"), root=folder.parent, wanted="label")
    assert classes.labels == ("23", "4,5")


def test_rows_of_two_texts_are_pairs(folder: Path) -> None:
    lines = ("sentence1\tsentence2\tlabel", "red\trot\t1", "blue\tgrün\t0")
    found, said = opened(folder, "identity", *lines)
    assert found.samples["text"].tolist() == ["red", "blue", "rot", "grün"]
    label = found.targets["label"].tolist()
    assert label[0] == label[2]
    assert len(set(label)) == 3
    assert found.identities
    assert "each row is a pair of 'sentence1' and 'sentence2'" in said
    every, _ = opened(folder, "identity", *(line.rpartition("\t")[0] for line in lines))
    assert len(set(every.targets["label"].tolist())) == 2
    with pytest.raises(DataError, match=r"'label' has values from 0.2 to 4.5; for pairs it is 1"):
        opened(folder, "identity", lines[0], "a\tb\t0.2", "c\td\t4.5")
