"""Memory of this machine and process, and work that is ended when it takes too much of either.

A network is any code: a loop that runs for hours, or a graph that grows without end, can only be
ended from outside. So what runs such code for a try does it in a forked child: that shares the
network with its parent, and can be killed without a trace. Only Linux forks safely under torch;
elsewhere the work is done in this process, without a bound.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from edgekd.errors import EdgekdError

T = TypeVar("T")
CAN_FORK = sys.platform == "linux"
POLL_S = 0.05
GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Bounds:
    """What a try may take at most."""

    cpu_s: float
    """Seconds of processor time: other work on the machine does not count."""
    wall_s: float
    """Seconds by the clock, for what waits."""
    memory_bytes: int
    """Beyond what this process has already."""


class OutOfBounds(Exception):  # a signal, like NothingToDo
    """The work was ended; the message says at which bound."""


def run_bounded(work: Callable[[], T], bounds: Bounds) -> T:
    """Return `work()`, done in a child where that can be; what it returns must be picklable.

    Raises:
        OutOfBounds: it took more than `bounds`, or its process was killed.
        EdgekdError: what `work` raised.
    """
    if not CAN_FORK:
        return work()
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(work, sender, bounds), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child lacks
        with _without_threads_of_tokenizers():
            child.start()
    sender.close()
    try:
        answer = _await(child, receiver, bounds)
    finally:
        child.kill()
        child.join()
        receiver.close()
    kind, value = pickle.loads(answer)
    if kind == "error":
        raise value
    if kind == "fault":
        raise RuntimeError(f"in the child process:\n{value}")
    found: T = value
    return found


@contextmanager
def _without_threads_of_tokenizers() -> Iterator[None]:
    """Tell the library that its threads do not come along, or each fork prints a warning."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _child(work: Callable[[], object], sender: Connection, bounds: Bounds) -> None:
    import resource

    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # what torch prints beside its errors
        os.dup2(nowhere.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and kills it
    limit = max(1, round(bounds.cpu_s))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    held = _status_bytes("self", "VmData")
    if held:  # one allocation beyond reason fails at once, before it is anyone's memory
        resource.setrlimit(resource.RLIMIT_DATA, (held + 2 * bounds.memory_bytes,) * 2)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)  # the threads of the parent did not come along
        # a fork cannot use CUDA that its parent began to use, and is not to ask for it
        torch.cuda.is_available = lambda: False
    try:
        answer: tuple[str, object] = "result", work()
    except EdgekdError as error:
        answer = "error", error
    except MemoryError:
        answer = "error", OutOfBounds(_too_large(bounds))
    except Exception:  # noqa: BLE001  # any code runs here; the parent raises it
        answer = "fault", traceback.format_exc()
    sender.send_bytes(pickle.dumps(answer))


def _await(child: BaseProcess, receiver: Connection, bounds: Bounds) -> bytes:
    end = time.monotonic() + bounds.wall_s
    first = _status_bytes(str(child.pid), "RssAnon")
    while not receiver.poll(POLL_S):
        if _status_bytes(str(child.pid), "RssAnon") - first > bounds.memory_bytes:
            raise OutOfBounds(_too_large(bounds))
        if time.monotonic() > end:
            raise OutOfBounds(f"it took more than {bounds.wall_s:g} s")
    try:
        return receiver.recv_bytes()
    except EOFError:
        child.join()
    if child.exitcode in (-signal.SIGXCPU, -signal.SIGKILL):
        if child.exitcode == -signal.SIGXCPU:
            raise OutOfBounds(f"it took more than {bounds.cpu_s:g} s of processor time") from None
        raise OutOfBounds("its process was killed, as systems do when memory ends") from None
    raise OutOfBounds(f"its process crashed (exit code {child.exitcode})") from None


def _too_large(bounds: Bounds) -> str:
    return f"it took more than {bounds.memory_bytes / GIB:.1f} GB of memory"


def _status_bytes(process: str, name: str) -> int:
    """Return a line of /proc/PROCESS/status; 0 where there is none."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def held_bytes() -> int:
    """Return the memory that this process has now; 0 where it is not known."""
    return _status_bytes("self", "VmRSS") or _most_ever_bytes()


@dataclass(frozen=True)
class Peak:
    """The memory of this process over a job."""

    most_bytes: int
    """That the whole process had at once; 0: not known."""
    held_bytes: int
    """That it had before the job began: Python, libraries, and what earlier work left."""


@contextmanager
def watch_peak() -> Iterator[Callable[[], Peak]]:
    """Yield a function that returns the most memory of this process since then."""
    with suppress(OSError):  # begins the peak anew; elsewhere it is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    first = held_bytes()
    yield lambda: Peak(_status_bytes("self", "VmHWM") or _most_ever_bytes(), first)


def _most_ever_bytes() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes() -> int | None:
    """Return the memory that a new need may take, of the machine or its container; None: unknown.

    What the system keeps of files counts as free.
    """
    found = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())  # "max" is no number: no limit
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text())
        found.append(limit - used + int(stat.get("inactive_file", 0)))
    if not found and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(found)) if found else None
