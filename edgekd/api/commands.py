"""The commands as functions, for scripts and notebooks. Heavy imports wait for the call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from edgekd.arguments import (
    as_path,
    as_texts,
    in_python,
    taking,
)
from edgekd.errors import RecipeError
from edgekd.wording import speaking

if TYPE_CHECKING:
    from edgekd.pipeline.compress import Result
    from edgekd.pipeline.plan import Plan
    from edgekd.progress import Progress
    from edgekd.recipe.recipe import Recipe


def advise_key(key: str, value: object) -> str:
    """Return advice on an argument that a function does not have; "" if there is none."""
    from edgekd.recipe.faults import advise_key
    from edgekd.recipe.recipe import Recipe

    return advise_key(key, value, Recipe)


@in_python
def load_recipe(recipe: str | Path, *, changes: str | Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one that ships by its name.

    Args:
        recipe: a path, or "mnist".
        changes: texts such as "effort=0.1" or "budget.max_drop=2" that win over the file.

    Raises:
        RecipeError: every fault found, in one paragraph.
    """
    from edgekd.recipe.recipe import load_recipe as load

    path = as_path(recipe, "recipe")
    if path is None:
        raise RecipeError("recipe is None; give the path of a recipe, or the name of a shipped one")
    return load(path, changes=as_texts(changes, "changes"))


@overload
def compress(  # each argument is a flag of the command
    recipe: object = None,
    data: object = None,
    *,
    model: object = None,
    weights: object = None,
    student: object = None,
    size: int | str | Sequence[int] | None = None,
    normalize: str | Sequence[float] | None = None,
    resize: str | None = None,
    tokenizer: str | None = None,
    max_length: int | None = None,
    task: object = None,
    labels: Sequence[str] | None = None,
    device: str | None = None,
    max_latency: str | None = None,
    max_drop: float | None = None,
    min_snr: float | None = None,
    min_agreement: float | None = None,
    no_labels: bool | None = None,
    epochs: int | None = None,
    samples: int | None = None,
    ranges: str | None = None,
    ship: str | Sequence[str] | None = None,
    variants: str | Sequence[str] | None = None,
    keep_for: str | None = None,
    only: str | Sequence[str] | None = None,
    no_distill: bool | None = None,
    no_prune: bool | None = None,
    no_quantize: bool | None = None,
    skip_broken: bool | None = None,
    quick: bool = False,
    dry_run: Literal[False] = False,
    name: str | None = None,
    changes: str | Sequence[str] = (),
    out: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | bool = True,
) -> Result: ...
@overload
def compress(
    recipe: object = None, data: object = None, *, dry_run: Literal[True], **arguments: Any
) -> Plan: ...
@taking(advise_key)
def compress(  # noqa: D417  # its arguments are those of the first overload
    recipe: object = None, data: object = None, **arguments: Any
) -> Result | Plan:
    """Compress a trained model end to end, as `edgekd compress` does; a stopped run is resumed.

    Give a recipe, or `model` and `data` with the arguments that are the flags of the command. The
    objects of a notebook do: an nn.Module with its weights, arrays, a torch Dataset. They are
    copied as they are at the call; the same objects resume the same run.

    Args:
        recipe: a recipe file, the name of one that ships, its table, or a loaded one; or a model,
            before `data`.
        data: (inputs, targets), or inputs alone: arrays, tensors, lists, a frame, a torch Dataset
            or DataLoader, samples in turn; {"train": ..., "test": ...} of these; a function that
            returns them; a path or name.
        model: an nn.Module, a function that builds one (it is trained in the run, unless `weights`
            are given), "net.py:build", "model.onnx" or "hf:folder" of transformers.
        weights: a state_dict or its file.
        student: the network to train, given as `model` is; default: cut from the model, with
            half of its multiplications; of a text encoder half of its blocks.
        size: image size in pixels, 224 or (height, width); default: the model's own.
        normalize: scale of pixels that the model expects: "imagenet", "0..1", "-1..1", "none",
            or means and deviations.
        resize: how images are brought to `size`: "crop", "stretch" or "pad".
        tokenizer: tokenizer of the model: tokenizer.json, a vocabulary, or "file.py:function".
        max_length: longest text, in tokens; longer texts are truncated.
        task: what the outputs mean: "classification", "multilabel", "regression", ..., or a Task.
        labels: names of the classes, in the order of the model's outputs.
        device: device to measure on; default "local".
        max_latency: largest latency with its unit, "8 ms".
        max_drop: largest loss of quality, in points; default 1.
        min_snr: least signal-to-noise of each output, in dB; labels are then not read.
        min_agreement: least share of samples whose class stays, in percent; likewise.
        no_labels: compare with the model's own outputs.
        epochs: epochs of every training; default 20.
        samples: number of calibration samples; default 256.
        ranges: how ranges of activations are made: auto, minmax, percentile, entropy or mse.
        ship: the file to ship: "fastest" (default), "smallest", or variants such as ["int8"].
        variants: files that quantize writes, such as ["int8", "int8-tensorrt", "fp16"].
        keep_for: a device that is not here, which INT8 is kept for if its quality allows.
        only: the steps to do, of "distill", "prune" and "quantize".
        no_distill: leave out distillation.
        no_prune: leave out pruning.
        no_quantize: leave out INT8.
        skip_broken: leave out samples that cannot be read.
        quick: a look in about a minute, which decides nothing.
        dry_run: return a `Plan` instead: stages, shapes, time and disk space; nothing is written.
        name: name of the run, and of its folder.
        changes: texts such as "effort=0.1" that change keys of the recipe.
        out: the run folder, or one file NAME.onnx; default: runs/NAME below the current folder.
        root: where relative paths start; default: the folder of the recipe, or the current one.
        progress: show bars or lines on stderr, or your own listener.

    Raises:
        BadInput: recipe, data or model is wrong; nothing is half-written. Kinds: RecipeError,
            DataError, ModelError, RunFolderError, TrainingDiverged and MissingExtra.
        JobFailed: a process under test crashed.

    Example:
        >>> edgekd.compress(model=net, data=(x, y), max_drop=1)  # doctest: +SKIP
    """
    from edgekd.pipeline.python_job import Job, compress_objects, compress_recipe, is_recipe
    from edgekd.recipe.from_flags import pick_asked

    given, model = pick_asked(arguments), arguments["model"]
    job = Job(
        as_texts(arguments["changes"], "changes"),
        arguments["out"],
        arguments["root"],
        listener(arguments["progress"]),
        quick=arguments["quick"],
        dry_run=arguments["dry_run"],
    )
    if recipe is not None and model is None and not is_recipe(recipe):
        recipe, model = None, recipe  # edgekd.compress(net, (x, y))
    if recipe is None:
        return compress_objects(model, data, given, job, "compress")
    mixed = [*([] if data is None else ["data"]), *([] if model is None else ["model"]), *given]
    if mixed:
        raise RecipeError(
            f"{' and '.join(mixed)} cannot be given with a recipe, which has its own values; leave "
            "the recipe out, or change its keys, for instance changes=['budget.max_drop=2']"
        )
    with speaking("recipe"):
        return compress_recipe(recipe, job)


