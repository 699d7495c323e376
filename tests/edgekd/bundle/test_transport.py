"""A bundle is copied about: by Finder, Explorer, git, mail programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edgekd.bundle import verify
from edgekd.bundle.sums import SUMS, check_sums, write_sums
from edgekd.bundle.transport import (
    COPY_AGAIN,
    COPY_CONTENT,
    COPY_LINE_ENDS,
    FETCH_LFS,
    REMOVE_EXTRA,
    added_by_system,
)
from edgekd.cli.verify import verify as command
from edgekd.errors import VerifyFailed

Get = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two texts and something binary, with its sums."""
    (tmp_path / "b" / "sub").mkdir(parents=True)
    (tmp_path / "b" / "a.json").write_bytes(b'{"a": 1,\n "b": 2}\n')
    (tmp_path / "b" / "sub" / "t.txt").write_bytes(b"one\ntwo")
    (tmp_path / "b" / "m.onnx").write_bytes(bytes(range(256)))
    write_sums(tmp_path / "b")
    return tmp_path / "b"


def found(folder: Path) -> list[tuple[str, str]]:
    return [(fault.text, fault.advice) for fault in check_sums(folder).faults]


def test_files_that_systems_add_are_passed_over_by_name(copy: Get) -> None:
    folder = copy("pixels")
    names = [".DS_Store", "._manifest.json", "Thumbs.db", "golden/.DS_Store", "__MACOSX/._a"]
    (folder / "__MACOSX").mkdir()
    for name in names:
        (folder / name).write_bytes(b"\0\5\x16\7")
    report = verify(folder)
    assert report.ok, report.faults
    detail = report.checks[0].detail
    assert detail.startswith("23 files, every sha256 is right; passed over, added by the system: ")
    assert all(name in detail for name in names)


@pytest.mark.parametrize("name", [".hidden", "DS_Store", "my Thumbs.db", "a._b", ".DS_Store.onnx"])
def test_no_other_file_is_passed_over(folder: Path, name: str) -> None:
    assert not added_by_system(name)
    (folder / name).write_bytes(b"x")
    assert found(folder) == [(f"{name!r} is not listed in {SUMS}", REMOVE_EXTRA)]


def test_a_link_is_never_passed_over(folder: Path) -> None:
    (folder / ".DS_Store").symlink_to(folder / "a.json")
    assert ("'.DS_Store' is not a plain file", COPY_CONTENT) in found(folder)


def test_a_listed_file_is_checked_whatever_its_name(folder: Path) -> None:
    (folder / "Thumbs.db").write_bytes(b"x")
    write_sums(folder)
    assert found(folder) == []
    (folder / "Thumbs.db").write_bytes(b"y")
    assert found(folder) == [("'Thumbs.db' was changed: its sha256 differs", COPY_AGAIN)]


@pytest.mark.parametrize(
    "turn",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: data.replace(b"\n", b"\r\n") + b"\r\n",
        lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    ],
)
def test_changed_line_ends_are_reported_as_that(
    folder: Path, turn: Callable[[bytes], bytes]
) -> None:
    for name in ("a.json", "sub/t.txt", SUMS):
        (folder / name).write_bytes(
            turn((folder / name).read_bytes()).replace(b"\r\n\r\n", b"\r\n")
        )
    named = f"{SUMS!r}, 'a.json', 'sub/t.txt'"
    assert found(folder) == [(f"other line ends than edgekd wrote in {named}", COPY_LINE_ENDS)]


@pytest.mark.parametrize("extra", [b"\n", b"\r\n", b""])
def test_the_last_line_end_may_come_or_go(folder: Path, extra: bytes) -> None:
    text = (folder / "a.json").read_bytes()
    (folder / "a.json").write_bytes(text.rstrip() + extra)
    assert [advice for _, advice in found(folder)] == ([] if extra == b"\n" else [COPY_LINE_ENDS])


def test_windows_line_ends_of_the_original_turned_to_plain_ones(folder: Path) -> None:
    (folder / "a.json").write_bytes(b"a\r\nb\r\n")
    write_sums(folder)
    (folder / "a.json").write_bytes(b"a\nb\n")
    assert [advice for _, advice in found(folder)] == [COPY_LINE_ENDS]


def test_a_change_beside_the_line_ends_is_a_change(folder: Path) -> None:
    (folder / "a.json").write_bytes(b'{"a": 1,\r\n "b": 3}\r\n')
    assert found(folder) == [("'a.json' was changed: its sha256 differs", COPY_AGAIN)]


def test_a_pointer_of_git_lfs_is_named(folder: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 256\n"
    (folder / "m.onnx").write_bytes(pointer)
    assert found(folder) == [("'m.onnx' is a pointer of Git LFS", FETCH_LFS)]


def test_each_advice_is_given_once_and_fits(copy: Get) -> None:
    folder = copy("pixels")
    for name in ("manifest.json", "MODEL_CARD.md", SUMS):
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (folder / "extra.bin").write_bytes(b"")
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(folder)])
    assert isinstance(result.exception, VerifyFailed)
    said = str(result.exception)
    assert said.endswith(f"What to do: {COPY_LINE_ENDS}; {REMOVE_EXTRA}")
    assert "compress" not in said
