"""`edgekd bench`: time files that somebody brings, side by side, and say which is faster."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgekd.benchmarks.feeds import (
    Arrays,
    Input,
    describe,
    model_files,
    model_inputs,
    pick_feeds,
    random_feeds,
    save_feeds,
)
from edgekd.benchmarks.measurement import Candidate, Measurement, Session, Timing
from edgekd.benchmarks.statistics import Estimate, latency, percentile, speedup
from edgekd.benchmarks.table import bench_table, milliseconds, times
from edgekd.errors import MeasureError, RecipeError

if TYPE_CHECKING:
    from rich.table import Table


class Measurer(Protocol):
    """What is needed of a device (`edgekd.devices.open_device`)."""

    def measure(
        self,
        candidates: Sequence[Candidate],
        timing: Timing,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Session:
        """Time all candidates, interleaved, each on its own inputs."""


@dataclass(frozen=True)
class BenchFile:
    """What was found about one file. Load and first call are medians over processes."""

    file: Path
    inputs: Mapping[str, str]  # name -> type and shape it was timed with
    size_bytes: int  # external data included
    load_s: float
    first_s: float
    latency_s: Estimate
    p90_s: Estimate
    peak_memory_bytes: int  # of the whole process; the largest of all
    steady: bool
    speedup: Estimate | None  # against the reference; None for the reference itself

    @property
    def verdict(self) -> str:
        """Say in words what the speed-up proves; "" for the reference."""
        if self.speedup is None:
            return ""
        if not self.steady:
            return "no steady state"
        if self.speedup.low > 1:
            return "faster"
        return "slower" if self.speedup.high < 1 else "no difference"


@dataclass(frozen=True, repr=False)
class BenchResult:
    """All files of one session; the first is what the others are compared with."""

    files: tuple[BenchFile, ...]
    session: Session
    feeds: str  # where the inputs came from: "random", or a file

    def to_json(self) -> dict[str, Any]:
        """Return everything, raw seconds included, as plain JSON values."""
        rows = [{**asdict(f), "file": str(f.file), "verdict": f.verdict} for f in self.files]
        conditions = self.session.measurements[0].conditions.to_json()
        head = {"conditions": conditions, "floor": self.session.floor, "feeds": self.feeds}
        return {**head, "files": rows, "session": self.session.to_json()}

    def table(self) -> Table:
        """Return it for people; print it with `rich`."""
        return bench_table(self)

    def __repr__(self) -> str:
        """Say the essence in one line per file."""
        lines = [
            f"{f.file.name}: {milliseconds(f.latency_s)}"
            + (f", {times(f.speedup)} {f.verdict}" if f.speedup else "")
            for f in self.files
        ]
        return "BenchResult(" + "; ".join(lines) + ")"


def bench(
    files: Sequence[Path | str],
    *,
    device: Measurer,
    vs: Path | str | None = None,
    timing: Timing | None = None,
    feeds: Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Callable[[float], None] | None = None,
) -> BenchResult:
    """Time ONNX files, all in one interleaved session.

    Args:
        files: at least one.
        device: where; `edgekd.devices.open_device("local")`.
        vs: what they are compared with; without it, the first of several files.
        timing: how long; the default takes about ten seconds for two small files.
        feeds: an .npz of real inputs, each array with a leading axis of calls; default: random.
        shapes: of random inputs by name, or (one number) the length of a free axis by its symbol.
        progress: called with the share that is done, 0 to 1.

    Raises:
        ModelError: a file cannot be used.
        DataError: the feeds do not fit.
        RecipeError: no file, or a shape that no file has or that does not fit.
        MeasureError: a file could not be run.
    """
    paths = [Path(file) for file in ([vs, *files] if vs is not None else files)]
    if not paths:
        raise RecipeError("nothing to time: got no file, expected at least one ONNX file")
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        inputs = [model_inputs(path) for path in paths]
        drawn = _feeds(paths, inputs, feeds, shapes or {})
        candidates = []
        for index, (path, arrays) in enumerate(zip(paths, drawn, strict=True)):
            candidates.append(Candidate(path, Path(folder) / f"{index}.npz"))
            save_feeds(candidates[-1].feeds, arrays)
        try:
            session = device.measure(candidates, timing or Timing(), progress=progress)
        except MeasureError as error:
            if feeds is None:
                raise MeasureError(
                    f"{error}\nIt was run on random inputs; if the model refuses those, give real "
                    "ones with --feeds FILE.npz, or their shape with --shape NAME=1x3x224x224"
                ) from error
            raise
    rows = zip(paths, drawn, session.measurements, strict=True)
    found = tuple(_row(path, arrays, measured, session) for path, arrays, measured in rows)
    return BenchResult(found, session, "random" if feeds is None else str(feeds))


def _feeds(
    paths: Sequence[Path],
    inputs: Sequence[Sequence[Input]],
    feeds: Path | None,
    shapes: Mapping[str, Sequence[int]],
) -> list[Arrays]:
    if feeds is not None:
        if shapes:
            raise RecipeError("got --feeds and --shape; the feeds have their shapes: give only one")
        return [pick_feeds(feeds, wanted) for wanted in inputs]
    names = {item.name for wanted in inputs for item in wanted}
    symbols = {a for wanted in inputs for i in wanted for a in i.shape if isinstance(a, str) and a}
    for name, shape in shapes.items():
        if name not in names and not (name in symbols and len(shape) == 1):
            raise RecipeError(
                f"--shape {name}={describe(shape)} fits nothing; inputs are {_listed(names)}, "
                f"free axes (one number) are {_listed(symbols)}"
            )
    lengths = {name: shape[0] for name, shape in shapes.items() if name not in names}
    return [random_feeds(path, lengths=lengths, shapes=shapes) for path in paths]


def _row(path: Path, arrays: Arrays, measured: Measurement, session: Session) -> BenchFile:
    reference = session.measurements[0]
    is_reference = measured is reference
    return BenchFile(
        file=path,
        inputs={name: f"{a.dtype} {describe(a.shape[1:])}" for name, a in arrays.items()},
        size_bytes=sum(part.stat().st_size for part in model_files(path)),
        load_s=float(np.median([run.load_s for run in measured.runs])),
        first_s=float(np.median([run.first_s for run in measured.runs])),
        latency_s=latency(measured),
        p90_s=percentile(measured, 90),
        peak_memory_bytes=max(run.peak_memory_bytes for run in measured.runs),
        steady=measured.steady and reference.steady,
        speedup=None if is_reference else speedup(reference, measured, floor=session.floor),
    )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
