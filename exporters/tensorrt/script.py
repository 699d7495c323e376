"""A shell script that builds and times engines on a device which needs nothing of edgekd."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekd.benchmarks.feeds import Input
from edgekd.benchmarks.trtexec.commands import (
    Engine,
    Precision,
    Timing,
    build_command,
    time_command,
)
from edgekd.benchmarks.trtexec.shapes import BATCH, Range, free_shapes
from edgekd.benchmarks.trtexec.versions import Version

_MODELS, _OUT, _PROGRAM = "@models@", "@out@", "@trtexec@"
_VARIABLES = {_MODELS: '"$models"', _OUT: '"$out"', _PROGRAM: '"$trtexec"'}
_ROLES: Mapping[Precision, str] = {
    "int8": "INT8",
    "fp16": "FP16, its rival: INT8 may gain nothing over it, least of all at batch 1",
    "fp16-chosen": "FP16 where TensorRT likes, the rival: INT8 may gain nothing over it",
    "fp32": "FP32, the reference",
}


@dataclass(frozen=True, kw_only=True)
class BoardFile:
    """An ONNX file that a device gets, and how it is built there."""

    name: str
    """Relative to the folder of the files."""
    precision: Precision
    inputs: tuple[Input, ...]
    opset: int

    @property
    def label(self) -> str:
        """What its engine and its results are called."""
        return self.precision


def make_script(
    version: Version,
    files: Sequence[BoardFile],
    *,
    models: str,
    note: str = "",
    remarks: Sequence[str] = (),
    batch: Range = BATCH,
    lengths: Mapping[str, Range] | None = None,
) -> str:
    """Return the script.

    Args:
        version: of the TensorRT on the device.
        files: to build, in this order.
        models: what the variable `models` is, as a word of the shell: the folder of the files.
        note: what to know of the version.
        remarks: lines of its head.
        batch: least, usual and largest number of samples in a call.
        lengths: of other free axes, by their symbol.

    Raises:
        RecipeError: an input cannot be named to trtexec, or lengths are not in order.
    """
    about = f"TensorRT {version.name}" + (f" ({note})" if note else "")
    head = [
        "#!/bin/sh",
        f"# Build and time this network with {about}, on the device itself:",
        "#     sh THIS_FILE [FOLDER]",
        "# FOLDER gets the engines, what trtexec printed, and the times of every query; without it",
        f"# tensorrt-{version.name} does, beside the folder of the ONNX files. Engines run only",
        "# on the kind of GPU and the version of TensorRT that built them. In the environment:",
        "# MODELS, the folder of the ONNX files, if they are not those that came with this script;",
        "# TRTEXEC, the program, if it is neither in PATH nor where JetPack puts it.",
        *(f"#   {file.label}: {file.name}, {_ROLES[file.precision]}" for file in files),
        *(f"# {line}" for line in remarks),
        *(f"# {line}" for line in _free_axes(files, lengths or {})),
        "set -eu",
        f"models={models}",
        f'out=${{1:-"$(dirname -- "$models")/tensorrt-{version.name}"}}',
        "trtexec=${TRTEXEC:-$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)}",
        'mkdir -p -- "$out"',
        "failed=0",
        "run() {",
        "    log=$out/$1.txt",
        '    echo "$1: $log"',
        "    shift",
        '    "$@" >"$log" 2>&1 && return',
        '    tail -n 20 -- "$log"',
        "    failed=1",
        "    return 1",
        "}",
    ]
    body = []
    for file in files:
        engine = Engine(
            model=f"{_MODELS}/{file.name}",
            plan=f"{_OUT}/{file.label}.plan",
            precision=file.precision,
            shapes=free_shapes(file.inputs, batch=batch, lengths=lengths),
            timing_cache=f"{_OUT}/timing.cache",
        )
        timing = Timing(
            times=f"{_OUT}/{file.label}.times.json",
            profile=f"{_OUT}/{file.label}.profile.json",
            layers=f"{_OUT}/{file.label}.layers.json",
        )
        build = _step(f"build-{file.label}", build_command(version, engine, program=_PROGRAM))
        time = _step(f"time-{file.label}", time_command(version, engine, timing, program=_PROGRAM))
        body.append(f"{build} && \\\n{time} || :")  # one that fails does not stop the others
    tail = ["grep -H -e 'GPU Compute Time: min' -- \"$out\"/time-*.txt || :", "exit $failed", ""]
    return "\n".join([*head, *body, *tail])


def _step(name: str, command: Sequence[str]) -> str:
    return " \\\n    ".join([f"run {name}", *map(_word, command)])


def _word(text: str) -> str:
    """Return a word of the shell in which placeholders are variables."""
    quoted = shlex.quote(text)
    for placeholder, variable in _VARIABLES.items():
        inside = f"'{variable}'" if quoted.startswith("'") else variable
        quoted = quoted.replace(placeholder, inside)
    return quoted


def _free_axes(files: Sequence[BoardFile], lengths: Mapping[str, Range]) -> list[str]:
    """Say which lengths nobody has given."""
    guessed = {
        (item.name, number, axis)
        for file in files
        for item in file.inputs
        for number, axis in enumerate(item.shape)
        if isinstance(axis, str)
        and number != item.batch_axis
        and "batch" not in axis.lower()
        and axis not in lengths
    }
    return [
        f"Axis {number} of {name!r} ({axis or 'no name'}) is free; its length below is a guess."
        for name, number, axis in sorted(guessed)
    ]
