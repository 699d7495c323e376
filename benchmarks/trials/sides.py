"""Programs that time the same work, ours and others, each in its own process.

A `Side` starts one and returns a function that waits until it is ready; that returns a `Block`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.measurement import Candidate
from edgekd.benchmarks.trials import c_api_engine, torch_loop, torch_module_engine
from edgekd.errors import MeasureError

Block = Callable[[float], list[float]]  # about so many seconds of work -> seconds of each call
Side = Callable[[contextlib.ExitStack], Callable[[], Block]]

C_SOURCE = Path(__file__).with_name("ort_loop.c")
REWARM_S = 0.002  # not counted at the start of a block, as in the runner
LIMIT_S = 120.0


def ours(candidate: Candidate) -> Side:
    """Return our runner with a candidate."""
    return _runner(arguments_of(candidate))


def ours_on_c(shared: Path, words: Sequence[str], feeds: Path) -> Side:
    """Return our runner with the very calls that the C loop makes.

    Args:
        shared: the C loop as a shared library.
        words: of the C loop.
        feeds: those of the C loop, as an .npz.
    """
    options = [f"loop={shared}", f"words={json.dumps(list(words))}"]
    arguments = [words[2], str(feeds), "--threads", "1", "--engine", c_api_engine.__file__]
    return _runner([*arguments, *(word for pair in options for word in ("--option", pair))])


def ours_on_module(feeds: Path, layers: int, width: int) -> Side:
    """Return our runner with the module that PyTorch's Timer calls; its file is this engine's."""
    engine = torch_module_engine.__file__
    options = ("--option", f"layers={layers}", "--option", f"width={width}")
    return _runner([engine, str(feeds), "--threads", "1", "--engine", engine, *options])


def _runner(arguments: Sequence[str]) -> Side:
    def start(stack: contextlib.ExitStack) -> Callable[[], Block]:
        child = stack.enter_context(
            Child(arguments, python=sys.executable, name="the model", limit_s=LIMIT_S)
        )

        def ready() -> Block:
            child.ask(ready=True)
            child.ask(load=True)
            child.ask(warm=REWARM_S)
            return lambda seconds: [float(t) for t in child.ask(run=seconds)["block_s"]]

        return ready

    return start


def in_c(words: Sequence[str]) -> Side:
    """Return the C loop; a library of another version than the Python package's is refused."""

    def start(stack: contextlib.ExitStack) -> Callable[[], Block]:
        loop = stack.enter_context(opened(words))

        def ready() -> Block:
            told = loop.ask()
            if told != onnxruntime.__version__:
                raise MeasureError(f"the C loop runs {told}, we {onnxruntime.__version__}")
            call_s = 1e-9 * float(np.median(loop.ask("10 10")))

            def block(seconds: float) -> list[float]:
                uncounted, count = max(1, round(REWARM_S / call_s)), max(3, round(seconds / call_s))
                return [1e-9 * t for t in loop.ask(f"{uncounted} {count}")]

            return block

        return ready

    return start


def torch_timer(layers: int, width: int) -> Side:
    """Return `torch_loop.py`."""
    words = [sys.executable, torch_loop.__file__, str(layers), str(width)]

    def start(stack: contextlib.ExitStack) -> Callable[[], Block]:
        loop = stack.enter_context(opened(words))

        def ready() -> Block:
            loop.ask()
            return lambda seconds: [float(t) for t in loop.ask(str(seconds))]

        return ready

    return start


class Loop:
    """A process that sleeps until it gets a line; see `opened`."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        """Take over a process that was started with pipes."""
        self._process, self._name = process, name

    def ask(self, line: str = "") -> Any:
        """Send a line, if any, and return the next document.

        Raises:
            MeasureError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its last output explains more
            if line:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            assert self._process.stderr is not None
            last = self._process.stderr.read().strip()
            raise MeasureError(f"{self._name} ended with code {self._process.wait()}: {last}")
        return json.loads(answer)


@contextlib.contextmanager
def opened(words: Sequence[str]) -> Iterator[Loop]:
    """Start a program that speaks this way, and end it."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(
        words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    )
    try:
        yield Loop(process, Path(words[0]).name)
    finally:
        process.kill()
        process.communicate()


def library() -> Path:
    """Return the shared library of the installed ONNX Runtime.

    Raises:
        MeasureError: its wheel has none, as on Windows and macOS.
    """
    spec = importlib.util.find_spec("onnxruntime")
    places = (spec.submodule_search_locations if spec else None) or []
    found = [path for place in places for path in Path(place).glob("capi/libonnxruntime.so*")]
    if not found:
        raise MeasureError(
            "not available: the installed onnxruntime has no libonnxruntime.so, as its wheel for "
            "Linux has"
        )
    return found[0]


def compiled(folder: Path) -> tuple[Path, Path]:
    """Compile the C loop into a folder; return it as a program and as a shared library.

    Raises:
        MeasureError: the compiler or the source is missing, or it fails.
    """
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None or not C_SOURCE.is_file():
        raise MeasureError(
            f"not available: the C loop needs a C compiler ({compiler}) and a checkout of the "
            "repository (benchmarks/trials/ort_loop.c)"
        )
    program, shared = folder / "ort_loop", folder / "ort_loop.so"
    for target, flags in ((program, []), (shared, ["-shared", "-fPIC"])):
        words = [compiler, "-std=c11", "-D_GNU_SOURCE", "-O2", *flags]
        words += ["-o", str(target), str(C_SOURCE), "-ldl"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MeasureError(f"{compiler} could not compile {C_SOURCE.name}: {done.stderr}")
    return program, shared


def words_for_c(
    program: Path, model: Path, names: tuple[str, str], feeds: NDArray[np.float32]
) -> list[str]:
    """Return the words that start the C loop; it writes outputs to `model` with the ending .out.

    Args:
        program: compiled.
        model: with one float32 input and one output of the same shape.
        names: of these.
        feeds: [calls, *shape]; written beside the model.
    """
    stored = model.with_suffix(".bin")
    feeds.tofile(stored)
    words = [program, library(), model, *names, stored, len(feeds), model.with_suffix(".out")]
    return [str(word) for word in (*words, feeds[0].size, *feeds.shape[1:])]
