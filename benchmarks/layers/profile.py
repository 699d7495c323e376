"""Profile a model operator by operator with the runtime's own profiler."""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.layers.events import Key, read_events
from edgekd.benchmarks.layers.nodes import Node, Profile
from edgekd.benchmarks.measurement import Candidate
from edgekd.errors import BadInput, MeasureError

LIMIT_S = 1800.0
WARM_S = 0.1
CALLED_S = 0.3


def profile(candidate: Candidate, *, python: str = sys.executable) -> Profile:
    """Run a model under ONNX Runtime's profiler and return what each node took.

    Three processes, one after the other: one is profiled, one is profiled again with weights left
    unpacked (packed ones are missing from the profile; only shapes are taken from it), one
    is timed without the profiler. The profiler counts whole microseconds and cuts the rest off, so
    short nodes look up to 1 us shorter than they are.

    Raises:
        BadInput: the candidate runs in another runtime.
        MeasureError: a process crashed, refused the file, or hung; or the profile contains no
            nodes.
    """
    runtime = candidate.setup.runtime
    if runtime != "onnxruntime":
        raise BadInput(
            f"{candidate.file.name} cannot be profiled in {runtime}, only in onnxruntime; leave "
            "--runtime out, or give a profile of trtexec with --trt-profile"
        )
    nodes, profiled_call_s, calls = _profiled(candidate, python)
    shapes = _shapes(candidate, python)
    version, call_s = _timed(candidate, python)
    return Profile(
        nodes=tuple(_with_shapes(node, shapes.get(key)) for key, node in nodes.items()),
        calls=calls,
        runtime=version,
        threads=candidate.setup.threads,
        profiled_call_s=profiled_call_s,
        call_s=call_s,
    )


def profile_nodes(candidate: Candidate, *, python: str = sys.executable) -> tuple[Node, ...]:
    """Return what each node took, from one process; without shapes, see `profile`."""
    return tuple(_profiled(candidate, python)[0].values())


def _profiled(
    candidate: Candidate, python: str, *options: str
) -> tuple[dict[Key, Node], float, int]:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        arguments = [*arguments_of(candidate), *options, "--profile", folder]
        with Child(arguments, python=python, name=candidate.file.name, limit_s=LIMIT_S) as child:
            file = child.answer()["profile"]
        return read_events(Path(file))


def _shapes(candidate: Candidate, python: str) -> dict[Key, Node]:
    try:
        return _profiled(candidate, python, "--option", "session.disable_prepacking=1")[0]
    except MeasureError:  # some kernels run packed only: their weights stay unknown
        return {}


def _with_shapes(node: Node, other: Node | None) -> Node:
    if other is None or other.operator != node.operator or other.outputs != node.outputs:
        return replace(node, parameter_bytes=None)  # of what was packed nothing was counted
    return replace(node, inputs=other.inputs, parameter_bytes=other.parameter_bytes)


def _timed(candidate: Candidate, python: str) -> tuple[str, float]:
    """Return the runtime with its version, and the median seconds of a call without a profiler."""
    arguments = arguments_of(candidate)
    with Child(arguments, python=python, name=candidate.file.name, limit_s=LIMIT_S) as child:
        child.ask(ready=True)
        version = child.ask(load=True)["runtime"]
        child.ask(warm=WARM_S)
        return version, statistics.median(child.ask(run=CALLED_S)["block_s"])
