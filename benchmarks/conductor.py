"""Carry out a schedule: start its processes, send commands in order, pass on the answers.

    python conductor.py SCHEDULE.json ANSWERS.jsonl       in a folder that `pack_schedule` wrote

The same code conducts a session from the host, through workers on a device, and alone on a device
that is out of reach meanwhile. Python 3.8 is enough, and nothing but the standard library and the
runner beside it is needed. `edgekd.benchmarks.schedule` describes SCHEDULE.json. ANSWERS.jsonl gets
one JSON document per line: {"runs": [..], "idle": [..]} after each round, one run per process; at
the end {"done": true}, or {"error": "..", "index": i}, where i is the process that does not start.

Time on a shared machine drifts by more than what compression gains, and each process has its own
speed (where its memory lies). So per round every process is fresh, with one live session; all are
started and warmed, then blocks of calls alternate between them in random order, every process
sleeping while another works. Rounds repeat that with new processes: they are the samples that the
statistics resample.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Protocol, Sequence  # noqa: UP035  Python 3.8

RUNNER = Path(__file__).with_name("runner.py")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}  # numpy computes nothing here: it needs no threads
LEAST_ROUNDS = 3
LEAST_BLOCKS = 3
IDLE_S = 0.5  # of rest before the start, where energy is counted: what idle costs is subtracted
LEAST_LIMIT_S = 60.0  # for one answer of a process
STDERR_LINES = 15


class WorkerError(Exception):
    """A process under test crashed, reported an error, or did not answer in time."""


class LoadError(Exception):
    """A process cannot load its file, or cannot run it once; the cause has the reason."""

    def __init__(self, index: int) -> None:
        """Keep which process of the schedule it is."""
        super().__init__(index)
        self.index = index


class Worker(Protocol):
    """One process under test, on whatever device."""

    def start(self) -> None:
        """Start it and return at once."""

    def ask(self, **command: float) -> dict[str, Any]:
        """Send a command of the runner and return its answer."""

    def close(self) -> None:
        """End it, whatever happened; also before it was started."""


def carry_out(
    schedule: dict[str, Any],
    hire: Callable[[int], Worker],
    is_precise: Callable[[], bool] = lambda: True,
    is_decided: Callable[[], bool] = lambda: False,
) -> Iterator[dict[str, Any]]:
    """Yield the answers of each round, until there are enough or the time is up.

    Args:
        schedule: as JSON.
        hire: returns a worker that is not started yet, for a process of the schedule.
        is_precise: asked after `timing.rounds` rounds; while it returns False, further rounds
            follow.
        is_decided: asked at each of `timing.looks`; if it returns True, no further round follows.

    Raises:
        LoadError: a process cannot load its file.
        what the workers raise: a process crashed or hung later.
    """
    timing, begin = schedule["timing"], time.monotonic()
    for number in range(len(schedule["rounds"])):
        yield run_round(schedule, number, hire)
        done = number + 1
        if done < min(LEAST_ROUNDS, timing["rounds"]):
            continue
        if time.monotonic() - begin > timing["time_limit_s"]:
            return
        if done in timing["looks"] and is_decided():
            return
        if done >= timing["rounds"] and is_precise():
            return


def run_round(
    schedule: dict[str, Any], number: int, hire: Callable[[int], Worker]
) -> dict[str, Any]:
    """Start every process, time them side by side, end them."""
    order, timing = schedule["rounds"][number], schedule["timing"]
    workers = [hire(index) for index in range(len(schedule["processes"]))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.ask(ready=True)  # all have imported; from here on one works at a time
        idle = rest(workers[0]) if number == 0 else None
        starts = {index: load(workers[index], index) for index in order["load"]}
        answers = time_blocks(schedule, order, workers)
        parts = [
            w.ask(parts=timing["block_s"])["parts_s"] if timing["parts"] else {} for w in workers
        ]
        peaks = [worker.ask(quit=True)["peak_memory_bytes"] for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    runs = [
        {
            "round": number,
            **{name: starts[i][name] for name in ("load_s", "first_s", "harness_s")},
            **columns(answers[i]),
            "parts_s": parts[i],
            "peak_memory_bytes": peaks[i],
        }
        for i in range(len(workers))
    ]
    return {"runs": runs, "idle": idle}


def rest(worker: Worker) -> list[dict[str, Any]] | None:
    """Sample the machine around a rest; None if there is no energy counter."""
    before = worker.ask(sample=True)["sample"]
    if before["energy_j"] is None:
        return None
    time.sleep(IDLE_S)
    return [before, worker.ask(sample=True)["sample"]]


def load(worker: Worker, index: int) -> dict[str, Any]:
    """Let a worker load its file and make the first call."""
    try:
        return worker.ask(load=True)
    except Exception as error:  # a worker may be anything, and so may its errors
        raise LoadError(index) from error


def time_blocks(
    schedule: dict[str, Any], order: dict[str, Any], workers: Sequence[Worker]
) -> list[list[dict[str, Any]]]:
    """Warm every worker, then sweep after sweep time one block of each.

    The first answer of each is the machine before its first block.
    """
    timing = schedule["timing"]
    limit = time.monotonic() + timing["time_limit_s"] / timing["rounds"]
    answers: list[list[dict[str, Any]]] = [[] for _ in workers]
    for index in order["warm"]:
        workers[index].ask(warm=timing["warmup_s"])
        answers[index].append(workers[index].ask(sample=True))
    rate = {} if timing["rate_hz"] is None else {"rate_hz": timing["rate_hz"]}
    for number, sweep in enumerate(order["sweeps"]):
        if number >= LEAST_BLOCKS and time.monotonic() > limit:
            break  # slow models: fewer blocks per process rather than fewer processes
        for index in sweep:
            answers[index].append(workers[index].ask(run=schedule["block_s"], **rate))
    return answers


def columns(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a process answered in blocks, as `ProcessRun.from_json` takes it."""
    before, *blocks = answers
    samples = [answer["sample"] for answer in (before, *blocks)]
    return {
        "blocks_s": [answer["block_s"] for answer in blocks],
        "elapsed_s": [answer["elapsed_s"] for answer in blocks],
        "cpu_s": [answer["cpu_s"] for answer in blocks if "cpu_s" in answer],
        "samples": {
            "columns": list(samples[0]),
            "rows": [list(sample.values()) for sample in samples],
        },
    }


