"""`edgekd bench`: time the user's model files side by side and report which is faster."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
from edgekd.benchmarks.input_shapes import assumed, filled, sample_shapes, samples_of, taken
from edgekd.benchmarks.layers.nodes import Profile
from edgekd.benchmarks.layers.peaks import peaks
from edgekd.benchmarks.layers.profile import profile
from edgekd.benchmarks.layers.roofline import Roofline, roofline
from edgekd.benchmarks.measurement import Candidate, Session, Setup, Timing
from edgekd.benchmarks.result import BenchResult, Described, row, unlike_text
from edgekd.benchmarks.runtimes import RUNTIMES
from edgekd.benchmarks.runtimes.providers import PROVIDERS, explain_lack
from edgekd.benchmarks.stats import noise_floor
from edgekd.errors import CandidateError, MeasureError, RecipeError, one_line
from edgekd.wording import flag


class Measurer(Protocol):
    """The part of a device that is used here (`edgekd.devices.open_device`)."""

    def measure(
        self,
        candidates: Sequence[Candidate],
        timing: Timing,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Session:
        """Time all candidates, interleaved, each on its own inputs."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of the files."""

    feeds: Path | None = None
    """An .npz of real inputs, each array with a leading axis of calls; default: random."""
    shapes: Mapping[str, Sequence[int]] | None = None
    """Of random inputs by name, or (one number) the length of a free axis by its symbol."""
    batches: tuple[int, ...] = ()
    """Samples in one call of random inputs; each is a row of its own. Empty: 1, or what one of the
    files fixes."""
    pipeline: Path | None = None
    """See `Candidate.pipeline`."""
    per_sample: bool = False
    """Compare the seconds of a sample, of files that are fed other sizes or batches too."""

    @property
    def calls(self) -> tuple[int, ...]:
        """Samples in one call, each a row of its own."""
        return self.batches or (1,)


def bench(
    files: Sequence[Path | str],
    *,
    device: Measurer,
    vs: Path | str | None = None,
    setups: Sequence[Setup] = (Setup(),),
    timing: Timing | None = None,
    inputs: Inputs | None = None,
    strict: bool = False,
    progress: Callable[[float], None] | None = None,
) -> BenchResult:
    """Time models in setups, all in one interleaved session.

    Args:
        files: at least one.
        device: where; `edgekd.devices.open_device("local")`.
        vs: what they are compared with; without it, the first of several files.
        setups: each file is run in each that takes such a file; the first is the reference's.
        timing: how long; the default takes about ten seconds for two small files.
        inputs: real or random ones.
        strict: a runtime that refuses a file is an error; otherwise, where other runtimes than the
            reference's were requested too, that row is reported as not available.
        progress: called with the share that is done, 0 to 1.

    Raises:
        ModelError: a file cannot be used.
        DataError: the feeds do not fit.
        RecipeError: no file, no setup that can run one, or a shape that does not fit.
        MeasureError: a file could not be run.
    """
    given = inputs or Inputs()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        entries, unavailable = _entries(_paths(files, vs), setups, given, Path(folder))
        work = _Work(device, timing or Timing(), given, strict, progress)
        timed, session, refused = work.measured(entries)
    floor = noise_floor(session)
    reference = timed[0].described
    rows = tuple(
        row(
            entry.described,
            measured,
            session,
            floor,
            reference=reference,
            per_sample=given.per_sample,
        )
        for entry, measured in zip(timed, session.measurements, strict=True)
    )
    source = "random" if given.feeds is None else str(given.feeds)
    unlike = [unlike_text(one) for one in rows if one.unlike]
    lengths = [note for entry in timed for note in entry.described.notes]
    notes = tuple(dict.fromkeys([*unlike, *lengths]))
    return BenchResult(rows, session, source, {**unavailable, **refused}, notes)


