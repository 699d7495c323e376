"""What is on disk is whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.artifact import SPENT, seal_artifact
from edgekd.errors import RunFolderError
from edgekd.store import digest, file_sha256, replacing, run_lock, seal, write_atomic, write_json


def test_digest_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert digest([1, 2]) != digest([2, 1])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_seal_commits_by_one_rename(tmp_path: Path) -> None:
    partial = tmp_path / "a.partial"
    (partial / "deep").mkdir(parents=True)
    (partial / "deep" / "file").write_bytes(b"x")
    seal(partial, tmp_path / "a")
    assert not partial.exists()
    assert (tmp_path / "a" / "deep" / "file").read_bytes() == b"x"


def test_replacing_keeps_the_old_folder_when_the_work_fails(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    with replacing(folder) as new:
        (new / "f").write_text("first")
    with pytest.raises(FileNotFoundError), replacing(folder) as new:
        (new / "f").write_text("half") and (new / "absent").read_text()
    assert (folder / "f").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgekd.store import run_lock\n"
        f"with run_lock(Path({str(tmp_path)!r})):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=f"pid {other.pid}"), run_lock(tmp_path):
            pass
        other.kill()  # however it ends, the lock is free
    with run_lock(tmp_path):
        pass


def test_a_refused_call_leaves_nothing_and_frees_nothing(tmp_path: Path) -> None:
    with run_lock(tmp_path / "new" / "run"):
        for _ in range(2):  # the first refusal must not have opened the way for the second
            with pytest.raises(RunFolderError, match=f"pid {os.getpid()}"):
                run_lock(tmp_path / "new" / "run").__enter__()
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path / "run"):
        (tmp_path / "run" / "kept").write_text("x")
    with run_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / "kept").exists()


def test_what_windows_cannot_open_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There os.open refuses a folder, and a flush needs a handle that may write."""
    opened = []

    def windows_open(path: Path, flags: int) -> int:
        opened.append(path)
        if path.is_dir() or not flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return os_open(path, flags)

    os_open = os.open
    (tmp_path / "a.partial").mkdir()
    (tmp_path / "a.partial" / "file").write_bytes(b"x")
    monkeypatch.setattr("edgekd.store.WINDOWS", True)
    monkeypatch.setattr("os.open", windows_open)
    seal(tmp_path / "a.partial", tmp_path / "a")
    assert [path.name for path in opened] == ["file"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"), run_lock(tmp_path / "file"):
        pass


def test_file_sha256_is_the_standard_one(tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "e") == expected


def test_what_the_making_took_is_not_sealed(tmp_path: Path) -> None:
    """Two runs that make equal files are equal, however long each took."""
    sealed = []
    for name, took_s in (("one", 1.0), ("two", 2.5)):
        partial = tmp_path / f"{name}.partial"
        partial.mkdir()
        (partial / "model.fp32.onnx").write_bytes(b"a")
        write_json(partial / SPENT, {"int8": [took_s]})
        sealed.append(seal_artifact(partial, tmp_path / name, []))
        assert (tmp_path / name / SPENT).exists()
    assert sealed[0].files == sealed[1].files
    assert list(sealed[0].files) == ["model.fp32.onnx"]
