"""Work of other programs is counted and told."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.benchmarks.measurement import Setup
from edgekd.devices.local import LocalDevice
from edgekd.evaluation.other_work import describe_others, warn_of_others, watch_others


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not count it")
def test_own_work_is_not_that_of_others_and_a_running_program_is() -> None:
    """A child that has ended was work of its own, one that runs is another program."""
    busy = "import time; e = time.monotonic() + {}\nwhile time.monotonic() < e: pass"
    used = watch_others()
    subprocess.run([sys.executable, "-c", busy.format(0.3)], check=True)
    own = used()
    used = watch_others()
    with subprocess.Popen([sys.executable, "-c", busy.format(5)]) as other:
        before = time.monotonic()
        while time.monotonic() - before < 0.4:
            time.sleep(0.1)
        found = used()
        other.kill()
    assert own is not None
    assert found is not None
    assert found > 0.1, "a core that is shared gives it a part at least"
    assert watch_others()() is None, "too short to tell"


@pytest.mark.parametrize(
    ("used", "cores", "said"),
    [
        (None, 2, ""),
        (1.0, None, ""),
        (0.5, 2, ""),
        (1.4, 2, "1.4 of this machine's 2 cores"),
        (3.1, 2, "2.0 of this machine's 2 cores"),
        (2.0, 64, ""),
    ],
)
def test_a_quarter_of_the_cores_competes(used: float | None, cores: int | None, said: str) -> None:
    assert describe_others(used, cores) == said
    here = replace(LocalDevice().conditions(Setup()), cores=cores, load_average=11.04)
    warning = warn_of_others(used, here)
    assert bool(warning) == bool(said)
    assert not said or f"programs use {said} (load average 11.0): intervals" in warning
