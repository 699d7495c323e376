"""The engines that a runtime builds from a file: built once, cached by all that they depend on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.measurement import Candidate
from edgekd.benchmarks.model_content import model_content
from edgekd.benchmarks.runtimes import known
from edgekd.store import cache_folder, digest

BUILD_LIMIT_S = 3600.0


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
    with np.load(candidate.feeds, allow_pickle=False) as feeds:
        shapes = {n: [str(feeds[n].dtype), *feeds[n].shape[1:]] for n in feeds.files}
    key = digest(model_content(candidate.file).key, shapes, fingerprint)
    path = cache_folder() / "engines" / f"{key}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{key}.{os.getpid()}.partial")
        arguments = [*arguments_of(candidate), "--build", str(partial)]
        name = candidate.file.name
        with Child(arguments, python=sys.executable, name=name, limit_s=BUILD_LIMIT_S) as child:
            child.answer()
        partial.replace(path)
    return path