def profiles(
    files: Sequence[Path | str],
    *,
    vs: Path | str | None = None,
    setups: Sequence[Setup] = (Setup(),),
    inputs: Inputs | None = None,
) -> Iterator[tuple[str, Profile, Roofline]]:
    """Profile the same files in the same setups, operator by operator, on this machine.

    Only ONNX Runtime on the CPU has such a profile here; other setups are left out. Yields the
    label of the row, the profile, and how far each operator is from the limits of this machine.

    Raises:
        what `bench` raises.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        entries, _ = _entries(_paths(files, vs), setups, inputs or Inputs(), Path(folder))
        for entry in entries:
            setup = entry.candidate.setup
            if setup.runtime == "onnxruntime" and setup.provider in ("", PROVIDERS["cpu"].name):
                found = profile(entry.candidate)
                yield entry.described.label, found, roofline(found, peaks(setup.threads))


def _paths(files: Sequence[Path | str], vs: Path | str | None) -> list[Path]:
    paths = [Path(file) for file in ([vs, *files] if vs is not None else files)]
    if not paths:
        raise RecipeError("nothing to time: got no file, expected at least one ONNX file")
    return paths


@dataclass(frozen=True)
class _Entry:
    candidate: Candidate
    described: Described


def _entries(
    paths: Sequence[Path], setups: Sequence[Setup], given: Inputs, folder: Path
) -> tuple[list[_Entry], dict[str, str]]:
    """Return what to run, its inputs written to `folder`, and which setups cannot be run here."""
    cases, unavailable = _cases(paths, setups, given.calls)
    known = _known_inputs(paths, given)
    drawn = _feeds(paths, given, known)
    feeds = {}
    for index, (key, arrays) in enumerate(drawn.items()):
        feeds[key] = folder / f"{index}.npz"
        save_feeds(feeds[key], arrays)
    entries = [
        _Entry(
            Candidate(case.file, feeds[case.file, case.batch], case.setup, given.pipeline),
            _described(case, label, drawn[case.file, case.batch], known, given),
        )
        for case, label in zip(cases, _labels(cases), strict=True)
    ]
    return entries, unavailable


@dataclass(frozen=True)
class _Case:
    file: Path
    setup: Setup
    batch: int


def _cases(
    paths: Sequence[Path], setups: Sequence[Setup], batches: Sequence[int]
) -> tuple[list[_Case], dict[str, str]]:
    """Return every file in every setup that takes such a file, and what is not to be had here."""
    unavailable = {}
    usable = []
    for setup in setups:
        reason = explain_lack(setup)
        if reason:
            unavailable[_name(setup)] = reason
        else:
            usable.append(setup)
    if not usable:
        reasons = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        raise RecipeError(f"nothing can be timed here: {reasons}")
    for path in paths:
        if not any(_takes(setup, path) for setup in usable):
            asked = ", ".join(dict.fromkeys(setup.runtime for setup in usable))
            raise RecipeError(
                f"{asked} cannot run {path}; "
                + "; ".join(f"{n} takes {', '.join(r.suffixes)}" for n, r in RUNTIMES.items())
            )
    cases = [
        _Case(path, setup, batch)
        for path in paths
        for setup in usable
        if _takes(setup, path)
        for batch in batches
    ]
    return cases, unavailable


def _takes(setup: Setup, path: Path) -> bool:
    suffixes = RUNTIMES[setup.runtime].suffixes
    # A file without a known suffix is taken for an ONNX file.
    known = {suffix for runtime in RUNTIMES.values() for suffix in runtime.suffixes}
    return path.suffix in suffixes or (path.suffix not in known and ".onnx" in suffixes)


def _name(setup: Setup) -> str:
    return f"{setup.runtime} {setup.provider}".strip()


def _labels(cases: Sequence[_Case]) -> list[str]:
    """Name each case by what distinguishes it: its file, and what varies in the setup."""
    names = [case.file.name for case in cases]
    paths = {case.file for case in cases}
    if len({path.name for path in paths}) < len(paths):
        names = [str(case.file) for case in cases]
    words: list[Callable[[_Case], str]] = [
        lambda case: case.setup.runtime,
        lambda case: case.setup.provider,
        lambda case: f"{case.setup.threads} thread{'s' * (case.setup.threads > 1)}",
        lambda case: f"{case.setup.streams} stream{'s' * (case.setup.streams > 1)}",
        lambda case: " ".join(f"{key}={value}" for key, value in case.setup.options),
        lambda case: f"batch {case.batch}",
    ]
    telling = [word for word in words if len({word(case) for case in cases}) > 1]
    return [
        ", ".join([name, *(word(case) for word in telling if word(case))])
        for name, case in zip(names, cases, strict=True)
    ]


def _known_inputs(paths: Sequence[Path], given: Inputs) -> dict[Path, Sequence[Input]]:
    """Return the inputs of the ONNX files, free axes with the lengths that the others fix."""
    inputs = {path: model_inputs(path) for path in paths if path.suffix != ".pt2"}
    if given.feeds is not None:
        return dict(inputs)
    _check_shapes(list(inputs.values()), given.shapes or {})
    return dict(filled(inputs, given.shapes or {}, batch=not given.batches))


def _feeds(
    paths: Sequence[Path], given: Inputs, inputs: Mapping[Path, Sequence[Input]]
) -> dict[tuple[Path, int], Arrays]:
    """Return the arrays of each file and batch; a file that is no ONNX takes those of one."""
    models = list(inputs)
    if given.feeds is not None:
        if given.shapes or given.calls != (1,):
            raise RecipeError(
                f"got {flag('feeds')} and {flag('shape')} or {flag('batch')}; the feeds have their "
                "shapes: give only one"
            )
        return {
            (path, 1): pick_feeds(given.feeds, inputs.get(path, ()) or inputs[models[0]])
            if models
            else _all_feeds(given.feeds)
            for path in paths
        }
    if not models:
        raise RecipeError(
            f"{paths[0].name} does not describe its inputs; give real ones: "
            f"{flag('feeds', 'FILE.npz')}, or time it beside an ONNX file with the same inputs"
        )
    shapes = given.shapes or {}
    names = {item.name for wanted in inputs.values() for item in wanted}
    lengths = {name: shape[0] for name, shape in shapes.items() if name not in names}
    drawn = {
        (path, batch): random_feeds(
            path, inputs=inputs[path], lengths=lengths, shapes=shapes, batch=batch
        )
        for path in models
        for batch in given.calls
    }
    for path, batch in ((path, batch) for path in paths for batch in given.calls):
        drawn.setdefault((path, batch), drawn[models[0], batch])
    return drawn


def _all_feeds(feeds: Path) -> Arrays:
    """Return every array of the feeds: the inputs of the model are unknown."""
    with np.load(feeds, allow_pickle=False) as archive:
        names = tuple(Input(n, archive[n].dtype, archive[n].shape[1:]) for n in archive.files)
    return pick_feeds(feeds, names)


def _check_shapes(inputs: Sequence[Sequence[Input]], shapes: Mapping[str, Sequence[int]]) -> None:
    names = {item.name for wanted in inputs for item in wanted}
    symbols = {a for wanted in inputs for i in wanted for a in i.shape if isinstance(a, str) and a}
    for name, shape in shapes.items():
        if name not in names and not (name in symbols and len(shape) == 1):
            raise RecipeError(
                f"{flag('shape', f'{name}={describe(shape)}')} matches no input; inputs are "
                f"{_listed(names)}, "
                f"free axes (one number) are {_listed(symbols)}"
            )


@dataclass(frozen=True)
class _Work:
    device: Measurer
    timing: Timing
    given: Inputs
    strict: bool
    progress: Callable[[float], None] | None

    def measured(self, asked: Sequence[_Entry]) -> tuple[list[_Entry], Session, dict[str, str]]:
        """Return what was timed, its session, and by its label why a runtime refused the rest."""
        entries, refused = list(asked), dict[str, str]()
        while True:
            candidates = [entry.candidate for entry in entries]
            try:
                session = self.device.measure(candidates, self.timing, progress=self.progress)
                return entries, session, refused
            except CandidateError as error:
                if self._needed(candidates, error.index):
                    if self.given.feeds is not None:
                        raise
                    raise MeasureError(
                        f"{error}\nIt was run on random inputs; if the model needs real ones, "
                        f"give them: {flag('feeds', 'FILE.npz')}, or their shape: "
                        f"{flag('shape', 'NAME=1x3x224x224')}"
                    ) from error
                label = entries.pop(error.index).described.label
                refused[label] = f"not available: {one_line(error)}"

    def _needed(self, candidates: Sequence[Candidate], index: int) -> bool:
        """Say whether without it there is nothing to see; another runtime beside is a try."""
        reference, failed = candidates[0].setup, candidates[index].setup
        alike = (failed.runtime, failed.provider) == (reference.runtime, reference.provider)
        return self.strict or alike


def _described(
    case: _Case,
    label: str,
    arrays: Arrays,
    known: Mapping[Path, Sequence[Input]],
    given: Inputs,
) -> Described:
    files = (case.file,) if case.file.suffix == ".pt2" else model_files(case.file)
    inputs = known.get(case.file) or next(iter(known.values()), ())
    notes: list[str] = []
    if case.file in known and given.feeds is None:
        notes += taken(case.file.name, model_inputs(case.file), inputs)
        notes += assumed(case.file.name, inputs, given.shapes or {})
    return Described(
        file=case.file,
        label=label,
        batch=samples_of(inputs, arrays),
        inputs={name: f"{a.dtype} {describe(a.shape[1:])}" for name, a in arrays.items()},
        size_bytes=sum(part.stat().st_size for part in files),
        sample_shapes=sample_shapes(inputs, arrays),
        notes=tuple(notes),
    )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
