"""Build the record of a run from what the pipeline has at its end."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from edgekd.artifact import FP32, SPENT, Variant
from edgekd.benchmarks.measurement import Session
from edgekd.data.array_facts import describe_arrays
from edgekd.evaluation.audit import read_audit
from edgekd.evaluation.budget import over_budget
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import (
    Calibration,
    Calls,
    DataInfo,
    Final,
    LayerNoise,
    MetricInfo,
    OnTest,
    Origin,
    RepairStep,
    RungRecord,
    TaskInfo,
    Tested,
)
from edgekd.exporters.lint.finding import Brief
from edgekd.exporters.lint.shipped import lint_variant
from edgekd.exporters.onnx_metadata import licence
from edgekd.networks.bounded import Peak
from edgekd.networks.channel_notes import read_left
from edgekd.pipeline.audit.run import learner
from edgekd.pipeline.baseline import warn_of_teacher
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.examples.answers import find_changes
from edgekd.pipeline.examples.masks import find_masks
from edgekd.pipeline.examples.neighbours import find_retrieval
from edgekd.pipeline.examples.numbers import find_scattered
from edgekd.pipeline.examples.shipping import Shipping
from edgekd.pipeline.final import Rung
from edgekd.pipeline.layer_times import explain_rungs, explain_shipped
from edgekd.quantization.quantized import LINT, QUANTIZED
from edgekd.recipe.recipe import Recipe
from edgekd.teacher.step import ORIGIN
from edgekd.training.losses import LOSS, RATE, curves_of, read_notes

SHOWN_CALLS = 400
PACKAGES = ("edgekd", "torch", "onnx", "onnxruntime", "onnxscript", "numpy")


def record(
    bench: Bench,
    rungs: Sequence[Rung],
    final: Final,
    tested: Sequence[Tested],
    *,
    command: str,
    peak: Peak,
) -> Record:
    """Gather a run into one value."""
    recipe, device = bench.recipe, bench.device.name
    origin = _origin(rungs[0])
    with bench.log.spend("evaluate"):
        shipped_layers, slow = explain_shipped(bench, rungs, final), explain_rungs(bench, rungs)
    shipping = Shipping(bench, rungs, final)
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
        rungs=tuple(
            replace(
                _rung(rung),
                lint={**_lint_float(rung, rungs, final), **_lint(rung)},
                layers=slow.get(rung.title, {}),
                **(_curves(bench, rung) if rung.evidence else {}),
                learned=read_notes(bench.folder, rung.artifact.history) if rung.evidence else (),
            )
            for rung in rungs
        ),
        final=final,
        test=OnTest(samples=len(bench.splits.test), files=tuple(tested)),
        changes=find_changes(shipping),
        scattered=find_scattered(shipping),
        masks=find_masks(shipping),
        retrieval=find_retrieval(shipping),
        calls=_calls(bench, final),
        over_budget=over_budget(final.ships, recipe.budget, device=device),
        remarks=_remarks(bench, rungs[0]),
        audit=read_audit(bench.folder) if learner(bench) is not None else None,
        origin=origin,
        layers=shipped_layers,
        spent=bench.log.read(),
        peak_bytes=peak.most_bytes,
        held_bytes=peak.held_bytes,
    )


def _curves(bench: Bench, rung: Rung) -> dict[str, Any]:
    """Return the curves of a rung's training, as fields of its record."""
    curves = {name: tuple(c) for name, c in curves_of(bench.folder, rung.artifact.history).items()}
    others = {name: curve for name, curve in curves.items() if name not in (LOSS, RATE)}
    return {"losses": curves.get(LOSS, ()), "curves": others}


def _remarks(bench: Bench, teacher: Rung) -> tuple[str, ...]:
    warning = warn_of_teacher(bench, teacher.artifact)
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
        if step.other_device:
            line["keep_for"] = step.other_device
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
    is_named = not bench.dataset.identities and set(bench.task.signals.values()) != {"values"}
    labels = tuple(bench.dataset.labels) if is_named else ()
    return TaskInfo(metrics=metrics, labels=labels)


