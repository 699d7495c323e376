"""The answers of two bundles: on golden samples, or on data with labels, paired by sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.benchmarks.feeds import Input, model_inputs
from edgekd.bundle.diff_parts import Line, OnData, Side, gain_line
from edgekd.bundle.golden import Arrays, fit
from edgekd.bundle.samples import read_sample
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.model_classes import number_classes
from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess
from edgekd.data.source import KNOWN_DATA, Source, open_source
from edgekd.errors import BadInput, DataError, EdgekdError, one_line
from edgekd.evaluation.fidelity import MOST_SAMPLES
from edgekd.evaluation.quality import estimate, estimate_gain
from edgekd.evaluation.reduced import Reduced, reduce_split
from edgekd.exporters.file_facts import Entry
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.exporters.parity import parity
from edgekd.tasks import REFERENCE, TASKS, open_task
from edgekd.tasks.reference import Reference, find_forms
from edgekd.tasks.task import Task
from edgekd.wording import flag

_FUNCTION = re.compile(r"(?:.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")


@dataclass(frozen=True)
class Golden:
    """The golden samples of the older bundle, as both encode them."""

    inputs: Mapping[str, Sequence[Arrays]] | None
    """"old" and "new" -> inputs; None where one of them cannot take these samples."""
    reason: str = ""


def encode_golden(old: Side, new: Side) -> Golden:
    """Encode the raw golden samples of the older bundle by the preprocessing of each."""
    if old.preprocess.reads != new.preprocess.reads:
        kinds = f"{old.preprocess.reads} and {new.preprocess.reads}"
        return Golden(None, f"the bundles take samples of other kinds: {kinds}")
    found: dict[str, list[Arrays]] = {}
    try:
        for name, side in (("old", old), ("new", new)):
            rows = [
                side.preprocess.encode(read_sample(old.folder, files, side.preprocess))
                for files in old.manifest.golden.samples
            ]
            found[name] = _evened(rows, model_inputs(side.file), side)
    except (EdgekdError, ValueError, KeyError) as error:
        return Golden(
            None, f"the samples of the older bundle do not fit the newer: {one_line(error)}"
        )
    return Golden(found)


def _evened(rows: Sequence[Arrays], entries: Sequence[Input], side: Side) -> list[Arrays]:
    """Bring all rows to one shape, as the calls of one timing have; fixed axes to the file's."""
    longest = [
        Input(
            e.name,
            e.dtype,
            tuple(
                fixed if isinstance(fixed, int) else max(row[e.name].shape[axis] for row in rows)
                for axis, fixed in enumerate(e.shape)
            ),
        )
        for e in entries
    ]
    fill = side.preprocess.fill
    found: list[Arrays] = []
    for row in rows:
        repeated = {
            e.name: np.resize(row[e.name], (int(e.shape[0]), *row[e.name].shape[1:]))
            if e.shape and isinstance(e.shape[0], int)
            else row[e.name]
            for e in longest
        }
        found.append(fit(repeated, longest, fill))
    return found


def compare_golden(old: Side, new: Side, golden: Golden, *, judged: bool) -> Iterator[Line]:
    """Yield how the outputs for the golden samples differ, a line for each output of both.

    Args:
        old: the older bundle.
        new: the newer one.
        golden: its samples.
        judged: whether labels decide; else another answer of a clear winner is a regression.
    """
    what = "golden samples"
    if golden.inputs is None:
        yield Line(what=what, old="", new="", change=f"not compared: {golden.reason}")
        return
    first, second = (
        [tuple(predictor(side.file)(row).values()) for row in golden.inputs[name]]
        for name, side in (("old", old), ("new", new))
    )
    limits = old.manifest.golden.output_tolerance.get(old.manifest.shipped.variant, {})
    for place, port in enumerate(old.manifest.outputs[: len(first[0])]):
        name = port.name
        if place >= len(second[0]):
            yield Line(
                what=f"{what}: {name}", old="", new="", change="output is gone", regression=True
            )
            continue
        pairs = [(a[place], b[place]) for a, b in zip(first, second, strict=True)]
        lead = limits[name].absolute if name in limits else 0.0
        yield _output(f"{what}: {name}", pairs, port.kind, lead, judged=judged)


def _output(
    what: str, pairs: Sequence[tuple[Any, Any]], kind: str, lead: float, *, judged: bool
) -> Line:
    count = f"{len(pairs)} samples"
    if any(a.shape != b.shape for a, b in pairs):
        shapes = f"{list(pairs[0][0].shape)} to {list(pairs[0][1].shape)}"
        return Line(
            what=what, old=count, new="", change=f"another shape: {shapes}", regression=True
        )
    wants, gots = np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])
    broken = int((np.isfinite(wants) & ~np.isfinite(gots)).sum())
    if broken:
        text = f"{broken} values are NaN or infinite that were finite"
        return Line(what=what, old=count, new="", change=text, regression=True)
    found = parity({"y": np.nan_to_num(wants)}, {"y": np.nan_to_num(gots)}, rtol=0.0).outputs["y"]
    values = {"relative": found.relative, "worst_sample": found.worst_sample}
    if kind == "classes" and wants.shape[-1] > 1:
        old, new = (a.reshape(len(a), -1).argmax(1) for a in (wants, gots))
        ranked = np.sort(wants.reshape(len(wants), -1), axis=1)
        clear = ranked[:, -1] - ranked[:, -2] > lead
        changed = int((old != new).sum())
        lost = int(((old != new) & clear).sum())
        note = f"{changed} of {len(pairs)} answers changed"
        if lost and not judged:
            note += f"; {flag('data')} with labels tells whether they are better"
        return Line(
            what=what,
            old=count,
            new="",
            change=note if changed else f"same answers, {_share(found.relative)}",
            regression=bool(lost) and not judged,
            values={**values, "changed": changed, "clear": lost},
        )
    return Line(what=what, old=count, new="", change=_share(found.relative), values=values)


