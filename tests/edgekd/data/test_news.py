"""News texts: two tables of class and text, whose split is fixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.data.downloads import News, open_known
from edgekd.data.news import open_news
from edgekd.data.packages import KNOWN
from edgekd.errors import DataError

HEADER = "Category\tText\nd\tstring\nclass\t\n\n"


def test_both_parts_keep_their_rows_and_classes_are_in_alphabetical_order(tmp_path: Path) -> None:
    (tmp_path / "a-train.tab").write_text(f"{HEADER}trade\tup\nacq\tbuys\ntrade\tdown\n")
    (tmp_path / "a-test.tab").write_text(f"{HEADER}earn\t{'long ' * 50_000}\nacq\tsells\n")
    found = open_news(tmp_path, "a")
    assert found.labels == ("acq", "earn", "trade")
    assert found.targets["label"].tolist() == [2, 0, 2, 1, 0]
    assert found.samples["text"][[0, 1, 2, 4]].tolist() == ["up", "buys", "down", "sells"]
    assert len(found.samples["text"][3]) == 250_000  # longer than a field of csv may be
    assert {k: v.tolist() for k, v in found.fixed.items()} == {"train": [0, 1, 2], "test": [3, 4]}
    assert found.licence == "unknown"  # so no text of it goes into a bundle


def test_a_table_that_is_not_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-train.tab").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a-train\.tab cannot be read"):
        open_news(tmp_path, "a")


@pytest.mark.parametrize("name", ["reuters-r8", "20newsgroups"])
def test_another_text_than_the_registry_s_is_refused(name: News, cache: Path) -> None:
    folder = cache / "data" / name
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=f"get it once with: edgekd data {name}"):
        open_known(name)
    for file in KNOWN[name].files:
        (folder / file).write_text(HEADER)
    with pytest.raises(DataError, match="has sha256"):
        open_known(name)
