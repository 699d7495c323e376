from __future__ import annotations

import datetime
import json
import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.history.database import opened
from edgekd.benchmarks.history.store import History
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.result import BenchResult
from edgekd.errors import HistoryError, ModelError

Save = Callable[..., Path]
Timed = Callable[..., BenchResult]

MS = [1.0e-3, 1.01e-3, 0.99e-3, 1.002e-3]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "past" / "h.sqlite")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "past").mkdir()


def test_a_session_comes_back_exactly(history: History, chain: Save, timed: Timed) -> None:
    a, b = chain("a.onnx"), chain("b.onnx", layers=3)
    result = timed((a, MS), (b, [2.1e-3 / 3] * 4))
    entry = history.store(result, name="main")
    assert history.session(entry) == result.session
    assert history.document(entry) == json.loads(json.dumps(result.to_json()))
    (found,) = history.entries()
    assert (found.id, found.name, found.feeds, found.rate_hz) == (entry, "main", "random", None)
    age = datetime.datetime.now(datetime.UTC) - found.stored_at
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
    for stored, row in zip(found.rows, result.rows, strict=True):
        assert stored.latency_s == row.latency_s
        assert stored.conditions == row.conditions
        assert stored.inputs == row.inputs
        assert (stored.file, stored.label, stored.batch) == (
            row.file.name,
            row.label,
            8,
        )  # fixed in the file
        assert stored.size_bytes == row.file.stat().st_size
        assert stored.not_kept == ""
        assert history.copy(stored.content).read_bytes() == row.file.read_bytes()


def test_latest_and_names(history: History, chain: Save, timed: Timed) -> None:
    a = chain("a.onnx")
    for name, factor in (("main", 1), ("other", 2), ("main", 3)):
        history.store(timed((a, [factor * s for s in MS])), name=name)
    assert [e.id for e in history.entries("main")] == [1, 3]
    assert history.latest("main").rows[0].latency_s.value == pytest.approx(3e-3, rel=0.01)
    with pytest.raises(HistoryError, match="contains no session 'dev'; it contains: main, other"):
        history.latest("dev")
    with pytest.raises(HistoryError, match="no session number 9"):
        history.session(9)
    # three sessions of one content, one copy
    assert len([path for path in history.files.iterdir() if not path.name.startswith(".")]) == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "two\nlines"])
def test_names_that_cannot_be_asked_for(
    history: History, chain: Save, timed: Timed, name: str
) -> None:
    with pytest.raises(HistoryError, match="1 to 100 printable characters"):
        history.store(timed((chain("a.onnx"), MS)), name=name)


def test_external_data_is_part_of_the_content(
    history: History, chain: Save, timed: Timed, tmp_path: Path
) -> None:
    source = chain("a.onnx")
    for number in (1, 2):
        model = onnx.load(source)
        folder = tmp_path / str(number)
        folder.mkdir()
        weight = model.graph.initializer[0]
        array = onnx.numpy_helper.to_array(weight) if number == 1 else np.ones((128, 128), "f4")
        weight.CopyFrom(onnx.numpy_helper.from_array(array, "w0"))
        onnx.save(
            model, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
        )
    first, second = tmp_path / "1" / "m.onnx", tmp_path / "2" / "m.onnx"
    assert first.read_bytes() == second.read_bytes()
    for file in (first, second):
        history.store(timed((file, MS)), name="main")
    contents = [entry.rows[0].content for entry in history.entries()]
    assert contents[0] != contents[1]
    for content, file in zip(contents, (first, second), strict=True):
        copy = history.copy(content)
        assert copy.read_bytes() == file.read_bytes()
        assert (copy.parent / "w.bin").read_bytes() == (file.parent / "w.bin").read_bytes()
        onnx.load(copy)  # finds its data
    (copy.parent / "w.bin").write_bytes(b"damaged")
    with pytest.raises(HistoryError, match="was changed after it was stored"):
        history.copy(contents[1])


def test_real_feeds_are_kept_and_large_files_are_not(
    history: History, chain: Save, timed: Timed, tmp_path: Path
) -> None:
    a, feeds = chain("a.onnx"), tmp_path / "feeds.npz"
    save_feeds(feeds, {"x": np.ones((2, 8, 128), np.float32)})
    history.store(timed((a, MS), feeds=str(feeds)), name="main")
    entry = history.latest("main")
    assert entry.feeds == "feeds.npz"
    assert entry.feeds_sha256 is not None
    assert history.copy(entry.feeds_sha256).read_bytes() == feeds.read_bytes()

    small = replace(history, path=tmp_path / "small.sqlite", most_bytes=1000)
    small.store(timed((a, MS), feeds=str(feeds)), name="main")
    entry = small.latest("main")
    assert entry.feeds_sha256 is None
    assert entry.rows[0].not_kept == "larger than 0.001 MB"
    assert not small.files.exists()
    with pytest.raises(HistoryError, match=r"history's copy of the baseline.*is missing"):
        small.copy(entry.rows[0].content)


