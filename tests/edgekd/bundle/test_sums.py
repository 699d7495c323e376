from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.bundle import verify
from edgekd.bundle.sums import SUMS, check_sums, write_sums
from edgekd.store import file_sha256

FILES = (
    *("MODEL_CARD.md", "SHA256SUMS", "labels.json", "manifest.json", "preprocess.json"),
    *("load.py", "load.mjs"),
    *("snippets/python.py", "snippets/javascript.mjs", "snippets/cpp.cpp"),
    *("snippets/kotlin.kt", "snippets/swift.swift"),
    *("model.fp32.batch1.onnx", "model.fp32.onnx"),
    *("model.int8.batch1.onnx", "model.int8.onnx"),
    *("report.html", "golden/inputs.npz", "golden/outputs.fp32.npz", "golden/outputs.int8.npz"),
    *(f"golden/{i}.{kind}" for i, kind in enumerate(("png", "jpg", "png", "png"))),
)

Get = Callable[[str], Path]


def small(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "sub" / "b.txt").write_bytes(b"two")
    write_sums(folder)
    assert faults(folder) == []
    return folder


def faults(folder: Path) -> list[str]:
    return [fault.text for fault in check_sums(folder).faults]


def test_the_files_of_a_bundle_are_these(bundles: Get) -> None:
    folder = bundles("pixels")
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_in_any_file_is_found_and_named(copy: Get, name: str) -> None:
    folder = copy("pixels")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    report = verify(folder)
    assert not report.ok
    assert name == SUMS or f"'{name}' was changed" in report.faults
    assert report.checks[-1].ok is None, "damaged files are not run"


@pytest.mark.parametrize("flip", [0x01, 0x02, 0x20, 0x80])
def test_every_flipped_byte_of_the_sums_themselves_is_found(tmp_path: Path, flip: int) -> None:
    """In a hash, in a name, in the two spaces, in a newline, and A for a in a hash."""
    folder = small(tmp_path / "bundle")
    whole = (folder / SUMS).read_bytes()
    for i in range(len(whole)):
        data = bytearray(whole)
        data[i] ^= flip
        (folder / SUMS).write_bytes(data)
        assert faults(folder), f"byte {i} ({whole[i : i + 1]!r} -> {data[i : i + 1]!r})"


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_shortened_sums_are_found(tmp_path: Path, cut: int) -> None:
    folder = small(tmp_path / "bundle")
    (folder / SUMS).write_bytes((folder / SUMS).read_bytes()[:cut])
    assert faults(folder)


@pytest.mark.parametrize("twice", [True, False])
def test_lines_twice_or_in_another_order_are_found(tmp_path: Path, twice: bool) -> None:
    folder = small(tmp_path / "bundle")
    lines = (folder / SUMS).read_text().splitlines(keepends=True)
    (folder / SUMS).write_text("".join([lines[0], *lines] if twice else lines[::-1]))
    assert "not in the form" in faults(folder)[0]


def test_missing_and_extra_files_are_each_named(copy: Get) -> None:
    folder = copy("pixels")
    (folder / "model.int8.onnx").unlink()
    (folder / "golden" / "0.png").unlink()
    (folder / "extra.bin").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"")
    found = verify(folder).faults
    for text in ("'model.int8.onnx' is missing", "'golden/0.png' is missing"):
        assert text in found
    for text in ("'extra.bin' is not listed", "'.hidden' is not listed"):
        assert text in found


def test_missing_sums_are_a_damaged_bundle(copy: Get) -> None:
    folder = copy("pixels")
    (folder / SUMS).unlink()
    report = verify(folder)
    assert not report.ok
    assert "'SHA256SUMS' is missing" in report.faults


def test_a_link_is_no_file_of_a_bundle(tmp_path: Path) -> None:
    folder = small(tmp_path / "bundle")
    outside = tmp_path / "outside"
    outside.write_bytes(b"one")
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(outside)
    assert faults(folder) == ["'a.txt' is not a plain file"]


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/../../outside", "..", "a\\b"])
def test_names_that_leave_the_bundle_are_refused_unread(tmp_path: Path, name: str) -> None:
    folder = small(tmp_path / "bundle")
    (tmp_path / "outside").write_bytes(b"one")
    line = f"{file_sha256(tmp_path / 'outside')}  {name}\n"
    (folder / SUMS).write_text(line + (folder / SUMS).read_text())
    assert faults(folder) == [
        f"line 1 of SHA256SUMS names {name!r}, which a bundle may not contain"
    ]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="this system has no sha256sum")
def test_sha256sum_reads_it(bundles: Get) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", SUMS],
        cwd=bundles("pixels"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(": OK") == len(FILES) - 1
