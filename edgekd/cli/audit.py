"""`edgekd audit`: what a teacher knows and where it errs, before anything learns from it."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli import flags
from edgekd.errors import RecipeError
from edgekd.wording import flag, speaking

if TYPE_CHECKING:
    from edgekd.recipe.recipe import Recipe


def audit(  # noqa: PLR0913  # each parameter is a flag
    teachers: Annotated[
        list[str],
        typer.Argument(
            metavar="TEACHER...",
            help="an ONNX file, hf:FOLDER, FILE.py:FUNCTION with --weights, or a recipe; further "
            "ones are ONNX files that teach beside the first",
        ),
    ],
    data: flags.Data = None,
    weights: flags.Weights = None,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="BUILDER",
            help="function that builds the student, FILE.py:FUNCTION: how much smaller it is",
        ),
    ] = None,
    size: flags.Size = None,
    normalize: flags.Normalize = None,
    resize: flags.Resize = None,
    tokenizer: flags.Tokenizer = None,
    max_length: flags.MaxLength = None,
    task: flags.Task = None,
    no_labels: flags.NoLabels = False,
    skip_broken: flags.SkipBroken = False,
    name: flags.Name = None,
    changes: flags.Changes = None,
    out: flags.Out = None,
    as_json: flags.AsJson = False,
) -> None:
    """Audit a trained teacher: quality, calibration, doubtful labels, advice for distillation.

    It answers the validation split once. Written are audit.json, audit.html and mistakes.csv, in
    the run folder. Exit code 1: the teacher is no better than a guess.

    Example: edgekd audit net.onnx --data photos/

    Example: edgekd audit net.py:build --weights net.pt --data photos/ --student small.py:build

    Example: edgekd audit a.onnx b.onnx --data photos/
    """
    from edgekd.cli.terminal import Terminal, output
    from edgekd.pipeline.audit.command import audit as work
    from edgekd.recipe.from_flags import pick_asked

    given = pick_asked(locals())
    first, more = teachers[0], teachers[1:]
    names = [*inspect.signature(audit).parameters, "model"]  # messages call the first one so
    with speaking("flags", names=names):
        recipe, root = _recipe(first, data, given, changes or ())
        result = work(
            recipe,
            more,
            root=root,
            out=out or Path("runs") / recipe.name,
            progress=Terminal(),
            command=shlex.join(["edgekd", *sys.argv[1:]]),
        )
    if as_json:
        typer.echo(json.dumps(result.audit.to_json()))
    else:
        output().print(result)
        typer.echo(f"report {result.report}")
    if not result.ok:
        raise typer.Exit(1)


def _recipe(
    teacher: str, data: str | None, given: Mapping[str, Any], changes: Sequence[str]
) -> tuple[Recipe, Path]:
    """Return the recipe that is named or that the flags stand for, and where its paths start."""
    from edgekd.pipeline.audit.command import make_audit_table
    from edgekd.recipe.from_flags import make_recipe_table
    from edgekd.recipe.overrides import changed
    from edgekd.recipe.recipe import find_root, parse_recipe, read_toml, shipped_recipes

    if teacher.endswith(".toml") or (teacher in shipped_recipes() and data is None):
        strange = [flag(key) for key in ("data", *given) if key != "data" or data is not None]
        if strange:
            raise RecipeError(
                f"{' and '.join(strange)} cannot be given with the recipe {teacher}, which has its "
                "own values; change its keys, for instance --set data.path=photos"
            )
        path = Path(teacher)
        table = changed(read_toml(path), changes)
        return parse_recipe(table, origin=teacher), find_root(path)
    if data is None:
        raise RecipeError(
            "--data is missing; a teacher is audited on samples: give a folder of images, an .npz "
            "or a table, as in `edgekd audit --help`"
        )
    asked = dict(given)
    student = asked.pop("student", None)
    table = make_recipe_table(model=teacher, data=data, **asked)
    table = changed(make_audit_table(table, student=student), changes)
    return parse_recipe(table, origin="the flags"), Path.cwd()
