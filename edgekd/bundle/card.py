"""MODEL_CARD.md: the description of a bundle for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgekd.bundle.describe import LABELS, Description, Measured
from edgekd.bundle.loader import JAVASCRIPT, LOADER, make_loaders
from edgekd.bundle.optimum import describe_loading
from edgekd.bundle.snippet import call_in_memory, snippet
from edgekd.bundle.snippets import describe_snippets, make_snippets
from edgekd.bundle.steps import describe_columns, describe_resizing, list_steps
from edgekd.data.preprocess import FILE, ArrayPreprocess, ImagePreprocess
from edgekd.evaluation.beside import describe_beside
from edgekd.evaluation.formatting import (
    NOT_MEASURED,
    change,
    int8_share,
    latency_text,
    quality,
    size,
    times,
)
from edgekd.evaluation.results import SPLITS


def card(found: Description) -> str:
    """Return the model card as Markdown."""
    shipped, record = found.shipped, found.record
    label = record.shown_label(record.ships)
    parts = [
        f"# {_cell(record.name)}",
        f"Ships `{shipped.file}` ({label}, stage {_cell(record.ships.title)}). "
        "`manifest.json` contains every number below and more; `edgekd verify .` checks the files "
        "and that they still compute the golden outputs.",
        *_budget(found),
        "## Run it",
        *_run(found),
        describe_snippets(list(make_snippets(found))),
        *_optimum(found),
        "## Inputs and outputs",
        *_interface(found),
        "## Quality",
        *_quality(found),
        "## Size and speed",
        *_speed(found),
        "## Which file for which runtime",
        *_runtimes(found),
        "## How it was made",
        *_stages(found),
        "## Data and licences",
        *_data(found),
        "## Limits",
        _bullets(list(_limits(found))),
        *_code(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(value: object) -> str:
    """Return text that neither ends a table's cell nor a line."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _budget(found: Description) -> list[str]:
    text = found.record.over_budget
    return [f"**Over budget:** {_cell(text)}."] if text else []


def _run(found: Description) -> Iterator[str]:
    loaders = make_loaders(found.shipped.preprocess)
    if not loaders:
        yield f"```python\n{snippet(found)}```"
        return
    yield (
        f"`python {LOADER} FILE` prints the answer for a sample, `python {LOADER}` goes from the "
        "golden files to the answers. "
        + (f"`{JAVASCRIPT}` is the same for browsers and Node. " if JAVASCRIPT in loaders else "")
        + "Their text is at the end of this card. In another language:"
    )
    steps = list_steps(found.shipped.preprocess)
    yield "\n".join(f"{i}. {text}" for i, text in enumerate(steps, 1))
    preprocess = found.shipped.preprocess
    if isinstance(preprocess, ArrayPreprocess):
        yield from describe_columns(preprocess)
        yield f"In Python, from numbers in memory:\n\n```python\n{call_in_memory(found)}```"
    if isinstance(preprocess, ImagePreprocess):
        yield describe_resizing(preprocess.form)
        if not found.shipped.from_files:
            yield (
                f"The data came as arrays of {preprocess.form.width} x {preprocess.form.height} "
                "pixels (width x height): how photographs became these is not known to edgekd. "
                "What the steps do with a picture of another size is what `[data] resize` of the "
                "recipe says, and was not judged."
            )
    for output in found.outputs:
        if output.kind == "classes":
            yield (
                f"The output `{output.name}` has a score for each class"
                f"{f', in the order of `{LABELS}`' if found.record.task.labels else ''}; the "
                "greatest is the answer. Scores that do not sum to 1 become shares by softmax."
            )


def _optimum(found: Description) -> Iterator[str]:
    shipped = found.shipped
    if shipped.loads:
        yield "## With optimum"
        yield from describe_loading(
            shipped.loads, shipped.settings, shipped.dynamic, shipped.variant
        )


def _code(found: Description) -> Iterator[str]:
    for name, text in make_loaders(found.shipped.preprocess).items():
        yield f"## `{name}`"
        yield f"```{'python' if name == LOADER else 'javascript'}\n{text}```"


