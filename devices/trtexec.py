"""TensorRT through its command line on this machine: build engines, and let it time them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.benchmarks.layers.nodes import Profile
from edgekd.benchmarks.layers.trtexec import Times, read_profile, read_times
from edgekd.benchmarks.trtexec.commands import (
    Engine,
    Precision,
    Timing,
    build_command,
    time_command,
)
from edgekd.benchmarks.trtexec.failure import explain_failure
from edgekd.benchmarks.trtexec.output import Output, check_times, read_output
from edgekd.benchmarks.trtexec.shapes import Shapes
from edgekd.benchmarks.trtexec.versions import Version, version_of
from edgekd.devices.engines import BUILD_LIMIT_S, timing_cache
from edgekd.errors import BadInput, MeasureError

PROBE_LIMIT_S = 60.0
PLACES = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec")
"""Where JetPack and NVIDIA's packages put it, outside of PATH."""


def find_trtexec() -> str:
    """Return the program: $TRTEXEC, from PATH, or where JetPack puts it; "" if there is none."""
    given = os.environ.get("TRTEXEC", "")
    places = [given, shutil.which("trtexec") or "", *PLACES]
    return next((p for p in places if p and shutil.which(p)), "")


@dataclass(frozen=True, kw_only=True)
class Trtexec:
    """An installed trtexec."""

    program: str
    installed: str
    """Its version, as in "10.3.0"."""
    version: Version
    """How its options are called."""
    hardware: str
    """Of this machine, with its GPU: engines are not another's."""

    def build(self, engine: Engine) -> Output:
        """Build an engine.

        Raises:
            MeasureError: it could not be built; the message has the reason.
            RecipeError: the version cannot do that.
        """
        return self._run(
            build_command(self.version, engine, program=self.program), limit_s=BUILD_LIMIT_S
        )

    def time(self, engine: Engine) -> Timed:
        """Let it time an engine that was built.

        Raises:
            MeasureError: it failed, or what it wrote is damaged or contradicts itself.
        """
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            names = ("times.json", "profile.json", "layers.json")
            times, profile, layers = (str(Path(folder, name)) for name in names)
            timing = Timing(times=times, profile=profile, layers=layers)
            command = time_command(self.version, engine, timing, program=self.program)
            output = self._run(command, limit_s=BUILD_LIMIT_S)
            return read_timed(output, folder=Path(folder))

    def _run(self, command: Sequence[str], *, limit_s: float) -> Output:
        text, code = _call(command, limit_s=limit_s)
        output = read_output(text)
        if code or output.passed is False:
            raise MeasureError(explain_failure(text, target=f"TensorRT {self.version.name}"))
        return output


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What trtexec measured of one engine, in its own process: no interleaved session."""

    output: Output
    times: Times
    profile: Profile | None
    """None: it wrote none."""


def read_timed(output: Output, *, folder: Path, label: str = "") -> Timed:
    """Read the files of one run, and hold what was printed against them.

    Args:
        output: what it printed.
        folder: with its files.
        label: what their names begin with, as in "int8.times.json".

    Raises:
        MeasureError: they are missing, damaged, or contradict each other.
    """
    start = f"{label}." if label else ""
    paths = {kind: folder / f"{start}{kind}.json" for kind in ("times", "profile", "layers")}
    layers = paths["layers"] if paths["layers"].is_file() else None
    try:
        times = read_times(paths["times"])
        check_times(output, times)
        profile = read_profile(paths["profile"], layers=layers)
    except BadInput as error:
        raise MeasureError(str(error)) from error
    return Timed(output=output, times=times, profile=profile)


def probe_trtexec(program: str, *, hardware: str) -> Trtexec:
    """Ask a trtexec for its version.

    Raises:
        MeasureError: it does not start, or does not say its version.
        RecipeError: the options of that version are not known.
    """
    # Without a model it fails after the line that names its version.
    text, _ = _call([program, "--version"], limit_s=PROBE_LIMIT_S)
    installed = read_output(text).version
    if installed is None:
        raise MeasureError(
            f"{program} did not say which TensorRT it is of; its first words were "
            f"{text.strip()[:200]!r}"
        )
    return Trtexec(
        program=program,
        installed=installed,
        version=version_of(installed),
        hardware=hardware,
    )


@dataclass(frozen=True, kw_only=True)
class TrtexecBuilder:
    """Builds an engine with trtexec; see `EngineBuilder`."""

    trtexec: Trtexec
    file: Path
    precision: Precision
    shapes: Mapping[str, Shapes]
    suffix: str = ".plan"

    def engine(self, plan: Path) -> Engine:
        """Return the engine with its file."""
        cache = timing_cache([self.trtexec.installed, self.trtexec.hardware])
        return Engine(
            model=str(self.file),
            plan=str(plan),
            precision=self.precision,
            shapes=self.shapes,
            timing_cache=str(cache),
        )

    def depends_on(self) -> object:
        plain = Engine(model="", plan="", precision=self.precision, shapes=self.shapes)
        flags = build_command(self.trtexec.version, plain, program="")
        return [self.trtexec.installed, self.trtexec.hardware, flags]

    def build(self, target: Path) -> None:
        self.trtexec.build(self.engine(target))
        if not target.is_file():
            raise MeasureError(f"trtexec says that it built {self.file.name}, and wrote no engine")


def _call(command: Sequence[str], *, limit_s: float) -> tuple[str, int]:
    """Run a program; return what it printed, stderr included, and its exit code."""
    try:
        done = subprocess.run(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=limit_s,
        )
    except OSError as error:
        raise MeasureError(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise MeasureError(
            f"{command[0]} was ended after {limit_s:g} seconds without a result"
        ) from error
    return done.stdout.decode(errors="replace"), done.returncode