def _data(bench: Bench) -> DataInfo:
    dataset, splits = bench.dataset, bench.splits
    tables = {name: array for name, array in dataset.samples.items() if name in dataset.columns}
    facts = describe_arrays(tables, splits.train, dataset.columns)
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
        columns=tuple(column for one in facts for column in one.columns),
        targets=next((dataset.columns.get(name, ()) for name in dataset.targets), ()),
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
            **{
                variant: {_relative(name): why for name, why in facts["left"].items()}
                for variant, facts in quantized.items()
            },
        },
        history=tuple(rung.artifact.history),
        calibration={
            variant: Calibration(
                samples=facts["samples"],
                activations=facts["activations"],
                weights=facts["weights"],
                ranges=Counter(facts["ranges"].values()),
                key=str(rung.artifact.history[-1]["key"]),
                repairs=tuple(RepairStep(**step) for step in facts["repairs"]),
                sensitivity=tuple(
                    LayerNoise(**{**row, "layer": _relative(row["layer"])})
                    for row in facts["sensitivity"]
                ),
            )
            for variant, facts in quantized.items()
        },
        evidence=rung.evidence,
    )


def _lint(rung: Rung) -> dict[Variant, Brief]:
    """Return what the step found in each variant that it quantized."""
    return {
        variant: TypeAdapter(Brief).validate_python(facts[LINT])
        for variant, facts in _quantized(rung).items()
    }


def _lint_float(rung: Rung, rungs: Sequence[Rung], final: Final) -> dict[Variant, Brief]:
    """Return what is found in the float file of the bundle, at the stage that made it."""

    def network(one: Rung) -> str:
        return one.artifact.sha256(one.artifact.onnx(FP32))

    ships = next(one for one in rungs if one.title == final.ships.title)
    maker = next(one for one in rungs if one.evidence and network(one) == network(ships))
    return {FP32: lint_variant(rung.artifact.onnx(FP32), FP32)} if rung is maker else {}


def _relative(name: str) -> str:
    """Return the name of a node so that no part of it is cut as that of an absolute path is."""
    return name.lstrip("/")


def _quantized(rung: Rung) -> dict[Variant, dict[str, Any]]:
    """Return what the step wrote about each variant that it quantized."""
    path = rung.artifact.folder / QUANTIZED
    if path.name not in rung.artifact.files:
        return {}
    found: dict[Variant, dict[str, Any]] = json.loads(path.read_text(encoding="utf8"))
    for variant, took_s in _read_spent(path.with_name(SPENT)).items():
        for repair, repair_s in zip(found[variant]["repairs"], took_s, strict=False):
            repair["seconds"] = repair_s
    return found


def _read_spent(path: Path) -> dict[Variant, list[float]]:
    """Return what the repairs of each variant took; nothing where that was lost or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf8"))
        return TypeAdapter(dict[Variant, list[float]]).validate_python(found)
    except (OSError, ValueError):
        return {}


def _calls(bench: Bench, final: Final) -> tuple[Calls, ...]:
    """Return some calls of each finalist, drawn evenly over its processes, for the plot."""
    if final.session is None or all(file.latency_s is None for file in final.files):
        return ()
    path = bench.folder / "evidence" / final.session
    session = Session.from_json(json.loads(path.read_text(encoding="utf8")))
    drawn = []
    timed = [file for file in final.files if not file.only_for]
    for file, measured in zip(timed, session.measurements, strict=True):
        calls = [s for run in measured.runs for block in run.blocks_s for s in block]
        step = max(1, len(calls) // SHOWN_CALLS)
        drawn.append(Calls(title=file.title, label=file.label, seconds=tuple(calls[::step])))
    return tuple(drawn)
