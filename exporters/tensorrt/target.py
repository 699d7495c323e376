"""`edgekd export --for tensorrt-10.3`: the commands that build and time the files of a network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from edgekd.artifact import Variant
from edgekd.benchmarks.measurement import Setup
from edgekd.benchmarks.runtimes import missing
from edgekd.benchmarks.runtimes import version as installed_version
from edgekd.benchmarks.trtexec.shapes import BATCH, Range
from edgekd.benchmarks.trtexec.versions import (
    BOARDS,
    VERSIONS,
    Version,
    found_on,
    target_version,
    version_of,
)
from edgekd.devices import open_device
from edgekd.devices.trtexec import find_trtexec, probe_trtexec
from edgekd.errors import MeasureError, RecipeError
from edgekd.exporters.onnx_files import file_parts
from edgekd.exporters.target import Exported, Source, Target
from edgekd.exporters.tensorrt.board_files import INT8, board_files, board_of, read_files
from edgekd.exporters.tensorrt.script import make_script
from edgekd.exporters.tensorrt.timed import (
    Results,
    build_alone,
    build_and_time,
    gain,
    read_results,
    table,
)
from edgekd.wording import flag

FOLDER = "tensorrt"
"""Of a bundle: one script a version."""
_HERE, _ABOVE = (
    f'${{MODELS:-$(CDPATH="" cd -- "$(dirname -- "$0"){up}" && pwd)}}' for up in ("", "/..")
)
"""The folder of the ONNX files, as a script finds it: its own, or that of the bundle above it."""


def export_tensorrt(source: Source, target: str) -> Exported:
    """Return a script for the version or board that `target` names, and the files that it reads.

    Raises:
        RecipeError: no such version or board; an input cannot be named to trtexec.
        ModelError: see `board_files`.
    """
    version, note = target_version(target)
    board = board_files(source, version)
    remarks = [f"Left out: {name}: {why}." for name, why in board.left_out.items()]
    if all(file.precision != "int8" for file in board.files) and not remarks:
        remarks = [f'No file here is INT8 for TensorRT; variants = ["{INT8}", "fp16"] makes one.']
    script = make_script(
        version,
        board.files,
        models=_HERE,
        note=note or found_on(version),
        remarks=remarks,
        batch=source.batch,
        lengths=source.lengths,
    )
    wanted = {file.name for file in board.files}
    models = [path for path in source.files.values() if path.name in wanted]
    parts = {name: data for path in models for name, data in file_parts(path).items()}
    notes = "".join(f"{line}\n" for line in remarks)
    return Exported(text=script, notes=notes, files={f"{target}.sh": script, **parts})


def build_here(source: Source, target: str) -> Exported:
    """Build and time the files with this machine's trtexec, or build with the Python package.

    Raises:
        RecipeError: the target is unknown, or TensorRT here is of a version with other options.
        MeasureError: there is no TensorRT, or it failed.
        ModelError: see `board_files`.
    """
    version, _ = target_version(target)
    files = board_files(source, version).files
    fingerprint = open_device("local").fingerprint(Setup("tensorrt"))
    program = find_trtexec()
    if program:
        trtexec = probe_trtexec(program, hardware=fingerprint)
        _require(version, trtexec.version, f"{program} is TensorRT {trtexec.installed}", target)
        return _shown(build_and_time(trtexec, files, source))
    lack = missing("tensorrt")
    if lack:
        raise MeasureError(
            "trtexec is not in PATH, nor where JetPack puts it (or give it in TRTEXEC), and "
            f"TensorRT's Python package is {lack}. Without --build the commands are printed, to "
            "run them elsewhere"
        )
    installed = installed_version("tensorrt").removeprefix("tensorrt ")
    _require(version, version_of(installed), f"here is TensorRT {installed}", target)
    strict = [file for file in files if file.precision != "fp16-chosen"]
    results = build_alone(strict, source, fingerprint=fingerprint)
    return Exported(
        text=_listed(results, [str(path) for path in source.files.values()]),
        files={f"{label}.plan": plan.read_bytes() for label, plan in results.plans.items()},
        facts={"engines": [], "failed": dict(results.failed), "int8_over": None},
    )


def _require(wanted: Version, found: Version, said: str, target: str) -> None:
    """Refuse a TensorRT with other options than those of a target."""
    if found != wanted:
        raise RecipeError(
            f"{said}, and the commands for {target} are not for it; give "
            f"{flag('for', f'tensorrt-{found.name}')}"
        )


def _listed(results: Results, files: list[str]) -> str:
    """Say what was built without being timed."""
    lines = [f"{label}: {plan}" for label, plan in results.plans.items()]
    lines += [f"{label}: {reason}" for label, reason in results.failed.items()]
    command = shlex.join(["edgekd", "bench", *files, "--runtime", "tensorrt"])
    return "\n".join([*lines, f"to time them side by side: {command}", ""])


def read_board(source: Source, target: str, folder: Path) -> Exported:
    """Read the folder that the script filled on a device.

    Raises:
        MeasureError: see `read_results`.
    """
    version, _ = target_version(target)
    return _shown(read_results(folder, board_files(source, version).files, target=target))


def _shown(results: Results) -> Exported:
    found = gain(results.rows)
    facts = {
        "engines": [row.to_json() for row in results.rows],
        "failed": dict(results.failed),
        "int8_over": None if found is None else {"rival": found[0], "times": found[1]},
    }
    files = {f"{label}.plan": plan.read_bytes() for label, plan in results.plans.items()}
    return Exported(text=table(results), files=files, facts=facts)


def bundle_scripts(
    files: Mapping[Variant, Path], *, lengths: Mapping[str, Range], batch: Range = BATCH
) -> dict[str, str]:
    """Return the scripts of a bundle, by name: one for each version that reads its files.

    There are none where nothing in it is laid out for TensorRT.

    Raises:
        ModelError: a file cannot be read.
        RecipeError: an input cannot be named to trtexec.
    """
    if not {INT8, "fp16"} & set(files):
        return {}
    known: dict[Variant | None, Path] = dict(files.items())
    folder = next(iter(files.values())).parent
    found = read_files(Source(path=folder, files=known, batch=batch, lengths=lengths))
    scripts = {}
    for version in VERSIONS:
        board = board_of(found, version)
        if any(file.precision in ("int8", "fp16") for file in board.files):
            remarks = [f"Left out: {name}: {why}." for name, why in board.left_out.items()]
            scripts[f"{FOLDER}/{version.name}.sh"] = make_script(
                version,
                board.files,
                models=_ABOVE,
                note=found_on(version),
                remarks=remarks,
                batch=batch,
                lengths=lengths,
            )
    return scripts


def _takes(target: str) -> bool:
    return target in BOARDS or re.fullmatch(r"tensorrt-[\d.]+", target) is not None


TENSORRT = Target(
    name="tensorrt-VERSION",
    about=(
        f"commands of trtexec, for {', '.join(v.name for v in VERSIONS)} or a board such as "
        "jetson-orin"
    ),
    takes=_takes,
    export=export_tensorrt,
    build=build_here,
    read=read_board,
)