class Process:
    """A runner on this machine, a worker that sleeps until it is asked."""

    failure: type[Exception] = WorkerError

    def __init__(self, arguments: Sequence[str], *, python: str, name: str, limit_s: float) -> None:
        """Describe `python runner.py *arguments`; `name` is what errors call it.

        Args:
            arguments: of the runner.
            python: the interpreter.
            name: the file under test.
            limit_s: a process that takes longer than this for one answer is given up.
        """
        self._words = [python, str(RUNNER), *arguments]
        self._name, self._limit_s = name, limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[bytes] = queue.Queue()

    def start(self) -> None:
        """Start it and return at once.

        Raises:
            failure: the interpreter cannot be started.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed in `close`
        try:
            self._process = subprocess.Popen(
                self._words,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
            )
        except OSError as error:
            self._stderr.close()
            raise self.failure(
                f"{self._words[0]} could not be started to measure {self._name}: {error.strerror}"
            ) from error
        # A thread, since Windows cannot wait for a pipe with a time limit.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Hand on every line; an empty one when the process has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        for line in iter(self._process.stdout.readline, b""):
            self._lines.put(line)
        self._lines.put(b"")

    @property
    def pid(self) -> int:
        """Of the process, once it is started."""
        assert self._process is not None
        return self._process.pid

    def ask(self, **command: float) -> dict[str, Any]:
        """Send one command and return the answer.

        Raises:
            failure: the process crashed, reported an error, or did not answer in time.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # `answer` reads its last words
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return the next document of the process; raises as `ask` does."""
        try:
            line = self._lines.get(timeout=self._limit_s)
        except queue.Empty:
            raise self._failed(f"did not answer within {self._limit_s:.0f} s") from None
        if not line.endswith(b"\n"):
            assert self._process is not None
            raise self._failed(f"ended with exit code {self._process.wait()}")
        try:
            document = json.loads(line)
        except ValueError:
            raise self._failed(f"answered {line[:200]!r}, which is not JSON") from None
        if not isinstance(document, dict):
            raise self._failed(f"answered {line[:200]!r}")
        if "error" in document:
            raise self.failure(f"{self._name} could not be run: {document['error']}")
        return document

    def _failed(self, what: str) -> Exception:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        tail = "\n".join(lines[-STDERR_LINES:]) or "(nothing)"
        return self.failure(f"the process that runs {self._name} {what}; its last output:\n{tail}")

    def close(self) -> None:
        """End the process, whatever happened."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=1.0)  # longer only if another process has the pipe open
        streams: list[IO[bytes] | None] = [self._process.stdin, self._stderr]
        if not self._reader.is_alive():
            streams.append(self._process.stdout)
        for stream in streams:
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not flushed has no reader any more
                    stream.close()


def arguments_of(process: dict[str, Any], folder: Path | None = None) -> list[str]:
    """Return the arguments of the runner for a process of a schedule; paths count from `folder`."""

    def path(name: str) -> str:
        found = process[name]
        return "" if found is None else str(found if folder is None else folder / found)

    setup = process["setup"]
    return [
        path("file"),
        path("feeds"),
        *("--threads", str(setup["threads"])),
        *("--streams", str(setup["streams"])),
        *("--provider", setup["provider"]),
        *("--engine", path("engine")),
        *("--pipeline", path("pipeline")),
        *(word for key, value in setup["options"] for word in ("--option", f"{key}={value}")),
    ]


def hire_process(
    schedule: dict[str, Any],
    index: int,
    *,
    folder: Path | None = None,
    python: str = sys.executable,
    kind: type[Process] = Process,
) -> Worker:
    """Return a worker on this machine for a process of the schedule."""
    process = schedule["processes"][index]
    return kind(
        arguments_of(process, folder),
        python=python,
        name=process["name"],
        limit_s=max(LEAST_LIMIT_S, 5 * float(schedule["timing"]["time_limit_s"])),
    )


def say(out: IO[str], document: dict[str, Any]) -> None:
    """Write one line of JSON."""
    out.write(json.dumps(document) + "\n")
    out.flush()


def main() -> int:
    """Carry a schedule file out; a failure is the last line of the answers and exit code 1."""
    parser = argparse.ArgumentParser(description="Carry a schedule out on this machine.")
    parser.add_argument("schedule", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--python", default=sys.executable, help="has numpy and the runtimes")
    arguments = parser.parse_args()
    try:
        schedule = json.loads(arguments.schedule.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        parser.error(f"{arguments.schedule} is not a schedule that can be read: {error}")
    folder = arguments.schedule.resolve().parent
    hire = functools.partial(hire_process, schedule, folder=folder, python=arguments.python)
    with arguments.answers.open("w", encoding="utf8") as out:
        try:
            for answers in carry_out(schedule, hire):
                say(out, answers)
        except LoadError as error:
            say(out, {"error": str(error.__cause__), "index": error.index})
            return 1
        except WorkerError as error:
            say(out, {"error": str(error)})
            return 1
        say(out, {"done": True})
    return 0


if __name__ == "__main__":
    sys.exit(main())
