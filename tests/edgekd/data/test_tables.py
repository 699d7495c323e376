from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.source import Source, open_source
from edgekd.data.tables import open_table
from edgekd.errors import DataError
from edgekd.tasks.task import Target

ROWS = [("good, really", "pos"), ('"bad"\nday', "neg"), ("so so", "neg")]


def opened(path: Path, **options: Any) -> Dataset:
    spec = Source.model_validate({"path": path.name, **options})
    return open_source(spec, root=path.parent)


def write(path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...]) -> Path:
    if path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
        path.write_text("\n\n".join(lines))
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([header, *rows])
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_texts_and_labels_are_read(tmp_path: Path, suffix: str) -> None:
    dataset = opened(write(tmp_path / f"a{suffix}", ROWS, ("text", "label")))
    assert dataset.kind == "text"
    assert dataset.samples["text"].tolist() == [text for text, _ in ROWS]
    assert dataset.labels == ("neg", "pos")
    assert dataset.targets["label"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "one\n\ntwo\n"),
        ("a.csv", "text\none\ntwo\n"),
        ("a.jsonl", '{"text": "one"}\n{"text": "two"}'),
    ],
)
def test_texts_alone_have_no_labels(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    dataset = opened(tmp_path / name)
    assert dataset.samples["text"].tolist() == ["one", "two"]
    assert (dataset.targets, dataset.labels) == ({}, ())


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ROWS, ("review", "mood"))
    with pytest.raises(DataError, match=r"columns review, mood, but no 'text'.*text_column"):
        opened(path)
    assert len(opened(path, text_column="review", label_column="mood")) == 3


def test_a_split_column_fixes_the_splits(tmp_path: Path) -> None:
    rows = [("a", 0, "train"), ("b", 1, "test"), ("c", 1, "dev")]
    path = write(tmp_path / "a.jsonl", rows[:2], ("text", "label", "split"))
    dataset = opened(path, labels=["bad", "good"])
    assert {n: i.tolist() for n, i in dataset.fixed.items()} == {"train": [0], "test": [1]}
    assert dataset.labels == ("bad", "good")
    with pytest.raises(DataError, match=r"split 'dev' is not known; use train"):
        opened(write(path, rows, ("text", "label", "split")))


