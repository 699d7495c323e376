"""An audit that Python begins: of a recipe, or of objects in place of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.arguments import as_path, as_plain
from edgekd.errors import RecipeError
from edgekd.pipeline.audit.command import AuditResult, audit, make_audit_table
from edgekd.pipeline.python_job import Job, is_recipe, name_objects
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import Recipe, find_root, parse_recipe, read_toml
from edgekd.store import locate
from edgekd.user_code import giving


def audit_objects(
    model: object, data: object, more: Sequence[str], asked: dict[str, Any], job: Job
) -> AuditResult:
    """Audit what the arguments name.

    Raises:
        RecipeError: model or data is missing, or the arguments do not go together.
        BadInput: see `audit`.
    """
    if model is not None and data is None and is_recipe(model):
        recipe, base = _read(model, job)
        if asked:
            raise RecipeError(
                f"{' and '.join(asked)} cannot be given with a recipe, which has its own values; "
                "change its keys, for instance changes=['data.path=photos']"
            )
        return _work(recipe, more, job, base=base)
    absent = [n for n, value in (("model", model), ("data", data)) if value is None]
    if absent:
        raise RecipeError(
            f"edgekd.audit needs {' and '.join(absent)} (or a recipe); for instance "
            "edgekd.audit('net.onnx', data=(x, y))"
        )
    objects = name_objects(
        model=model,
        data=data,
        weights=asked.pop("weights", None),
        student=asked.pop("student", None),
        task=asked.pop("task", None),
    )
    plain = {key: as_plain(value) for key, value in asked.items()}
    named = {"weights": objects.weights, "task": objects.task}
    with giving(objects.given):
        whole = {"name": objects.name, **plain, **named}
        table = make_recipe_table(model=objects.model, data=objects.data, **whole)
        table = changed(make_audit_table(table, student=objects.student), job.changes)
        recipe = parse_recipe(table, origin="edgekd.audit")
        return _work(recipe, more, job, base=Path.cwd())


def _read(recipe: Any, job: Job) -> tuple[Recipe, Path]:
    if isinstance(recipe, Recipe):
        if job.changes:
            raise RecipeError(
                "changes cannot be made to a loaded Recipe; give them to load_recipe, or use "
                "recipe.model_copy(update={...})"
            )
        return recipe, Path.cwd()
    if isinstance(recipe, Mapping):
        return parse_recipe(changed(recipe, job.changes), origin="the recipe"), Path.cwd()
    path = locate(recipe)
    table = changed(read_toml(path), job.changes)
    return parse_recipe(table, origin=str(path)), find_root(path)


def _work(recipe: Recipe, more: Sequence[str], job: Job, *, base: Path) -> AuditResult:
    return audit(
        recipe,
        more,
        root=as_path(job.root, "root") or base,
        out=as_path(job.out, "out") or Path("runs") / recipe.name,
        progress=job.progress,
    )