def _share(relative: float) -> str:
    return "equal" if not relative else f"differs by {100 * relative:.2g} % of the scale at most"


def compare_data(old: Side, new: Side, on: OnData) -> Iterator[Line]:
    """Yield the metrics of both on data; with labels paired, else how near `new` is to `old`.

    Raises:
        BadInput: the data cannot be read, or does not fit the bundles.
    """
    asked = on.task or str(old.manifest.recipe.get("task") or "classification")
    known = open_task(asked, root=on.root)
    labelled = asked != REFERENCE
    wanted = getattr(known, "target", None)
    dataset = open_source(
        _source(on.data, old),
        root=on.root,
        wanted=wanted,
        labelled=labelled,
        inputs=_inputs(old),
    )
    if labelled and not dataset.targets:
        raise DataError(
            f"{flag('data', on.data)} has no labels, and {flag('task', asked)} is judged by them; "
            f"give data with labels, or {flag('task', REFERENCE)} to compare outputs alone"
        )
    if labelled:
        known.check(dataset.targets)
        if old.labels:
            dataset = number_classes(dataset, old.labels)
    yield from _judge(old, new, dataset, known, asked)


def _inputs(side: Side) -> tuple[Entry, ...]:
    """Return the arrays that the bundle takes, with a free axis for the samples."""
    if not isinstance(side.preprocess, ArrayPreprocess):
        return ()
    return tuple(Entry(one.array, one.dtype, ("n", *one.shape)) for one in side.preprocess.facts)


def _source(data: str, side: Side) -> Source:
    """Return where the data is; photographs become pixels as the bundle says."""
    key = "name" if data in KNOWN_DATA else "call" if _FUNCTION.fullmatch(data) else "path"
    options: dict[str, Any] = {key: data}
    if isinstance(side.preprocess, ImagePreprocess) and Path(data).is_dir():
        form = side.preprocess.form
        names = ("resize", "interpolation", "antialias", "pad_value", "background")
        options |= {name: getattr(form, name) for name in names}
        options["size"] = (form.height, form.width)
    return Source.model_validate(options)


def _judge(old: Side, new: Side, dataset: Dataset, task: Task, asked: str) -> Iterator[Line]:
    rows = np.arange(len(next(iter(dataset.samples.values()))))
    data = Data(dataset, {"validation": rows}, augment=Augment(), seed=0)
    judge = _reference(old, data) if asked == REFERENCE else task
    first = _reduced(old, data, judge, None)
    second = _reduced(new, data, judge, first)
    count = f"{len(rows):,} samples"
    answers = [one.arrays.get("answer") for one in (first, second)]
    if answers[0] is not None and answers[1] is not None:
        changed = int((answers[0] != answers[1]).sum())
        share = 100 * changed / len(rows)
        yield Line(
            what="answers on the data",
            old=count,
            new="",
            change=f"{changed:,} changed ({share:.2f} %)",
            values={"changed": changed, "samples": len(rows)},
        )
    for metric in judge.metrics:
        title = f"{metric.name}, {metric.unit}".removesuffix(", ")
        if metric.against_teacher:
            value = estimate(metric, second)
            yield Line(
                what=f"{title}, against old",
                old=count,
                new="",
                change=f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]",
                values={"estimate": vars(value)},
            )
        elif metric.name != "agreement":  # with a teacher, who is not here
            unit = "points" if metric.is_percentage else metric.unit
            gain = estimate_gain(metric, second, first)
            line = gain_line(title, estimate(metric, first), estimate(metric, second), gain, unit)
            yield line if metric is judge.metrics[0] else _shown_only(line)


def _shown_only(line: Line) -> Line:
    return Line(**{**vars(line), "regression": False})


def _reduced(side: Side, data: Data, task: Task, teacher: Reduced | None) -> Reduced:
    try:
        return reduce_split(
            predictor(side.file),
            task,
            data,
            "validation",
            side.preprocess,
            size=batch_size(side.file),
            teacher=teacher,
        )
    except (EdgekdError, ValueError, KeyError, IndexError) as error:
        raise BadInput(
            f"the data does not fit {side.folder}: {one_line(error)[:400]}; give data like that of "
            f"its training, or another {flag('task')} ({', '.join(TASKS)})"
        ) from error


def _reference(side: Side, data: Data) -> Reference:
    """Return the task that compares outputs, by the forms of the older bundle's."""
    run, size = predictor(side.file), batch_size(side.file)
    batch = next(data.batches("validation", side.preprocess, size=min(size, MOST_SAMPLES)))
    have = len(batch.index)
    sizes = (2, 3) if batch_size(side.file, default=0) == 0 and have >= 3 else (have, have)
    pair = [run({n: a[:k] for n, a in batch.inputs[0].items()}) for k in sizes]
    return Reference(find_forms(pair[0], pair[1], sizes=sizes))
