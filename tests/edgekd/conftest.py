"""A tiny but whole job: real images, a real network, a real recipe, a real run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from edgekd.benchmarks.measurement import (
    Candidate,
    Conditions,
    Measurement,
    ProcessRun,
    Session,
    Setup,
    Timing,
)
from edgekd.devices.local import LocalDevice
from edgekd.store import file_sha256

NETS = """
from torch import nn


def teacher(width=48):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3),
    )


def student(width=32):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3),
    )
"""

RECIPE = """
name = "bars"
seed = 3

[data]
path = "bars.npz"
validation = 0.3
test = 0.2
calibration = 64
licence = "CC0-1.0"

[model]
build = "nets.py:teacher"

[model.train]
epochs = 3
batch_size = 32
learning_rate = 0.05

[budget]
max_drop = 8.0

[measure]
rounds = 3
blocks = 2
block_s = 0.005

[[steps]]
name = "distill"
student = { build = "nets.py:student", input = { size = 16 } }
train = { epochs = 8, batch_size = 32, learning_rate = 0.05 }

[[steps]]
name = "prune"
ratio = 0.5
recover = { epochs = 12, batch_size = 32, learning_rate = 0.02 }

[[steps]]
name = "quantize"
samples = 64
"""


def write_bars(path: Path, *, per_class: int = 200) -> None:
    """Write 24 x 24 images of a bright bar in noise: upright, flat or slanted."""
    rng = np.random.default_rng(5)
    n = 3 * per_class
    label = np.arange(n) % 3
    image = rng.integers(0, 90, (n, 24, 24), dtype=np.uint8)
    for i in range(n):
        at = int(rng.integers(4, 20))
        if label[i] == 0:
            image[i, :, at] = 230
        elif label[i] == 1:
            image[i, at, :] = 230
        else:
            rows = np.arange(24)
            image[i, rows, (rows + at) % 24] = 230
    np.savez(path, x=image, y=label)


class Emulator(LocalDevice):
    """A device that gives no speed; the runs that it returns are there for their form."""

    def conditions(self, setup: Setup) -> Conditions:
        return replace(super().conditions(setup), emulated=True)

    def measure(
        self,
        candidates: Sequence[Candidate],
        timing: Timing,
        *,
        progress: Callable[[float], None] | None = None,
        decided: Callable[[Session], bool] | None = None,
    ) -> Session:
        one = ProcessRun(
            round=0, load_s=1.0, first_s=1.0, blocks_s=((1.0,), (1.0,)), peak_memory_bytes=1
        )
        found = tuple(
            Measurement("emulated", file_sha256(c.file), self.conditions(c.setup), (one, one))
            for c in candidates
        )
        return Session(found, twin=found[0], timing=timing)


@pytest.fixture(scope="session", autouse=True)
def no_pause() -> Iterator[None]:
    """Measure a doubtful session again at once: tests claim no speed, and need not wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgekd.evaluation.examiner.PAUSE_S", 0.0)
        yield


@pytest.fixture(scope="session")
def emulator() -> type[LocalDevice]:
    """A device that gives no speed, for tests of what is done with a measurement."""
    return Emulator


def write_job(folder: Path) -> Path:
    """Write a recipe, its networks and its data; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETS)
    (folder / "bars.toml").write_text(RECIPE)
    write_bars(folder / "bars.npz")
    return folder


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its networks and its data."""
    return write_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="session")
def one_thread() -> Mapping[str, str]:
    """The environment of runs whose bytes are compared: sums depend on the number of threads.

    Tests that go on with such a run in this process compute on one thread too.
    """
    torch.set_num_threads(1)
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def finished(
    job: Path, one_thread: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a whole run of that recipe by the real command, for all tests that look at one.

    A test that adds to it works on a copy. Processes that test in parallel share one run.
    """
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if parallel else base) / "finished"
    with FileLock(shared.with_suffix(".lock")):
        if not (shared / "done").exists():
            said = subprocess.run(
                [sys.executable, "-m", "edgekd", "compress", "bars.toml"],
                cwd=write_job(shared),
                env=one_thread,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert said.returncode == 0, said.stderr
            (shared / "done").touch()
    run = job / "runs" / "bars"
    shutil.copytree(shared / "runs" / "bars", run, dirs_exist_ok=True)
    return run
