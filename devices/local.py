"""This machine as a device. It uses the same runner as a board would."""

from __future__ import annotations

import functools
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.children import Child
from edgekd.benchmarks.conductor import hire_process
from edgekd.benchmarks.measurement import Candidate, Conditions, Session, Setup, Timing
from edgekd.benchmarks.runtimes import version
from edgekd.benchmarks.runtimes.providers import explain_lack
from edgekd.benchmarks.schedule import Schedule
from edgekd.benchmarks.session import conduct
from edgekd.benchmarks.wide_weights import is_wide
from edgekd.devices.device import plan_on
from edgekd.devices.engines import build_engine
from edgekd.errors import ModelError
from edgekd.store import digest

RUN_LIMIT_S = 3600.0
PROVIDER = "CPUExecutionProvider"
_ISA = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm", "sve")
"""Instruction sets that decide how fast INT8 is, and on old ones whether it is right."""


class LocalDevice:
    """The CPU of this machine, always in child processes: never in the one that trained."""

    name = "local"

    def conditions(self, setup: Setup) -> Conditions:
        return Conditions(
            device=self.name,
            cpu=processor_name(),
            runtime=version(setup.runtime),
            provider=setup.provider or (PROVIDER if setup.runtime == "onnxruntime" else "CPU"),
            threads=setup.threads,
            os=f"{platform.system()} {platform.release()} {platform.machine()}",
            python=platform.python_version(),
            governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            emulated=False,
            streams=setup.streams,
            options=setup.options,
            load_average=_load_average(),
            cores=os.cpu_count(),
        )

    def fingerprint(self, setup: Setup) -> str:
        here = self.conditions(setup)
        return digest(
            [here.device, here.cpu, os.cpu_count(), _gpus(), here.os],
            [here.runtime, here.provider, here.threads, here.streams, here.options],
        )

    def lacks(self, setup: Setup) -> str:
        return explain_lack(setup)

    def prepare(self, candidate: Candidate) -> Path:
        return build_engine(candidate, fingerprint=self.fingerprint(candidate.setup))

    def measure(
        self,
        candidates: Sequence[Candidate],
        timing: Timing,
        *,
        progress: Callable[[float], None] | None = None,
        decided: Callable[[Session], bool] | None = None,
    ) -> Session:
        schedule = plan_on(self, candidates, timing)
        return self.run_schedule(schedule, progress=progress, decided=decided)

    def run_schedule(
        self,
        schedule: Schedule,
        *,
        progress: Callable[[float], None] | None = None,
        decided: Callable[[Session], bool] | None = None,
    ) -> Session:
        hire = functools.partial(hire_process, schedule.to_json(), kind=Child)
        conditions = [self.conditions(process.setup) for process in schedule.processes]
        return conduct(schedule, hire, conditions=conditions, progress=progress, decided=decided)

    def run(self, file: Path, feeds: Path) -> dict[str, NDArray[Any]]:
        for path in (file, feeds):
            if not path.is_file():
                raise ModelError(f"{path} cannot be run: there is no such file; check the path")
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            stored = Path(folder) / "outputs.npz"
            arguments = [str(file), str(feeds), "--threads", "0", "--outputs", str(stored)]
            if is_wide(file.name):  # its sums need 32 bits, which kernels of old processors lack
                arguments += ["--option", "session.disable_quant_qdq=1"]
            child = Child(arguments, python=sys.executable, name=file.name, limit_s=RUN_LIMIT_S)
            with child:
                names = child.answer()["outputs"]
            with np.load(stored, allow_pickle=False) as outputs:
                return {name: outputs[f"arr_{index}"] for index, name in enumerate(names)}


def processor_name() -> str:
    """Name the processor and the instruction sets that matter, as in "AMD EPYC [avx2]"."""
    text = _read("/proc/cpuinfo") or ""
    lines = [[part.strip() for part in line.split(":", 1)] for line in text.splitlines()]
    facts = dict(reversed([line for line in lines if len(line) == 2]))  # the first core's win
    board = (_read("/proc/device-tree/model") or "").strip("\0")
    name = facts.get("model name") or board or platform.processor() or platform.machine()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    known = " ".join(isa for isa in _ISA if isa in flags)
    return f"{name} [{known}]" if known else name


def _gpus() -> list[str]:
    """Name NVIDIA's driver and cards; for a Jetson the name of the board."""
    folder = Path("/proc/driver/nvidia")
    cards = [_read(str(path)) or "" for path in sorted(folder.glob("gpus/*/information"))]
    models = [line for card in cards for line in card.splitlines() if line.startswith("Model")]
    return [_read(str(folder / "version")) or "", *models]


def _load_average() -> float | None:
    """Of the last minute; None where the system does not count it (Windows)."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
