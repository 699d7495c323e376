"""Kill it anywhere: the same command goes on, to the same bytes as a run that was not killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd.artifact import open_artifact
from edgekd.store import file_sha256

CHANGES = ["--set", "steps.0.train.epochs=12", "--set", "steps.1.recover.epochs=8"]
LIMIT_S = 180.0


def start(job: Path, out: Path) -> subprocess.Popen[str]:
    """The real command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgekd", "compress", "bars.toml", "--out", str(out), *CHANGES],
        cwd=job,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when(job: Path, out: Path, pattern: str, how: signal.Signals) -> int:
    """Run until a file that matches `pattern` appears, send the signal; return the exit code."""
    process = start(job, out)
    limit = time.monotonic() + LIMIT_S
    while not list(out.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit, f"{pattern} never came"
        time.sleep(0.002)
    process.send_signal(how)
    process.communicate(timeout=LIMIT_S)
    return process.returncode


def finish(job: Path, out: Path) -> str:
    """Run to the end; return what was printed."""
    process = start(job, out)
    said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    return said


def files(out: Path) -> dict[str, dict[str, str]]:
    """Every byte that training, export and quantization made."""
    found = {f.name: dict(open_artifact(f).files) for f in sorted((out / "stages").iterdir())}
    bundle = {p.name: file_sha256(p) for p in (out / "bundle").glob("*.onnx")}
    return {**found, "bundle": bundle}


@pytest.mark.timing
def test_a_killed_run_ends_like_one_that_was_not(job: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(job, whole)
    # Finished timings are replayed; what is injected here are those of the whole run, so that both
    # decide alike whatever the machine was doing.
    killed.mkdir()
    shutil.copytree(whole / "evidence", killed / "evidence")
    code = kill_when(job, killed, "stages/distill-*.partial/work/last.pt", signal.SIGINT)
    assert code == 130
    assert kill_when(job, killed, "stages/prune-*.partial/work/last.pt", signal.SIGKILL) == -9
    assert kill_when(job, killed, "stages/quantize-*.partial/*.onnx", signal.SIGKILL) == -9
    said = finish(job, killed)
    assert "teacher:" not in said, "the teacher was trained twice"
    assert files(killed) == files(whole)
    assert not list(killed.rglob("*.partial"))


@pytest.mark.timing
def test_a_full_disk_leaves_nothing_that_looks_whole(job: Path, tmp_path: Path) -> None:
    """The limit on a file's size stands for the full disk: the checkpoint no longer fits."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "edgekd", "compress", "bars.toml", "--out", str(out)]
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