def test_long_texts_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)
    path = write(tmp_path / "a.csv", [("word " * 40_000, "a"), ("b", "b")], ("text", "label"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(opened(path).samples["text"][0]) == 200_000
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_rows_without_text_or_label_are_named_or_skipped(tmp_path: Path, suffix: str) -> None:
    rows = [("a", "x"), ("  ", "y"), ("c", ""), ("d", "y")]
    path = write(tmp_path / f"a{suffix}", rows, ("text", "label"))
    with pytest.raises(DataError, match=r"line 3 has no text in 'text'.*skip_broken = true"):
        opened(path)
    dataset = opened(path, skip_broken=True)
    assert dataset.samples["text"].tolist() == ["a", "d"]
    assert len(dataset.skipped) == 2
    assert dataset.skipped[0] == f"a{suffix} line 3"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\n\xff\xfe,1\n", "not UTF-8"),
        ("a.csv", b"text,label\n", "contains no row"),
        ("a.csv", b"", "contains no row"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{', "line 2 is not JSON"),
        ("a.jsonl", b'["a", 1]', "one object per line"),
        ("a.jsonl", b'{"text": "a", "class": 1}', "no 'label'"),
    ],
)
def test_damaged_tables_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        opened(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text;label\n\"gut, sehr\ngut\";1.0\nschlecht;2.0\n"),
        ("a.CSV", b'text,label\n"gut, sehr\ngut",1.0\nschlecht,2.0\n'),
        ("a.csv", 'text\tlabel\n"gut, sehr\ngut"\t1.0\nschlecht\t2.0\n'.encode("utf-16")),
        ("a.csv", b'sep=;\r\nText; Label\r\n"gut, sehr\ngut";1.0\r\nschlecht;2.0\r\n'),
        ("a.txt.TSV", b'label|text\n1.0|"gut, sehr\ngut"\n2.0|schlecht\n'),
    ],
)  # fmt: skip
def test_tables_are_read_as_spreadsheets_write_them(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    dataset = opened(tmp_path / name)
    assert dataset.samples["text"].tolist() == ["gut, sehr\ngut", "schlecht"]
    assert dataset.labels == ("1.0", "2.0")


def test_a_table_without_texts_is_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("width;age;price\n1,5;3;10\n2;4;12,25\n")
    spec = Source(path="a.csv", label_column="price")
    dataset = open_source(spec, root=tmp_path, wanted="value")
    assert dataset.samples["x"].tolist() == [[1.5, 3], [2, 4]]
    assert dataset.targets["value"].tolist() == [10, 12.25]
    path.write_text("width,age,price\n1.5,3,10\n2,,12\n")
    with pytest.raises(DataError, match=r"line 3 has no number in 'age', but ''.*skip_broken"):
        open_source(spec, root=tmp_path, wanted="value")
    path.write_text("width,kind,price\n1.5,red,10\n")
    with pytest.raises(DataError, match=r"no numbers are in its first row of 'kind' \('red'\)"):
        open_source(spec, root=tmp_path)


NUMBERS: list[tuple[str, list[list[float]]]] = [
    ('x,price,y\n"1,234","1,250",7\n"12,000","900",8\n', [[1234, 1250], [12000, 900]]),
    ('x,price,y\n"1,234","1,5",7\n"12,000","900",8\n', [[1.234, 1.5], [12, 900]]),
    ('x,price,y\n"1,234,567","0.5",7\n"1,234.5",9.25,8\n', [[1234567, 0.5], [1234.5, 9.25]]),
    ("x;price;y\n1,234;0,5;7\n12,000;9,25;8\n", [[1.234, 0.5], [12, 9.25]]),
    ("x;price;y\n1,234;2,000;7\n12,000;9,250;8\n", [[1.234, 2], [12, 9.25]]),
    ("x;price;y\n1.234;0,5;7\n1.234,5;2.000;8\n", [[1234, 0.5], [1234.5, 2000]]),
    ("x\tprice\ty\n1,234\t0.5\t7\n12,000\t9.25\t8\n", [[1234, 0.5], [12000, 9.25]]),
    ("x;price;y\n1,5;3;7\n2.5;4;8\n", [[1.5, 3], [2.5, 4]]),
]


@pytest.mark.parametrize(("text", "numbers"), NUMBERS)
def test_the_file_decides_what_a_comma_in_a_number_is(
    tmp_path: Path, text: str, numbers: list[list[float]]
) -> None:
    (tmp_path / "a.csv").write_text(text)
    spec = Source(path="a.csv", label_column="y")
    dataset = open_source(spec, root=tmp_path, wanted="value")
    np.testing.assert_allclose(dataset.samples["x"], numbers, rtol=1e-6)


def test_a_comma_that_may_mean_two_things_is_said_or_refused(tmp_path: Path, listener: Any) -> None:
    def read(text: str, name: str) -> None:
        (tmp_path / name).write_text(text)
        spec = Source(path=name, label_column="y")
        open_source(spec, root=tmp_path, wanted="value", progress=listener)

    read('x,y\n"1,234",7\n"12,000",8\n', "a.csv")
    assert any("'12,000' in 'x' is read as 12000" in said for said in listener.said)
    for text, name in (("x\ty\n1,234\t7\n", "a.tsv"), ('{"x": "1,234", "y": 7}\n', "a.jsonl")):
        with pytest.raises(DataError, match=r"'x' has '1,234', which may be 1234 or 1\.234; write"):
            read(text, name)
    with pytest.raises(DataError, match=r"'x' has '0,5' with a decimal comma and '1,234\.5'"):
        read('x,y\n"0,5",7\n"1,234.5",8\n', "a.csv")
    texts = "".join(f'"{i},500",text {i}\n' for i in range(1, 31))
    with pytest.raises(DataError, match=r"which may be 30500 or 30\.500"):
        opened(write_text(tmp_path / "t.csv", f"y,text\n{texts}"), label_column="y")


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_column_of_measured_numbers_is_not_classes(tmp_path: Path) -> None:
    rows = [(f"text {i}", i / 7) for i in range(30)]
    dataset = opened(write(tmp_path / "a.csv", rows, ("text", "label")))
    assert sorted(dataset.targets) == ["value"]
    assert dataset.labels == ()


def test_a_text_with_a_bare_delimiter_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfine,good\ndull, grim,bad\n")
    with pytest.raises(DataError, match=r"line 3 has 3 cells for 2 columns.*in quotes"):
        opened(tmp_path / "a.csv")
    assert opened(tmp_path / "a.csv", skip_broken=True).labels == ("good",)


def test_several_labels_may_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,sun|sea\ny,\n")
    spec = Source(path="a.csv")
    dataset = open_source(spec, root=tmp_path, wanted="labels")
    assert (dataset.labels, dataset.targets["labels"].tolist()) == (
        ("sea", "sun"),
        [[1, 1], [0, 0]],
    )
    with pytest.raises(DataError, match="line 3 has no label"):
        open_source(spec, root=tmp_path, wanted="label")


def columns(path: Path, wanted: Target, *names: str, skip_broken: bool = False) -> Dataset:
    """Open a table with these label columns."""
    return open_table(
        path,
        text_column="text",
        label_column=names or "label",
        labels=None,
        wanted=wanted,
        skip_broken=skip_broken,
    )


def test_several_columns_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "toxic.csv"
    path.write_text("id,text,rude,split,loud\n17,a,1,train,0\n2,b,0,test,1\n")
    with pytest.raises(DataError, match="no 'label'"):
        columns(path, "labels")
    named = columns(path, "labels", "rude", "loud")
    assert named.targets["labels"].tolist() == [[1, 0], [0, 1]]
    assert named.labels == ("rude", "loud")
    path.write_text("text;rude;loud\na;1;0\nb;0;1\n")
    found = columns(path, "labels")
    assert found.labels == ("rude", "loud")
    path.write_text("text;rude;loud\na;1;0\nb;0;2\n")
    with pytest.raises(
        DataError, match=r"line 3 has '2' in 'loud', where a label is 0 or 1.*label_column"
    ):
        columns(path, "labels")


def test_several_numbers_to_predict_and_rows_without_one(tmp_path: Path) -> None:
    path = tmp_path / "homes.CSV"
    path.write_text("rooms;size;price;rent\n3;70,5;1.234,5;9\n2;50;;7\n4;90;2.000,25;8\n")
    with pytest.raises(DataError, match=r"line 3 has no number in 'price'.*skip_broken"):
        columns(path, "value", "price", "rent")
    found = columns(path, "value", "price", "rent", skip_broken=True)
    assert found.targets["value"].tolist() == [[1234.5, 9], [2000.25, 8]]
    assert found.samples["x"].tolist() == [[3, 70.5], [4, 90]]
    assert found.labels == ("price", "rent")
    lines = tmp_path / "poses.jsonl"
    lines.write_text('{"text": "a", "label": [1.5, 2]}\n{"text": "b", "label": [3, 4]}\n')
    poses = columns(lines, "value")
    assert poses.targets["value"].tolist() == [[1.5, 2], [3, 4]]


def test_a_column_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    path.write_text("rooms,city,label\n3,Rome,1\n")
    with pytest.raises(DataError, match="no numbers are in its first row of 'city'"):
        columns(path, "value")


@pytest.mark.parametrize(("first", "said"), [("7.25", True), ("7", False), ("7.0", False)])
def test_a_column_of_measured_numbers_is_offered_with_its_task(
    tmp_path: Path, first: str, said: bool
) -> None:
    """Both flags stand in one message: the second refusal would come after the first is cured."""
    path = tmp_path / "a.csv"
    path.write_text(f"area,need\n1,{first}\n2,3.5\n", encoding="utf8")
    with pytest.raises(DataError, match="name the column with the labels") as caught:
        open_source(Source(path=path.name), root=tmp_path, wanted="label")
    assert 'data.label_column = "need"' in str(caught.value)
    assert ('task = "regression" (its values' in str(caught.value)) == said
    with pytest.raises(DataError) as known:
        open_source(Source(path=path.name), root=tmp_path, wanted="value")
    assert "regression" not in str(known.value)