def _interface(found: Description) -> Iterator[str]:
    inputs = [("input", e.name, e.dtype, e.shape, "") for e in found.inputs]
    outputs = [("output", e.name, e.dtype, e.shape, e.kind) for e in found.outputs]
    rows = [
        (side, name, dtype, f"[{', '.join(map(str, shape))}]", kind)
        for side, name, dtype, shape, kind in (*inputs, *outputs)
    ]
    yield _table(["", "name", "type", "shape", "kind"], rows)
    golden = found.golden
    origin = "made up" if golden.synthetic else "from the validation split"
    files = "".join(f", with `{name}`," for name in found.shipped.preprocess.files().values())
    yield (
        f"`{FILE}`{files} describes how a raw sample becomes the inputs"
        f"{f', `{LABELS}` names the classes' if found.record.task.labels else ''}. "
        f"`golden/` contains {len(golden.samples)} raw samples ({origin}: {golden.reason}), the "
        "tensors they become and the expected outputs of each variant: run your app's own "
        "preprocessing on them and compare."
    )
    file = found.record.origin
    if file.metadata:
        yield f"The files carry the metadata {', '.join(f'`{_cell(k)}`' for k in file.metadata)}."
    if file.left_out:
        yield f"Of the original file these do not ship: {_cell('; '.join(file.left_out))}."
    limits = [
        (variant, output, f"{limit.absolute:.3g}", "yes" if limit.same_winner else "")
        for variant, outputs in golden.output_tolerance.items()
        for output, limit in outputs.items()
    ]
    yield _table(["variant", "output", "may differ by", "same winner"], limits)


def _quality(found: Description) -> Iterator[str]:
    splits = found.record.data.splits
    yield (
        f"All decisions used the validation split ({splits['validation']:,} samples); the test "
        f"split ({splits['test']:,} samples) was used once, at the end. In brackets: 95 % "
        "intervals."
    )
    measured = [(model.shown, model.measured) for model in found.models if model.measured]
    if found.record.is_against_teacher:
        yield (
            "The data has no labels: quality is how near the outputs are to those of the teacher "
            "itself, which therefore has none. Whether the teacher is right was not measured."
        )
        own = {file.sha256 for file in found.record.rungs[0].files}
        measured = [
            (m.shown, m.measured) for m in found.models if m.measured and m.sha256 not in own
        ]
    rows = []
    for file, figures in measured:
        for metric in found.record.task.metrics:
            values = [
                quality(split[metric.name]) if split is not None else NOT_MEASURED
                for split in (figures.validation, figures.test)
            ]
            rows.append((file, f"{metric.name} {metric.unit}".strip(), *values))
    if rows:
        yield _table(["file", "metric", "validation", "test"], rows)
    for file, figures in measured:
        if figures.test_gain is not None and not found.record.is_against_teacher:
            yield (
                f"{file} relative to the teacher, {found.record.metric.name} on the test split: "
                f"{change(figures.test_gain)}."
            )


def _speed(found: Description) -> Iterator[str]:
    where = found.record.final.conditions
    governor = f", governor {where.governor}" if where.governor else ""
    yield (
        f"On the device `{found.record.devices[0]}`: {_cell(where.cpu)}, {where.runtime} with "
        f"{where.provider}, {where.threads} thread(s), {_cell(where.os)}{governor}; "
        f"batch {found.record.samples_per_call}, all files in one interleaved session."
    )
    rows = []
    for model in found.models:
        figures = model.measured or Measured()
        rows.append(
            (
                model.shown,
                size(model.facts.size_bytes),
                int8_share(model.facts),
                latency_text(figures.latency_s),
                latency_text(figures.p90_s),
                times(figures.speedup) if figures.speedup else "",
            )
        )
    head = ["file", "size", "in INT8", "latency, median", "90th percentile", "against the teacher"]
    yield _table(head, rows)
    for line in describe_beside(found.record):
        yield f"Beside it in this bundle: {_cell(line)}."
    for other in found.record.final.elsewhere:
        ships = other.files[found.record.final.chosen]
        where = other.conditions
        takes = f"takes {latency_text(ships.latency_s)}"
        if ships.latency_s is None:
            takes = f"does not run: {_cell(ships.refused)}" if ships.refused else "is not measured"
        speed = f", {times(ships.speedup)} against the teacher" if ships.speedup else ""
        yield (
            f"On `{_cell(other.device)}` ({_cell(where.cpu)}, {where.runtime}) what ships {takes}"
            f"{speed}. This was measured after the choice and decided nothing."
        )
        if other.best is not None and other.best != found.record.final.chosen:
            best = other.files[other.best]
            in_bundle = found.record.final.files[other.best] in found.record.beside
            at_hand = "in this bundle" if in_bundle else "not in this bundle"
            yield (
                f"There the best of all kept files is {_cell(best.title)} ({best.variant}, "
                f"{at_hand}): {latency_text(best.latency_s)}."
            )
    if any(model.batch for model in found.models):
        yield (
            "Files with `batch1` in their name are the same networks with every axis fixed, for "
            "runtimes that refuse symbolic ones; they were checked against the golden samples and "
            "not timed."
        )


