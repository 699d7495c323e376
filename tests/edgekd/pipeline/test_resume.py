"""Kill it anywhere: the same command goes on, to the same bytes as a run that was not killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgekd.artifact import open_artifact
from edgekd.store import file_sha256

LIMIT_S = 180.0
Start = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture
def start(job: Path, one_thread: Mapping[str, str]) -> Start:
    """Start the real command in a process of its own, as the finished run was."""

    def started(out: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edgekd", "compress", "bars.toml", "--out", str(out)],
            cwd=job,
            env=one_thread,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return started


def kill_when(start: Start, out: Path, pattern: str, how: signal.Signals) -> int:
    """Run until a file that matches `pattern` appears, send the signal; return the exit code."""
    process = start(out)
    limit = time.monotonic() + LIMIT_S
    while not list(out.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit, f"{pattern} never came"
        time.sleep(0.002)
    process.send_signal(how)
    process.communicate(timeout=LIMIT_S)
    return process.returncode


def finish(start: Start, out: Path) -> str:
    """Run to the end; return what was printed."""
    process = start(out)
    said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    return said


def files(out: Path) -> dict[str, dict[str, str]]:
    """Every byte that training, export and quantization made."""
    found = {f.name: dict(open_artifact(f).files) for f in sorted((out / "stages").iterdir())}
    bundle = {p.name: file_sha256(p) for p in (out / "bundle").glob("*.onnx")}
    return {**found, "bundle": bundle}


def test_a_killed_run_ends_like_one_that_was_not(
    finished: Path, start: Start, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    # Finished timings are replayed; what is injected here are those of the whole run, so that both
    # decide alike whatever the machine was doing.
    killed.mkdir()
    shutil.copytree(finished / "evidence", killed / "evidence")
    code = kill_when(start, killed, "stages/distill-*.partial/work/last.pt", signal.SIGINT)
    assert code == 130
    assert kill_when(start, killed, "stages/prune-*.partial/work/last.pt", signal.SIGKILL) == -9
    assert kill_when(start, killed, "stages/quantize-*.partial/*.onnx", signal.SIGKILL) == -9
    said = finish(start, killed)
    steps = [line.split(":")[0].strip() for line in said.splitlines()]
    assert "teacher" not in steps, "the teacher was trained twice"
    assert files(killed) == files(finished)
    assert not list(killed.rglob("*.partial"))


def test_a_full_disk_leaves_nothing_that_looks_whole(job: Path, tmp_path: Path) -> None:
    """The limit on a file's size stands for the full disk: the checkpoint no longer fits."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "edgekd", "compress", "bars.toml", "--out", str(out)]
    command += ["--set", "steps=[]"]  # the teacher is the first that trains
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "bash", *command]  # 200 kB
    said = subprocess.run(
        limited, cwd=job, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert said.returncode == 1, said.stderr
    assert "the disk is full" in said.stderr
    assert "Traceback" not in said.stderr
    for stage in (out / "stages").iterdir():
        assert stage.name.endswith(".partial")
        assert not (stage / "model.pt").exists()
        assert not (stage / "work" / "last.pt").exists()
    assert not (out / "bundle").exists()
