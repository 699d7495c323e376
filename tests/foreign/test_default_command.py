"""The default command on strangers' networks, no option: a bundle, or one fitting paragraph.

`make test-foreign` runs three dozen networks, two at a time, and prints the table: what the
student lost (made), whether the gate kept it, the memory and the processor time. The default tests
run few of them, short.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.foreign import networks
from tests.foreign.networks import INPUTS, NETWORKS

FEW = ("narrow", "mlp", "tabular", "swin", "branchy")
"""Of unlike kinds, run short: two are cut, one has nothing to cut, and two are refused."""
_DEFAULT = ("narrow", "swin", "branchy")
"""Those of them in the default tests: a whole job takes a minute and more without VNNI."""
ALIKE = (
    *("vggview", "espcn", "optA", "einsum", "wstd", "repvgg", "fpn", "tcn", "convlstm", "cbam"),
    *("shufflev1", "glu", "mbv3", "preact", "ownswish"),
)
"""Networks that are cut in test_channels.py only: others of their kind go the whole way."""
WHOLE = tuple(name for name in NETWORKS if name not in ALIKE)
SHORT = ["measure.rounds=3", "measure.blocks=2", "effort=0.05", "export.fixed_shape=false"]
SAMPLES = 240
REFUSED = {
    "branchy": r"networks\.py:\d+.*depends on the values of a tensor.*torch\.where",
    "swin": r"networks\.py:\d+.*fixes a length that must stay free: axis 0.*with int\(\)",
}
"""Networks that no ONNX file can describe, or none for any batch; and the paragraph on it."""
MOST_BYTES = 1_500_000_000
"""Peak memory of a job beyond that of a process that has only imported torch."""


@dataclass(frozen=True)
class Outcome:
    """What the command left of one network."""

    name: str
    exit_code: int
    said: str
    peak_bytes: int
    cpu_s: float
    record: Any
    """`report.json`; None without a bundle."""

    @property
    def made(self) -> float | None:
        """Percent of the parameters that the student lost, kept or not; None: it was skipped."""
        if self.record is None:
            return None
        counts = [r["evidence"]["files"][0]["facts"]["parameters"] for r in self._cut]
        teacher = self.record["rungs"][0]["evidence"]["files"][0]["facts"]["parameters"]
        return 100 * (1 - counts[0] / teacher) if counts else None

    @property
    def _cut(self) -> list[Any]:
        rungs = self.record["rungs"]
        return [r for r in rungs if r["title"] in ("distill", "prune") and r["evidence"]]

    def line(self) -> str:
        """One line of the table."""
        kept = next((r["outcome"] for r in self._cut), "skipped") if self.record else "refused"
        made = "     -" if self.made is None else f"{self.made:5.0f} %"
        ships = self.record["final"]["files"][self.record["final"]["chosen"]] if self.record else {}
        shipped = f"{ships['title']} {ships['variant']}" if ships else self.said[-60:]
        return (
            f"{self.name:<12}{made}  {kept:<12}{self.peak_bytes / 1e6:6.0f} MB"
            f"{self.cpu_s:6.0f} s  {shipped}"
        )


def write_samples(name: str, folder: Path) -> list[str]:
    """Write data of the right form for a network; return the flags that name them.

    A network with one output of classes gets labels and is trained; any other gets weights.
    """
    torch.manual_seed(0)
    network, example = NETWORKS[name](), INPUTS[name]()
    outputs = network.eval()(*example)
    random = np.random.default_rng(0)
    classes = outputs.shape[1] if isinstance(outputs, Tensor) and outputs.ndim == 2 else 0
    labels = np.arange(SAMPLES) % min(4, classes or 4)
    names = list(inspect.signature(network.forward).parameters)
    many = len(example) > 1
    arrays = {
        names[i] if many else "x": _array(tensor, labels, random, pixels=bool(classes) and not many)
        for i, tensor in enumerate(example)
    }
    if classes:
        arrays["y"] = labels
    np.savez(folder / "data.npz", **arrays)
    flags = ["--data", "data.npz"]
    if not classes:
        torch.save(network.state_dict(), folder / "weights.pt")
        flags += ["--weights", "weights.pt"]
    return flags


def _array(example: Tensor, labels: Any, random: np.random.Generator, *, pixels: bool) -> Any:
    shape = (SAMPLES, *example.shape[1:])
    if not example.is_floating_point():
        found = random.integers(int(example.min()), int(example.max()) + 1, shape)
        found[:, 0] = labels + 1
        return found
    lift = labels.reshape(-1, *[1] * (len(shape) - 1))
    if example.ndim == 4 and pixels:
        found = np.moveaxis(random.integers(0, 120, shape), 1, 3) + 40 * lift
        return found.astype(np.uint8)
    return (random.normal(size=shape) + lift).astype(np.float32)


def run(name: str, folder: Path, changes: list[str]) -> Outcome:
    """Run the command in a process of its own, as its user does."""
    folder.mkdir()
    flags = ["--model", f"{networks.__file__}:{name}", *write_samples(name, folder)]
    return run_command(name, folder, flags, changes)


def run_command(name: str, folder: Path, flags: list[str], changes: list[str]) -> Outcome:
    """Run `edgekd compress` with these flags in `folder`."""
    words = [sys.executable, "-m", "edgekd", "compress", *flags, "--out", "run"]
    words += [word for change in changes for word in ("--set", change)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "300"}
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    report = folder / "run" / "report.json"
    whole = (folder / "run" / "bundle" / "manifest.json").exists()
    return Outcome(
        name,
        child.returncode,
        (folder / "log.txt").read_text(encoding="utf8"),
        1024 * used.ru_maxrss,
        used.ru_utime + used.ru_stime,
        json.loads(report.read_text(encoding="utf8")) if whole else None,
    )


@cache
def empty_bytes() -> int:
    """The peak memory of a process that only imports torch."""
    child = subprocess.Popen([sys.executable, "-c", "import torch"])
    used: resource.struct_rusage = os.wait4(child.pid, 0)[2]
    child.returncode = 0
    return 1024 * used.ru_maxrss


def check(found: Outcome) -> None:
    """Hold one outcome to what is promised."""
    assert found.peak_bytes - empty_bytes() < MOST_BYTES, found.line()
    assert "Traceback" not in found.said, found.said
    if found.name in REFUSED:
        assert found.exit_code == 2, found.said
        last = found.said[found.said.rindex("error:") :].strip()
        assert re.search(REFUSED[found.name], " ".join(last.split())), last
        assert "\n\n" not in last
    else:
        assert found.exit_code == 0, found.said[-3000:]
        assert found.record is not None, found.said[-3000:]


@pytest.mark.parametrize(
    "name", [n if n in _DEFAULT else pytest.param(n, marks=pytest.mark.foreign) for n in FEW]
)
def test_a_short_run_ends_with_a_bundle_or_one_paragraph(name: str, tmp_path: Path) -> None:
    check(run(name, tmp_path / name, SHORT))


@pytest.mark.foreign
def test_the_default_command_on_the_whole_gallery(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: run(name, tmp_path / name, []), WHOLE))
    cpu_s = sum(outcome.cpu_s for outcome in found)
    with capsys.disabled():
        total = f"{cpu_s / 2:.0f} s on two cores; only torch: {empty_bytes() / 1e6:.0f} MB"
        lines = ["", *[outcome.line() for outcome in found], total]
        sys.stdout.write("\n".join(lines) + "\n")
    assert len(found) >= 30
    for outcome in found:
        check(outcome)
    bundles = [outcome for outcome in found if outcome.record is not None]
    assert len(bundles) >= len(found) * 26 / 30
    assert sum((outcome.made or 0) >= 20 for outcome in bundles) >= len(found) * 18 / 30
