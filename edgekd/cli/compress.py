"""`edgekd compress`: the main job, from a recipe or from flags."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli import flags
from edgekd.errors import RecipeError
from edgekd.wording import NAMES, flag

if TYPE_CHECKING:
    from edgekd.pipeline.compress import Result
    from edgekd.recipe.recipe import Recipe

_ALSO_WITH_RECIPE = (
    *("task", "size", "resize", "tokenizer", "max_length", "device", "max_latency", "max_drop"),
    *("min_snr", "min_agreement", "ship", "skip_broken", "name"),
)
"""The flags that also change a recipe that is given; `_changed_by_flags` has those of several
keys."""


def compress(  # noqa: PLR0913  # each parameter is a flag
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE", help="recipe file, or the name of a shipped recipe"),
    ] = None,
    model: flags.Model = None,
    data: flags.Data = None,
    weights: flags.Weights = None,
    student: flags.Student = None,
    size: flags.Size = None,
    normalize: flags.Normalize = None,
    resize: flags.Resize = None,
    tokenizer: flags.Tokenizer = None,
    max_length: flags.MaxLength = None,
    task: flags.Task = None,
    device: flags.Device = None,
    max_latency: flags.MaxLatency = None,
    max_drop: flags.MaxDrop = None,
    min_snr: flags.MinSnr = None,
    min_agreement: flags.MinAgreement = None,
    no_labels: flags.NoLabels = False,
    epochs: flags.Epochs = None,
    samples: flags.Samples = None,
    ranges: flags.Ranges = None,
    only: flags.Only = None,
    no_distill: flags.NoDistill = False,
    no_prune: flags.NoPrune = False,
    no_quantize: flags.NoQuantize = False,
    ship: flags.Ship = None,
    variants: flags.Variants = None,
    keep_for: flags.KeepFor = None,
    skip_broken: flags.SkipBroken = False,
    quick: flags.Quick = False,
    name: flags.Name = None,
    changes: flags.Changes = None,
    out: flags.OutOrFile = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="show stages, shapes, time and disk space; write nothing"),
    ] = False,
    as_json: flags.AsJson = False,
) -> None:
    """Compress a trained model end to end.

    A stage that does not pay on the device is rolled back. If the run is stopped, the same command
    resumes it. Exit code 1: the budget cannot be met.

    Example: edgekd compress mnist

    Example: edgekd compress --model net.py:build --weights net.pt --data photos --size 224
    """
    # Before numpy is loaded: its threads wait at full speed after every batch that is resized, in
    # the way of torch's (`python -m edgekd.benchmarks.trials.training`).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edgekd.recipe.from_flags import as_quick_look, describe_steps, pick_asked
    from edgekd.recipe.overrides import changed
    from edgekd.recipe.recipe import find_root, parse_recipe, read_toml

    asked = pick_asked(locals())
    if recipe is None:
        with flags.speaking_flags(compress):
            table = _from_flags(model, data, asked)
            table = as_quick_look(changed(table, changes or ()), quick=quick)
            loaded = parse_recipe(table, origin="the flags")
            added = describe_steps(table, only=only)
            run(loaded, root=Path.cwd(), out=out, dry_run=dry_run, as_json=as_json, said=added)
    else:
        table = _changed_by_flags(
            recipe, read_toml(recipe), {"model": model, "data": data, **asked}
        )
        table = as_quick_look(changed(table, changes or ()), quick=quick)
        loaded = parse_recipe(table, origin=str(recipe))
        run(loaded, root=find_root(recipe), out=out, dry_run=dry_run, as_json=as_json)


def _from_flags(model: str | None, data: str | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    from edgekd.recipe.from_flags import make_recipe_table

    if model is None or data is None:
        missing = flags.name_missing(model=model, data=data)
        raise RecipeError(
            f"nothing to compress: {missing}; give a recipe (edgekd compress "
            "recipe.toml), or both --model and --data. `edgekd compress --help` has examples"
        )
    return make_recipe_table(model=model, data=data, **asked)


def _changed_by_flags(
    recipe: Path, table: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a recipe's table with the flags that it has a place for; refuse the others."""
    from edgekd.recipe.flag_values import (
        choose_steps,
        choose_task,
        parse_normalize,
        parse_size,
        seen_from,
    )
    from edgekd.recipe.overrides import changed
    from edgekd.recipe.recipe import find_root

    given = {key: value for key, value in asked.items() if value is not None}
    choices = ("only", "no_distill", "no_prune", "no_quantize")
    steps = {key: given.pop(key) for key in choices if key in given}
    if "no_labels" in given:
        given["task"] = choose_task(task=given.get("task"), no_labels=given.pop("no_labels"))
    normalize = given.pop("normalize", None)
    strange = [flag(key) for key in given if key not in _ALSO_WITH_RECIPE]
    if strange:
        raise RecipeError(
            f"{' and '.join(strange)} cannot be given with the recipe {recipe}, which has its own "
            "values; leave the recipe out, or change its keys, for instance --set data.path=photos"
        )
    if "device" in given:
        given["device"] = [given["device"]]
    if "size" in given:
        given["size"] = parse_size(given["size"])
    root = find_root(recipe)
    values = {
        path: seen_from(root, name, given[name]) for path, name in NAMES.items() if name in given
    }
    if normalize is not None:
        mean, std = parse_normalize(normalize)
        values |= {"model.input.mean": mean, "model.input.std": std}
    new = changed(table, [f"{path}={json.dumps(value)}" for path, value in values.items()])
    if steps:
        names = choose_steps(**steps)
        new["steps"] = [step for step in new.get("steps", ()) if step.get("name") in names]
    return new


