"""Why a run of trtexec failed, in one message with what to do."""

from __future__ import annotations

import re

from edgekd.benchmarks.trtexec.output import read_output
from edgekd.errors import few, one_line

_UNKNOWN = re.compile(r"Unknown option: (--?[\w-]+)")
_FOREIGN = (
    "magicTag",
    "incompatible serialization",
    "created with incompatible",
    "different version",
    "Version tag does not match",
    "generated on a different",
    "incompatible device",
    "not compatible with this version",
)
_NO_GPU = ("no CUDA-capable device", "CUDA driver version is insufficient", "CUDA initialization")
_FULL = ("OutOfMemory", "out of memory", "insufficient memory")
# What only says that something failed before.
_ECHOES = re.compile(
    r"(Failed to (parse onnx file|create engine)|Parsing model failed|(Engine|Inference) set up"
    r" failed|Engine deserialization failed|Got invalid engine|Engine could not be created|"
    r".*--- (Begin|End) node ---|ModelImporter\.cpp:\d+ In function|Building engine failed)"
)


def explain_failure(text: str, *, target: str = "") -> str:
    """Return why trtexec failed, in one paragraph.

    Args:
        text: what it printed, stdout and stderr together.
        target: what the command was written for, as in "tensorrt-10.3".
    """
    found = read_output(text)
    named = f"TensorRT {found.version}" if found.version else "trtexec"
    unknown = list(dict.fromkeys(_UNKNOWN.findall(text)))
    if unknown:
        meant = f"; the command is for {target}" if target else ""
        cure = _right_target(found.version)
        return f"{named} does not know {few(unknown)}{meant}{cure}"
    if any(words in text for words in _FOREIGN):
        return (
            f"{named} cannot load this engine: it was built by another version of TensorRT, or for "
            "another GPU; build it again on this device"
        )
    if any(words in text for words in _NO_GPU):
        return (
            f"{named} finds no GPU that it can use; check nvidia-smi, and on a Jetson that a "
            "container was started with --runtime nvidia"
        )
    if any(words in text for words in _FULL):
        return f"{named} has too little memory; close other programs, or give a smaller batch"
    reasons = _reasons(text)
    if any(word in text for word in ("Failed to parse onnx", "ModelImporter", "In function parse")):
        return (
            f"{named} cannot read the ONNX file: {reasons}; `edgekd lint` names what a version "
            "does not read"
        )
    return f"{named} failed: {reasons}"


def _right_target(version: str | None) -> str:
    if version is None:
        return "; give the version of the TensorRT on this device"
    return f"; give --for tensorrt-{'.'.join(version.split('.')[:2])}"


def _reasons(text: str) -> str:
    """Return the lines of errors that say something; lines without a mark follow one that has."""
    found: list[str] = []
    follows = False
    for line in text.splitlines():
        if re.match(r"\[\d\d/\d\d/\d{4}-", line):
            follows = "[E]" in line
            words = line.partition("[E]")[2].removeprefix(" [TRT]").strip() if follows else ""
        else:
            words = line.strip() if follows and not line.startswith("&&&&") else ""
        words = re.sub(r"^ModelImporter\.cpp:\d+: (ERROR: )?", "", words)
        if words and not _ECHOES.match(words):
            found.append(words)
    return one_line("; ".join(dict.fromkeys(found)))[:600] or "it gave no reason"
