"""Write the bundle of a run. It appears only when it is complete and verified."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.feeds import model_inputs
from edgekd.bundle import golden as gold
from edgekd.bundle.card import card
from edgekd.bundle.describe import LABELS, Shipped, describe, manifest_of
from edgekd.bundle.loader import LOADER, make_loaders
from edgekd.bundle.manifest import MANIFEST, Golden, Tolerance
from edgekd.bundle.optimum import Pretrained, copy_pretrained
from edgekd.bundle.private import named_sources, private_words, refuse_traces
from edgekd.bundle.samples import Sample, read_sample, write_sample
from edgekd.bundle.snippets import FOLDER, make_snippets
from edgekd.bundle.sums import write_sums
from edgekd.bundle.verify import verify
from edgekd.data.array_facts import ArrayOptions, state_meaning
from edgekd.data.preprocess import (
    ArrayPreprocess,
    ImagePreprocess,
    Preprocess,
    read_preprocess,
    write_preprocess,
)
from edgekd.data.text_preprocess import TextInputs
from edgekd.errors import BadInput, ModelError, VerifyFailed
from edgekd.evaluation.privacy import shareable
from edgekd.evaluation.record import Record
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.target import text_lengths
from edgekd.exporters.tensorrt.target import FOLDER as BOARDS
from edgekd.exporters.tensorrt.target import bundle_scripts
from edgekd.store import replacing, write_atomic, write_json

OUR_SOURCES = frozenset({LOADER, f"{FOLDER}/python.py"})
"""Python files of a bundle, which its texts name."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Everything that a bundle is made of."""

    artifact: Path
    """Contains `model.<variant>.onnx` and `preprocess.json`."""
    variants: tuple[Variant, ...]
    """With FP32."""
    variant: Variant
    """The one that was chosen to ship."""
    signals: Mapping[str, str]
    """The task's outputs with their kinds, in the order of the files' outputs."""
    record: Record
    """Of the run; paths in it are cut here."""
    samples: Sequence[Sample]
    """Raw samples that golden ones are chosen from."""
    synthetic: str | None
    """Why they are made up; None: they are real and may ship."""
    fixed_shape: bool = True
    report: str | None = None
    """HTML."""
    from_files: bool = True
    """Whether edgekd decoded the samples from files; False: they came as arrays."""
    meaning: ArrayOptions = field(default_factory=ArrayOptions)
    """What the arrays of the data mean."""
    pretrained: Pretrained | None = None
    """Settings of a model of transformers; None where the model is none."""
    folders: tuple[Path, ...] = ()
    """Of the developer: what ships must not name them."""


def write(folder: Path, contents: Contents) -> None:
    """Write the bundle `folder`.

    Raises:
        ModelError: something in it would identify the developer, or gives NaN.
        VerifyFailed: the finished folder fails its own checks.
    """
    preprocess = read_preprocess(contents.artifact)
    if isinstance(preprocess, ArrayPreprocess):
        facts = state_meaning(preprocess.facts, contents.meaning)
        preprocess = preprocess.model_copy(update={"facts": facts})
    record = _shippable(contents.record)
    with replacing(folder) as partial:
        (partial / "golden").mkdir()
        write_preprocess(partial, preprocess)
        if record.task.labels:
            write_json(partial / LABELS, list(record.task.labels))
        shipped, chosen, files = _models(partial, contents, preprocess)
        shipped = _with_boards(partial, shipped)
        if contents.pretrained is not None:
            names = copy_pretrained(contents.pretrained, partial)
            shipped = replace(shipped, settings=names, loads=contents.pretrained.loads)
        golden = _golden(partial, contents, chosen, files, preprocess)
        found = describe(partial, shipped, record, golden)
        write_json(partial / MANIFEST, manifest_of(found))
        for name, text in make_loaders(preprocess).items():
            write_atomic(partial / name, text)
        for name, text in make_snippets(found).items():
            (partial / name).parent.mkdir(exist_ok=True)
            write_atomic(partial / name, text)
        write_atomic(partial / "MODEL_CARD.md", card(found))
        if contents.report is not None:
            write_atomic(partial / "report.html", contents.report)
        words = private_words(record, contents.folders)
        refuse_traces(partial, words, named_sources(record) | OUR_SOURCES)
        write_sums(partial)
        _prove(partial)


def _shippable(record: Record) -> Record:
    """Return the record without the data's samples, raw seconds and absolute paths."""
    changes = record.changes and replace(record.changes, samples=())
    return shareable(replace(record, calls=(), changes=changes))


def _models(
    folder: Path, contents: Contents, preprocess: Preprocess
) -> tuple[Shipped, list[gold.Answered], list[dict[str, str]]]:
    """Copy the ONNX files, choose and write the golden samples on them, write the fixed forms.

    The tensors and outputs of a sample are those of its file, as an app will read it.
    """
    from edgekd.exporters.ort_session import batch_size, predictor

    dynamic = {variant: f"model.{variant}.onnx" for variant in contents.variants}
    for name in dynamic.values():
        shutil.copyfile(contents.artifact / name, folder / name)
    predictors = {v: predictor(folder / name) for v, name in dynamic.items()}
    batch = batch_size(folder / dynamic[FP32], default=1)
    answered = gold.answer(contents.samples, preprocess, predictors, batch=batch)
    outputs = answered[0].outputs[FP32]
    if len(outputs) != len(contents.signals):
        raise ModelError(
            f"the file gives the outputs {list(outputs)} and the task names "
            f"{list(contents.signals)}; they are matched by order, one for one"
        )
    winners = sorted(_winners(contents.signals, outputs))
    chosen = gold.choose(answered, winners=winners[0] if winners else None)
    files = [write_sample(folder, i, s.sample, preprocess.reads) for i, s in enumerate(chosen)]
    written = [read_sample(folder, names, preprocess) for names in files]
    chosen = [gold.answer([one], preprocess, predictors, batch=batch)[0] for one in written]
    fixed, left_out = _fixed(folder, dynamic, chosen, contents, preprocess)
    shipped = Shipped(
        preprocess=preprocess,
        signals=contents.signals,
        variant=contents.variant,
        dynamic=dynamic,
        fixed=fixed,
        from_files=contents.from_files,
        left_out=left_out,
    )
    return shipped, chosen, files