@taking(advise_key)
def quantize(  # noqa: PLR0913  # each argument is a flag of the command
    model: object,
    data: object = None,
    *,
    weights: object = None,
    size: int | str | Sequence[int] | None = None,
    normalize: str | Sequence[float] | None = None,
    resize: str | None = None,
    tokenizer: str | None = None,
    max_length: int | None = None,
    task: object = None,
    labels: Sequence[str] | None = None,
    device: str | None = None,
    samples: int | None = None,
    ranges: str | None = None,
    max_drop: float | None = None,
    max_latency: str | None = None,
    min_snr: float | None = None,
    min_agreement: float | None = None,
    no_labels: bool | None = None,
    ship: str | Sequence[str] | None = None,
    variants: str | Sequence[str] | None = None,
    keep_for: str | None = None,
    skip_broken: bool | None = None,
    quick: bool = False,
    name: str | None = None,
    changes: str | Sequence[str] = (),
    out: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | bool = True,
) -> Result:
    """Quantize a model to INT8, kept only if it is faster here and as good.

    An ONNX file needs no torch. Without labels the model's own outputs are the reference: `min_snr`
    or `min_agreement` then replaces `max_drop`. Each argument takes what it takes in `compress`.

    Args:
        model: a float32 ONNX file, "hf:FOLDER" of transformers, or an nn.Module with its weights.
        data: with or without labels.
        weights: a state_dict or its file, of a function that builds the model.
        size: image size, in pixels.
        normalize: scale of pixels that the model expects.
        resize: how images are brought to that size.
        tokenizer: tokenizer of the model.
        max_length: longest text, in tokens.
        task: what the outputs mean.
        labels: names of the classes.
        device: device to measure on.
        samples: number of calibration samples; default 256.
        ranges: how ranges of activations are made: auto, minmax, percentile, entropy or mse.
        max_drop: largest loss, in points; default 1.
        max_latency: largest latency, "8 ms".
        min_snr: least signal-to-noise of each output, in dB; labels are then not read; default
            without labels: 20.
        min_agreement: least share of samples whose class stays, in percent; likewise.
        no_labels: compare with the model's own outputs.
        ship: the file to ship.
        variants: files that quantize writes, such as ["int8", "int8-tensorrt", "fp16"].
        keep_for: a device that is not here, which INT8 is kept for if its quality allows.
        skip_broken: leave out samples that cannot be read.
        quick: a look in about a minute, which decides nothing.
        name: name of the run, and of its folder.
        changes: texts such as "measure.rounds=3" that change keys of the recipe.
        out: the run folder, or a file NAME.onnx, which is written if it is kept; default:
            runs/MODEL-DATA.
        root: where relative paths start.
        progress: show bars or lines on stderr, or your own listener.

    Raises:
        BadInput: model or data is wrong.
        JobFailed: a process under test crashed.
    """
    from edgekd.pipeline.python_job import Job, compress_objects
    from edgekd.recipe.from_flags import is_bare, pick_asked

    given = pick_asked(locals())
    if not is_bare(str(model)):
        given["only"] = "quantize"
    job = Job(as_texts(changes, "changes"), out, root, listener(progress), quick=quick)
    return cast("Result", compress_objects(model, data, given, job, "quantize"))  # no dry run


def listener(progress: Progress | bool) -> Progress | None:
    """Return what hears of the progress; None: nobody does."""
    if progress is True:
        from edgekd.cli.terminal import Terminal

        return Terminal()
    if progress is False or progress is None:
        return None
    if not hasattr(progress, "track"):
        raise RecipeError(
            f"progress is {progress!r:.40}; expected is True, False, or a listener with `say` and "
            "`track` (see edgekd.progress.Progress)"
        )
    return progress
