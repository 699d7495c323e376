"""Build the record of a run from what the pipeline has at its end."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.measurement import Session
from edgekd.evaluation.budget import over_budget
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import (
    Calibration,
    Calls,
    ChangedSample,
    Changes,
    ClassChange,
    DataInfo,
    Final,
    MetricInfo,
    OnTest,
    Origin,
    RungRecord,
    Scattered,
    TaskInfo,
    Tested,
)
from edgekd.exporters.onnx_metadata import licence
from edgekd.networks.channel_notes import read_left
from edgekd.pipeline.baseline import warn_of_chance
from edgekd.pipeline.final import Rung, reduce_test
from edgekd.pipeline.setup import Bench
from edgekd.quantization.step import QUANTIZED
from edgekd.recipe.recipe import Recipe
from edgekd.teacher.step import ORIGIN

SHOWN_SAMPLES = 24
SHOWN_CALLS = 400
SHOWN_LETTERS = 200
PACKAGES = ("edgekd", "torch", "onnx", "onnxruntime", "onnxscript", "numpy")


def record(
    bench: Bench,
    rungs: Sequence[Rung],
    final: Final,
    tested: Sequence[Tested],
    *,
    command: str,
) -> Record:
    """Gather a run into one value."""
    recipe, device = bench.recipe, bench.device.name
    origin = _origin(rungs[0])
    asked_s = recipe.budget.max_latency_s
    return Record(
        name=recipe.name,
        command=command,
        recipe=_recipe(recipe),
        budget=recipe.budget,
        devices=tuple(place.title for place in bench.places),
        teacher_licence=recipe.model.licence or licence(origin.metadata),
        versions=_versions(),
        task=_task(bench),
        data=_data(bench),
        timing=bench.timing,
        rungs=tuple(map(_rung, rungs)),
        final=final,
        test=OnTest(samples=len(bench.splits.test), files=tuple(tested)),
        changes=_changes(bench, rungs, final),
        scattered=_scattered(bench, rungs, final),
        calls=_calls(bench, final),
        over_budget=over_budget(final.ships, max_latency_s=asked_s, device=device),
        remarks=_remarks(bench, rungs[0]),
        origin=origin,
        spent=bench.log.read(),
    )


def _remarks(bench: Bench, teacher: Rung) -> tuple[str, ...]:
    seen = bench.examiner(teacher.artifact).reduced(teacher.artifact, teacher.artifact.onnx(FP32))
    warning = warn_of_chance(bench.task.metrics[0], seen)
    return (warning,) if warning else ()


def _origin(teacher: Rung) -> Origin:
    path = teacher.artifact.folder / ORIGIN
    if not path.exists():
        return Origin()
    return TypeAdapter(Origin).validate_python(json.loads(path.read_text("utf8")))


def _recipe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe with what changes no result, and so is in no key, put back."""
    table = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    if recipe.model.licence is not None:
        table["model"]["licence"] = recipe.model.licence
    for line, step in zip(table["steps"], recipe.steps, strict=True):
        line["gate"] = step.gate
    return table


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _task(bench: Bench) -> TaskInfo:
    metrics = tuple(
        MetricInfo(
            name=m.name,
            unit=m.unit,
            better=m.better,
            is_percentage=m.is_percentage,
            against_teacher=m.against_teacher,
        )
        for m in bench.task.metrics
    )
    # names of persons or of single things are the data's, and no output of the model stands for one
    labels = () if bench.dataset.identities else tuple(bench.dataset.labels)
    return TaskInfo(metrics=metrics, labels=labels)


def _data(bench: Bench) -> DataInfo:
    dataset, splits = bench.dataset, bench.splits
    return DataInfo(
        kind=dataset.kind,
        licence=dataset.licence,
        fingerprint=dataset.fingerprint,
        skipped=tuple(dataset.skipped),
        splits={
            "train": len(splits.train),
            "calibration": len(splits.calibration),
            "validation": len(splits.validation),
            "test": len(splits.test),
        },
    )


def _rung(rung: Rung) -> RungRecord:
    quantized = _quantized(rung)
    return RungRecord(
        title=rung.title,
        outcome=rung.verdict.outcome,
        reasons=rung.verdict.reasons,
        verdict=rung.verdict.text,
        stage=rung.artifact.folder.name,
        rulings=rung.verdict.rulings,
        left={
            FP32: read_left(rung.artifact.folder),
            **{variant: facts["left"] for variant, facts in quantized.items()},
        },
        history=tuple(rung.artifact.history),
        calibration={
            variant: Calibration(
                samples=facts["samples"],
                activations=facts["activations"],
                key=str(rung.artifact.history[-1]["key"]),
            )
            for variant, facts in quantized.items()
        },
        evidence=rung.evidence,
    )