def _runtimes(found: Description) -> Iterator[str]:
    rows = [
        (
            f"{row.runtime} {row.provider}".strip(),
            row.file if row.in_bundle else f"{row.file} ({row.best_variant} not here)",
            row.known,
            row.reason,
        )
        for row in found.runtimes
    ]
    yield _table(["runtime", "load", "known", "why"], rows)
    for model in found.models:
        oldest = model.oldest_runtime
        loads = f"ONNX Runtime {oldest} or newer loads it" if oldest else "the oldest is not known"
        yield (
            f"{model.shown}: operator set {model.facts.opset}, IR version {model.ir_version}; "
            f"{loads}. Loaded here with ONNX Runtime "
            f"{found.record.versions.get('onnxruntime', 'unknown')}."
        )
    if found.shipped.boards:
        scripts = ", ".join(f"`{name}`" for name in found.shipped.boards)
        yield (
            f"On a device with TensorRT, `sh {found.shipped.boards[-1]}` builds an engine of each "
            f"file there and times them, for the version in its name: {scripts}. The rival of INT8 "
            "on a GPU is FP16; INT8 may gain nothing over it at batch 1."
        )
    yield (
        "*measured*: this run timed it there, on the device named above. *run here*: edgekd's own "
        "tests or trials run it. *from documentation*: its maker states it. *unverified*: neither. "
        "The last three are no measurements."
    )


def _stages(found: Description) -> Iterator[str]:
    teacher, *stages = found.record.rungs
    rows = [(teacher.title, "reference", ""), *((r.title, r.outcome, r.verdict) for r in stages)]
    yield _table(["stage", "", "because"], rows)
    if found.record.command:
        yield f"Made by:\n\n```\n{found.record.command}\n```"
    versions = ", ".join(f"{name} {v}" for name, v in sorted(found.record.versions.items()))
    yield f"Versions: {versions}."


def _data(found: Description) -> Iterator[str]:
    data = found.record.data
    splits = ", ".join(f"{name} {data.splits[name]:,}" for name in SPLITS)
    lines = [
        f"Data: {data.kind}, samples: {splits} (calibration is drawn from train).",
        f"Fingerprint of the data: `{data.fingerprint}`.",
        f"Licence of the data: {_cell(data.licence)}.",
        f"Licence of the teacher: {_cell(found.licences['teacher'])}.",
    ]
    if data.skipped:
        lines.append(f"{len(data.skipped)} broken files or rows were left out.")
    lines += [
        f"`{found.shipped.dynamic[variant]}`: {one.weights} weights and {one.activations} "
        f"activations, by {one.samples} samples of the calibration split."
        for variant, one in found.calibrations.items()
    ]
    yield _bullets(lines)


def _methods(ranges: Mapping[str, int]) -> str:
    found = ", ".join(f"{method} for {count}" for method, count in sorted(ranges.items()))
    return f"; method of the ranges: {found}" if found else ""


def _limits(found: Description) -> Iterator[str]:
    yield "Quality was measured only on the splits above."
    devices = " and ".join(f"`{_cell(device)}`" for device in found.record.devices)
    if found.record.final.conditions.emulated:
        yield "Speed: not measured."
    else:
        yield (
            f"Speed was measured on {devices} alone, at batch {found.record.samples_per_call}; "
            "on any other device, runtime or number of threads it is not measured."
        )
    yield "Energy, heat and long runs: not measured."
    for name, reason in found.shipped.left_out.items():
        yield f"`{name}` was left out: {_cell(reason)}."
    if found.golden.synthetic:
        yield "The golden samples are made up: they check that the files run, not their quality."
    yield "SHA256SUMS detects damage; it is not a signature."