def test_a_file_that_changed_meanwhile_is_refused(
    history: History, chain: Save, timed: Timed
) -> None:
    result = timed((chain("a.onnx"), MS))
    chain("a.onnx", layers=3)
    with pytest.raises(HistoryError, match="changed since it was timed"):
        history.store(result, name="main")
    result.rows[0].file.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        history.store(result, name="main")
    assert history.entries() == ()


def test_what_is_no_history_is_left_alone(
    history: History, chain: Save, timed: Timed, tmp_path: Path
) -> None:
    result = timed((chain("a.onnx"), MS))

    def refused(content: bytes, message: str) -> None:
        history.path.write_bytes(content)
        for use in (history.entries, lambda: history.store(result, name="main")):
            with pytest.raises(HistoryError, match=message):
                use()
        assert history.path.read_bytes() == content

    with pytest.raises(HistoryError, match="there is no history"):
        history.entries()
    refused(b"what I wrote in spring" * 100, "is not an edgekd history, or is damaged")
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    refused(foreign.read_bytes(), "not an edgekd history; it was not changed")
    history.path.unlink()
    history.store(result, name="main")
    with sqlite3.connect(history.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    refused(history.path.read_bytes(), "has schema 2, and this edgekd reads 1")
    with pytest.raises(HistoryError, match="there is no folder"):
        replace(history, path=tmp_path / "no" / "h.sqlite").store(result, name="main")


def test_damage_inside_is_said(history: History, chain: Save, timed: Timed) -> None:
    history.store(timed((chain("a.onnx"), MS)), name="main")
    good = history.path.read_bytes()
    with sqlite3.connect(history.path) as connection:
        connection.execute("UPDATE sessions SET result = x'00'")
    connection.close()
    with pytest.raises(HistoryError, match=r"session 1 of the history .* is damaged"):
        history.session(1)
    with sqlite3.connect(history.path) as connection:
        connection.execute("UPDATE rows SET conditions = '{}'")
    connection.close()
    with pytest.raises(HistoryError, match=r"session 1 of the history .* is damaged"):
        history.entries()
    half = good[: len(good) // 2]
    history.path.write_bytes(half)
    with pytest.raises(HistoryError, match="damaged"):
        history.session(1)


def test_a_held_history_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    with (
        opened(path, write=True),
        pytest.raises(HistoryError, match="another process has locked the history"),
        opened(path, write=True, timeout_s=0.1),
    ):
        pass


def test_a_killed_writer_leaves_the_old_state(history: History, chain: Save, timed: Timed) -> None:
    history.store(timed((chain("a.onnx"), MS)), name="main")
    code = (
        "import os, pathlib\n"
        "from edgekd.benchmarks.history.database import opened\n"
        f"with opened(pathlib.Path({str(history.path)!r}), write=True) as c:\n"
        "    c.execute('PRAGMA cache_size = 1')\n"  # spills to the file before the commit
        "    for i in range(200):\n"
        "        c.execute('INSERT INTO sessions SELECT NULL, name, stored_at, edgekd, rate_hz, "
        "feeds, feeds_sha256, result FROM sessions WHERE id = 1')\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert [entry.id for entry in history.entries()] == [1]


def _write(path: Path, result: BenchResult, name: str, count: int) -> None:
    for _ in range(count):
        History(path).store(result, name=name)


def test_two_writers_at_once(history: History, chain: Save, timed: Timed) -> None:
    result = timed((chain("a.onnx"), MS), (chain("b.onnx", layers=3), MS))
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write, args=(history.path, result, name, 20)) for name in "ab"
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for name in "ab":
        assert [history.session(e.id) for e in history.entries(name)] == [result.session] * 20
    names = sorted(path.name for path in history.files.iterdir())
    assert names == sorted({row.content for row in history.entries()[0].rows})


def test_conditions_survive(
    history: History, chain: Save, timed: Timed, conditions: Conditions
) -> None:
    odd = replace(
        conditions,
        options=(("a", "1"), ("b", "x=y")),
        streams=2,
        governor="ondemand",
        emulated=True,
    )
    history.store(timed((chain("a.onnx"), MS), at=odd), name="main")
    assert history.latest("main").rows[0].conditions == odd
