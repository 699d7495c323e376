"""Processes under test, seen from the parent: start the runner, ask it, read its answer."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgekd.benchmarks.measurement import Candidate
from edgekd.benchmarks.runtimes import engine_of
from edgekd.errors import MeasureError

RUNNER = Path(__file__).with_name("runner.py")
STDERR_LINES = 15
ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # a statistics.py lies beside the runner: it must not shadow Python's
    "OPENBLAS_NUM_THREADS": "1",  # numpy computes nothing here and need not start a pool
}


def arguments_of(candidate: Candidate) -> list[str]:
    """Return the arguments of the runner that run a candidate in its setup."""
    setup = candidate.setup
    engine = engine_of(setup.runtime)
    return [
        str(candidate.file),
        str(candidate.feeds),
        *("--threads", str(setup.threads)),
        *("--streams", str(setup.streams)),
        *("--provider", setup.provider),
        *("--engine", "" if engine is None else str(engine)),
        *("--pipeline", "" if candidate.pipeline is None else str(candidate.pipeline)),
        *(word for key, value in setup.options for word in ("--option", f"{key}={value}")),
    ]


class Child:
    """A runner process that sleeps until it is asked. Use it in `with`: it is killed at the end."""

    def __init__(self, arguments: Sequence[str], *, python: str, name: str, limit_s: float) -> None:
        """Start `python runner.py *arguments`; `name` is what errors call it.

        Args:
            arguments: of the runner.
            python: the interpreter.
            name: the file under test.
            limit_s: a child that takes longer than this for one answer is given up.

        Raises:
            MeasureError: the interpreter cannot be started.
        """
        self._name, self._limit_s = name, limit_s
        self._rest = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        try:
            self._process = subprocess.Popen(
                [python, str(RUNNER), *arguments],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
            )
        except OSError as error:
            self._stderr.close()
            raise MeasureError(
                f"{python} could not be started to time {name}: {error.strerror}"
            ) from error

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, **command: float) -> dict[str, Any]:
        """Send one command and return the answer.

        Raises:
            MeasureError: the child crashed, reported an error, or did not answer in time.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `answer` reads its last words
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return the next document of the child; raises as `ask` does."""
        line = self._line()
        try:
            document = json.loads(line)
        except ValueError:
            raise self._failed(f"answered {line[:200]!r}, which is not JSON") from None
        if not isinstance(document, dict):
            raise self._failed(f"answered {line[:200]!r}")
        if "error" in document:
            raise MeasureError(f"{self._name} could not be run: {document['error']}")
        return document

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        parts, deadline = [self._rest], time.monotonic() + self._limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._failed(f"gave no answer in {self._limit_s:.0f} s")
                part = os.read(stream, 1 << 20)
                if not part:
                    raise self._failed(f"ended with exit code {self._process.wait()}")
                parts.append(part)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def _failed(self, what: str) -> MeasureError:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        tail = "\n".join(lines[-STDERR_LINES:]) or "(nothing)"
        return MeasureError(f"the process that runs {self._name} {what}; its last words:\n{tail}")

    def __enter__(self) -> Self:
        """Hand it out; it works already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process, whatever happened."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                stream.close()
