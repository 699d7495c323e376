"""Run a suite: one interleaved session per model. A model that fails does not stop the others."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgekd.benchmarks.bench import Measurer, bench
from edgekd.benchmarks.result import BenchResult
from edgekd.benchmarks.suites.result import ModelResult, SuiteResult
from edgekd.benchmarks.suites.suite import Suite
from edgekd.errors import EdgekdError, one_line
from edgekd.progress import Share, part_of

PREPARING = 0.1  # share of the progress that writing the files counts


def run_suite(suite: Suite, *, device: Measurer, progress: Share | None = None) -> SuiteResult:
    """Time every model of a suite; each is one interleaved session of all its files and setups.

    All files are made before the first is timed.

    Args:
        suite: what to time.
        device: where; `edgekd.devices.open_device(suite.device)`.
        progress: called with the share that is done, 0 to 1.
    """
    tell = progress or (lambda _: None)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="edgekd-suite-") as name:
        made = _made(suite, Path(name), tell, refused)
        length = (1 - PREPARING) / max(1, len(suite.models))
        results = []
        for index, model in enumerate(suite.models):
            if index not in made:
                continue
            try:
                found = bench(
                    made[index],
                    device=device,
                    setups=suite.setups.each(),
                    timing=suite.timing.timing(),
                    inputs=model.inputs(suite.setups.batches),
                    progress=part_of(tell, PREPARING + length * index, length),
                )
            except EdgekdError as error:
                refused[model.name] = one_line(error)
            else:
                results.append(ModelResult(model.name, model.note, _named(found, Path(name))))
    tell(1.0)
    asked = suite.model_dump(mode="json")
    return SuiteResult(suite.title, asked, tuple(results), refused, today)


def _made(
    suite: Suite, folder: Path, tell: Share, refused: dict[str, str]
) -> Mapping[int, list[Path]]:
    """Write the files of every model; those that cannot be made are listed in `refused`."""
    made = {}
    for index, model in enumerate(suite.models):
        tell(PREPARING * index / len(suite.models))
        own = folder / str(index)
        own.mkdir()
        try:
            made[index] = model.files(own)
        except EdgekdError as error:
            refused[model.name] = one_line(error)
    return made


def _named(result: BenchResult, folder: Path) -> BenchResult:
    """Leave of files that are gone after the run only their names."""
    rows = tuple(
        replace(row, file=Path(row.file.name)) if row.file.is_relative_to(folder) else row
        for row in result.rows
    )
    return replace(result, rows=rows)