def _quantized(rung: Rung) -> dict[Variant, dict[str, Any]]:
    """Return what the step wrote about each variant that it quantized."""
    path = rung.artifact.folder / QUANTIZED
    if path.name not in rung.artifact.files:
        return {}
    found: dict[Variant, dict[str, Any]] = json.loads(path.read_text(encoding="utf8"))
    return found


@dataclass(frozen=True)
class _Answers:
    """Classes on the test split: the teacher's, those of what ships, and the truth, [n] each."""

    teacher: NDArray[np.int64]
    shipped: NDArray[np.int64]
    truth: NDArray[np.int64]
    index: NDArray[np.int64]
    """The samples' numbers in the data set."""


def _changes(bench: Bench, rungs: Sequence[Rung], final: Final) -> Changes | None:
    """Return per-class change and the samples that changed their answer, on the test split."""
    teacher = rungs[0]
    shipped = next(rung for rung in rungs if rung.title == final.ships.title)
    if next(iter(bench.task.signals.values())) != "classes" or teacher is shipped:
        return None
    old = reduce_test(bench, teacher, teacher, FP32)
    new = reduce_test(bench, teacher, shipped, final.ships.variant)
    if not {"answer", "label"} <= set(old.arrays):  # a task of one's own may keep something else
        return None
    said = _Answers(old.arrays["answer"], new.arrays["answer"], old.arrays["label"], old.index)
    changed = np.flatnonzero(said.teacher != said.shipped)
    return Changes(
        classes=tuple(_class(bench, said, value) for value in np.unique(said.truth)),
        changed=len(changed),
        samples=_samples(bench, said, changed[:SHOWN_SAMPLES]),
    )


def _scattered(bench: Bench, rungs: Sequence[Rung], final: Final) -> Scattered | None:
    """Return numbers of the test split beside what the file that ships predicts."""
    if list(bench.task.signals.values()) != ["values"]:
        return None
    shipped = next(rung for rung in rungs if rung.title == final.ships.title)
    found = reduce_test(bench, rungs[0], shipped, final.ships.variant).arrays
    if not {"answer", "value"} <= set(found) or found["answer"].shape != found["value"].shape:
        return None
    true, predicted = (np.ravel(found[name]).astype(float) for name in ("value", "answer"))
    step = max(1, len(true) // SHOWN_CALLS)
    return Scattered(true=tuple(true[::step].tolist()), predicted=tuple(predicted[::step].tolist()))


def _label(bench: Bench, value: int) -> str:
    labels = bench.dataset.labels
    return labels[value] if value < len(labels) else str(value)


def _class(bench: Bench, said: _Answers, value: int) -> ClassChange:
    mine = said.truth == value
    return ClassChange(
        label=_label(bench, int(value)),
        samples=int(mine.sum()),
        teacher=float(100 * (said.teacher[mine] == value).mean()),
        shipped=float(100 * (said.shipped[mine] == value).mean()),
    )


def _samples(bench: Bench, said: _Answers, rows: NDArray[np.int64]) -> tuple[ChangedSample, ...]:
    raw = next(iter(bench.dataset.take(said.index[rows])[0].values()))
    kind = bench.dataset.kind
    return tuple(
        ChangedSample(
            index=int(said.index[row]),
            label=_label(bench, int(said.truth[row])),
            teacher=_label(bench, int(said.teacher[row])),
            shipped=_label(bench, int(said.shipped[row])),
            image=png_uri(sample) if kind == "image" else None,
            text=str(sample)[:SHOWN_LETTERS] if kind == "text" else None,
        )
        for row, sample in zip(rows, raw, strict=True)
    )


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Return uint8 pixels, shape [height, width, channels], as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _calls(bench: Bench, final: Final) -> tuple[Calls, ...]:
    """Return some calls of each finalist, drawn evenly over its processes, for the plot."""
    if final.session is None or final.ships.latency_s is None:
        return ()
    path = bench.folder / "evidence" / final.session
    session = Session.from_json(json.loads(path.read_text(encoding="utf8")))
    drawn = []
    for file, measured in zip(final.files, session.measurements, strict=True):
        calls = [s for run in measured.runs for block in run.blocks_s for s in block]
        step = max(1, len(calls) // SHOWN_CALLS)
        drawn.append(Calls(title=file.title, label=file.label, seconds=tuple(calls[::step])))
    return tuple(drawn)
