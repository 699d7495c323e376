"""The engines that a runtime builds from a file: built once, cached by all that they depend on."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.feeds import random_feeds, save_feeds
from edgekd.benchmarks.measurement import Candidate, Setup
from edgekd.benchmarks.model_content import model_content
from edgekd.benchmarks.runtimes import known, missing
from edgekd.benchmarks.trtexec.shapes import Shapes
from edgekd.errors import MeasureError
from edgekd.store import cache_folder, digest

BUILD_LIMIT_S = 3600.0


class EngineBuilder(Protocol):
    """Builds one engine of one file on this device."""

    @property
    def file(self) -> Path:
        """The file that it is built of."""

    @property
    def suffix(self) -> str:
        """Of what it writes."""

    def depends_on(self) -> object:
        """Return what the engine depends on besides the file, as JSON: version, hardware, shapes.

        Raises:
            MeasureError: this machine cannot build it.
        """

    def build(self, target: Path) -> None:
        """Write the engine.

        Raises:
            MeasureError: it could not be built; the message has the reason.
        """


def keep_engine(builder: EngineBuilder) -> Path:
    """Return an engine from the cache; it is built if it is not there.

    Raises:
        ModelError: the file cannot be read.
        MeasureError: it could not be built.
    """
    key = digest(model_content(builder.file).key, builder.depends_on())
    path = cache_folder() / "engines" / f"{key}{builder.suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{key}.{os.getpid()}.partial")
        try:
            builder.build(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def timing_cache(key: object) -> Path:
    """Return the file in which a builder keeps what it learned of kernels, by version and GPU."""
    path = cache_folder() / "engines" / f"{digest('kernels', key)}.timing"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@dataclass(frozen=True)
class RunnerBuilder:
    """Builds through the runner, in a process of its own, as the runtime of the candidate does."""

    candidate: Candidate
    fingerprint: str
    """Of the device with the candidate's setup."""
    shapes: Mapping[str, Shapes] = field(default_factory=dict)
    """Of inputs with a free axis; without them the engine takes the shapes of the feeds alone."""

    @property
    def file(self) -> Path:
        return self.candidate.file

    @property
    def suffix(self) -> str:
        return known(self.candidate.setup.runtime).built

    def depends_on(self) -> object:
        with np.load(self.candidate.feeds, allow_pickle=False) as feeds:
            shapes = {n: [str(feeds[n].dtype), *feeds[n].shape[1:]] for n in feeds.files}
        return [shapes, self._ranges(), self.fingerprint]

    def build(self, target: Path) -> None:
        arguments = [*arguments_of(self.candidate), "--build", str(target)]
        if self.candidate.setup.runtime == "tensorrt":
            arguments += ["--option", f"timing_cache={timing_cache(self.fingerprint)}"]
        if self.shapes:
            arguments += ["--option", f"ranges={json.dumps(self._ranges())}"]
        name = self.candidate.file.name
        with Child(arguments, python=sys.executable, name=name, limit_s=BUILD_LIMIT_S) as child:
            child.answer()

    def _ranges(self) -> dict[str, list[tuple[int, ...]]]:
        return {name: [s.least, s.usual, s.most] for name, s in self.shapes.items()}


def build_engine(candidate: Candidate, *, fingerprint: str) -> Path:
    """Return what is run in place of the candidate's file: built now, from the cache, or itself.

    Args:
        candidate: what to run.
        fingerprint: of the device with the candidate's setup.

    Raises:
        ModelError: the file cannot be read.
        MeasureError: it could not be built.
    """
    suffix = known(candidate.setup.runtime).built
    if not suffix or candidate.file.suffix == suffix:
        return candidate.file
    return keep_engine(RunnerBuilder(candidate, fingerprint))


def build_with_package(file: Path, shapes: Mapping[str, Shapes], *, fingerprint: str) -> Path:
    """Build an engine with the `tensorrt` package, for ranges of shapes.

    Raises:
        ModelError: the file cannot be read.
        MeasureError: TensorRT or a GPU is missing, or it could not be built.
    """
    lack = missing("tensorrt")
    if lack:
        raise MeasureError(f"no engine can be built of {file.name} with TensorRT's package: {lack}")
    usual = {name: one.usual for name, one in shapes.items()}
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        feeds = Path(folder, "feeds.npz")
        save_feeds(feeds, random_feeds(file, samples=1, shapes=usual))
        candidate = Candidate(file, feeds, Setup("tensorrt"))
        return keep_engine(RunnerBuilder(candidate, fingerprint, shapes))