def _with_boards(folder: Path, shipped: Shipped) -> Shipped:
    """Write the scripts that build and time engines on a board."""
    files = {variant: folder / name for variant, name in shipped.dynamic.items()}
    try:
        scripts = bundle_scripts(files, lengths=text_lengths(folder))
    except BadInput as error:
        return replace(shipped, left_out={**shipped.left_out, BOARDS: str(error)})
    for name, text in scripts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomic(folder / name, text)
    return replace(shipped, boards=tuple(scripts))


def _winners(signals: Mapping[str, str], outputs: gold.Arrays) -> set[str]:
    """Return the outputs, by the files' names, whose greatest class is the answer."""
    pairs = zip(signals.values(), outputs.items(), strict=True)
    return {name for kind, (name, a) in pairs if kind == "classes" and gold.has_winner(a)}


def _fixed(
    folder: Path,
    dynamic: Mapping[Variant, str],
    chosen: Sequence[gold.Answered],
    contents: Contents,
    preprocess: Preprocess,
) -> tuple[dict[Variant, str], dict[str, str]]:
    """Write files with every axis fixed at batch 1; return those written, and those left out."""
    from edgekd.exporters.shapes import fixed_shape

    written: dict[Variant, str] = {}
    left_out: dict[str, str] = {}
    if not contents.fixed_shape:
        return written, left_out
    limits = gold.tolerances(chosen, _winners(contents.signals, chosen[0].outputs[FP32]))
    for variant, source in dynamic.items():
        model = load_onnx(folder / source)
        lengths = _lengths(model, preprocess)
        if lengths is None:  # nothing is symbolic
            continue
        name = f"model.{variant}.batch1.onnx"
        save_onnx(fixed_shape(model, 1, lengths=lengths), folder / name)
        fault = _fault(folder / name, variant, chosen, limits[variant], preprocess.fill)
        if fault:
            (folder / name).unlink()
            left_out[name] = fault
        else:
            written[variant] = name
    return written, left_out


def _lengths(model: Any, preprocess: Preprocess) -> dict[str, int] | None:
    """Return what symbolic axes other than the batch become; None: there are none at all."""
    from edgekd.exporters.model_stats import inputs_of

    axes = [list(value.type.tensor_type.shape.dim) for value in inputs_of(model)]
    if all(dim.HasField("dim_value") for dims in axes for dim in dims):
        return None
    if isinstance(preprocess, ImagePreprocess):
        sides = zip(axes[0][1:], preprocess.shape, strict=False)
        return {dim.dim_param: side for dim, side in sides if dim.dim_param}
    if not isinstance(preprocess, TextInputs):
        return {}
    symbols = {dims[1].dim_param for dims in axes if len(dims) > 1}
    return dict.fromkeys(symbols - {""}, preprocess.max_length)


def _fault(
    path: Path,
    variant: Variant,
    chosen: Sequence[gold.Answered],
    limits: Mapping[str, Tolerance],
    fill: Mapping[str, int],
) -> str:
    """Return why a fixed form does not answer as the file it was made from, or ""."""
    from edgekd.exporters.ort_session import predictor

    try:
        entries = model_inputs(path)
        if any(not isinstance(axis, int) for entry in entries for axis in entry.shape):
            return "the length of an axis is unknown"
        predict = predictor(path)
        for one in chosen:
            said = predict(gold.fit(one.inputs, entries, fill))
            for name, expected in one.outputs[variant].items():
                got = gold.without_filling(expected, said[name])
                fault = gold.compare(expected, got, limits[name])[1]
                if fault:
                    return f"its output {name!r} {fault}"
    except (ModelError, VerifyFailed) as error:
        return str(error).replace(str(path), path.name)
    return ""


def _golden(
    folder: Path,
    contents: Contents,
    chosen: Sequence[gold.Answered],
    files: Sequence[dict[str, str]],
    preprocess: Preprocess,
) -> Golden:
    """Write the tensors and outputs of `golden/`; return the manifest's part about it."""
    gold.write_arrays(folder / gold.INPUTS, [one.inputs for one in chosen])
    outputs = {variant: f"golden/outputs.{variant}.npz" for variant in contents.variants}
    for variant, name in outputs.items():
        gold.write_arrays(folder / name, [one.outputs[variant] for one in chosen])
    limits = gold.tolerances(chosen, _winners(contents.signals, chosen[0].outputs[FP32]))
    return Golden(
        synthetic=contents.synthetic is not None,
        reason=contents.synthetic or "the licence of the data allows it",
        samples=tuple(files),
        inputs=gold.INPUTS,
        outputs=outputs,
        input_tolerance=gold.input_tolerances(chosen, files, preprocess),
        output_tolerance=limits,
        rule=gold.RULE,
    )


def _prove(folder: Path) -> None:
    """Verify the finished folder before it appears.

    Raises:
        VerifyFailed: it does not keep one.
    """
    report = verify(folder)
    if not report.ok:
        raise VerifyFailed(
            f"the finished bundle fails its own checks ({report.faults}); nothing was "
            "written. This is a defect of edgekd or of ONNX Runtime's kernels on this machine: "
            "please report it"
        )
