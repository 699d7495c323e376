"""The results of a finished run: the report, and the bundle of the stage that ships."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.artifact import FP32
from edgekd.bundle import Contents, write
from edgekd.bundle.optimum import Pretrained
from edgekd.bundle.samples import Sample, made_up, may_ship, singles, whole_pictures
from edgekd.data.preprocess import ImagePreprocess, read_preprocess
from edgekd.evaluation.record import Record
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.final import Rung
from edgekd.report.run.write import page, write_report
from edgekd.teacher.hf import SETTINGS, TASK

CANDIDATES = 32
"""Samples that the golden ones are chosen from."""


def deliver(bench: Bench, rungs: Sequence[Rung], record: Record) -> None:
    """Write `report.json`, `report.html` and `bundle/` into the run folder.

    A quick look has no bundle.

    Raises:
        ModelError: something in the bundle would identify the developer, or gives NaN.
        VerifyFailed: the finished bundle fails its own checks.
    """
    write_report(record, bench.folder)
    if record.quick:
        return
    shipped = next(rung for rung in rungs if rung.title == record.ships.title)
    recipe, variant = bench.recipe, record.ships.variant
    samples, synthetic = _candidates(bench, shipped)
    bundled = [record.final.files[i] for i in record.final.bundled]
    titles = [shipped.title, *(file.title for file in bundled if file.variant != FP32)]
    last = next(rung for rung in rungs if rung.title == titles[-1])  # has FP32 and what is beside
    contents = Contents(
        artifact=last.artifact.folder,
        variants=tuple(dict.fromkeys((FP32, *(file.variant for file in bundled)))),
        variant=variant,
        signals=bench.task.signals,
        record=record,
        samples=samples,
        synthetic=synthetic,
        fixed_shape=recipe.export.fixed_shape,
        report=page(record, samples=may_ship(bench.dataset.licence)),
        meaning=bench.dataset.meaning,
        from_files=bool(bench.dataset.files),
        pretrained=_pretrained(rungs[0].artifact.folder, shipped),
        folders=(bench.root, bench.folder),
    )
    write(bench.folder / "bundle", contents)


def _pretrained(teacher: Path, shipped: Rung) -> Pretrained | None:
    """Return the settings of the model of transformers that ships; None if it is none."""
    if shipped.artifact.trainable or not (teacher / TASK).is_file():
        return None
    stated = json.loads((teacher / TASK).read_text(encoding="utf8"))
    return Pretrained(folder=teacher / SETTINGS, loads=stated["loads"])


def _candidates(bench: Bench, shipped: Rung) -> tuple[list[Sample], str | None]:
    """Return samples that golden ones are chosen from, and why they are made up, if they are."""
    licence, count = bench.dataset.licence, bench.data.count("validation")
    positions = np.unique(np.linspace(0, count - 1, CANDIDATES).astype(np.int64))
    raw, _ = bench.data.raw("validation", positions)
    reason = f"the data's licence is {licence!r}, which is not known to allow shipping samples"
    preprocess = read_preprocess(shipped.artifact.folder)
    if may_ship(licence):
        if bench.dataset.files and isinstance(preprocess, ImagePreprocess):
            files = [bench.dataset.files[i] for i in bench.splits.validation[positions]]
            samples = whole_pictures(files, preprocess)
        else:
            samples = singles(raw, bench.dataset.kind)
        if samples:
            return samples, None
        reason = "no sample that was tried may ship: a text contains a path, a picture is too large"
    return made_up(raw, preprocess, count=CANDIDATES, seed=bench.recipe.seed), reason