def run(
    recipe: Recipe,
    *,
    root: Path,
    out: Path | None,
    dry_run: bool = False,
    as_json: bool = False,
    said: str = "",
) -> None:
    """Run a validated recipe with progress, print the ladder, and leave with the right code."""
    from edgekd.cli.terminal import Terminal
    from edgekd.evaluation.record import QUICK_REMARK
    from edgekd.pipeline.compress import compress as work
    from edgekd.pipeline.one_file import refuse_quick_file, write_file

    folder = out or Path("runs") / recipe.name
    refuse_quick_file(recipe, folder)
    if dry_run:
        show_plan(recipe, root=root, folder=folder, as_json=as_json)
        return
    progress = Terminal()
    progress.say(_headline(recipe, folder, root=root))
    if said:
        progress.say(said)
    if recipe.quick:
        progress.say(f"this is {QUICK_REMARK}")
    command = shlex.join(["edgekd", *sys.argv[1:]])
    if folder.suffix == ".onnx":
        result = write_file(recipe, folder, root=root, progress=progress, command=command)
    else:
        result = work(recipe, root=root, out=folder, progress=progress, command=command)
    if as_json:
        typer.echo(json.dumps(result.record.to_json()))
    else:
        show(result)
    if result.over_budget or (result.one_file and result.file is None):
        raise typer.Exit(1)


def _headline(recipe: Recipe, folder: Path, *, root: Path) -> str:
    from edgekd.evaluation.gate import describe_floor

    budget = recipe.budget
    floors = [f"at least {describe_floor(key, v)}" for key, v in budget.floors.items()]
    wanted = floors or [_wanted_quality(recipe, root=root)]
    if budget.max_latency is not None:
        wanted.append(budget.max_latency)
    steps = ", ".join(step.name for step in recipe.steps) or "no steps"
    if recipe.quick:
        wanted = ["not judged"]
    return f"run {folder}: {steps}; device {recipe.devices[0].name}; budget {' and '.join(wanted)}"


def _wanted_quality(recipe: Recipe, *, root: Path) -> str:
    """Say what quality is judged by, as far as the names in the data tell whether it has labels."""
    from edgekd.data.peek import peek_labels
    from edgekd.tasks import REFERENCE

    drop = f"at most {recipe.budget.max_drop:g} lost against the teacher"
    near = "outputs near the model's own"
    if recipe.task == REFERENCE:
        return near
    labelled = peek_labels(recipe.data, root=root) if recipe.task is None else True
    return f"{drop}, or without labels {near}" if labelled is None else drop if labelled else near


def show(result: Result) -> None:
    """Print the ladder and where things lie."""
    from edgekd.cli.terminal import output
    from edgekd.report.run.table import ladder, outcome

    console = output()
    console.print(ladder(result.record))
    for line in [*outcome(result.record), result.where]:
        console.print(line, markup=False, highlight=False)


def show_plan(recipe: Recipe, *, root: Path, folder: Path, as_json: bool) -> None:
    """Print what the run would be, without a trace of it."""
    from edgekd.cli.terminal import Terminal, output
    from edgekd.pipeline.plan import plan

    found = plan(recipe, root=root, folder=folder, progress=Terminal())
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        output().print(found)
