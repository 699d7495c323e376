"""A job that Python begins: with a recipe, or with objects in place of names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.arguments import as_path, as_plain
from edgekd.errors import RecipeError, require
from edgekd.pipeline.compress import Result
from edgekd.pipeline.compress import compress as work
from edgekd.pipeline.one_file import refuse_quick_file, write_file
from edgekd.pipeline.plan import Plan, plan
from edgekd.progress import Progress
from edgekd.recipe.from_flags import (
    as_quick_look,
    describe_steps,
    is_bare,
    make_recipe_table,
    name_unlabelled,
)
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import Recipe, find_root, parse_recipe, read_toml
from edgekd.store import digest, locate
from edgekd.tasks.task import Task
from edgekd.user_code import Given, giving, is_given
from edgekd.user_code import title as code_title


@dataclass(frozen=True)
class Job:
    """What a call says besides the recipe."""

    changes: list[str]
    out: object
    root: object
    progress: Progress | None
    quick: bool = False
    dry_run: bool = False


def is_recipe(value: object) -> bool:
    """Whether the first argument of `compress` is a recipe, and not a model."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        return not is_bare(path) and ":" not in Path(path).name
    return isinstance(value, Recipe) or (isinstance(value, Mapping) and _has_texts(value))


def _has_texts(table: Mapping[Any, Any]) -> bool:
    """Whether it may be a recipe's table, and not a state_dict."""
    return not any(hasattr(value, "detach") for value in table.values())


def compress_recipe(recipe: Any, job: Job) -> Result | Plan:
    """Run a recipe: a file, its name, a table, or a loaded one.

    Raises:
        RecipeError: it is wrong, or changes are asked of a loaded one.
        BadInput: see `compress`.
        JobFailed: see `compress`.
    """
    if isinstance(recipe, Recipe):
        if job.changes:
            raise RecipeError(
                "changes cannot be made to a loaded Recipe; give them to load_recipe, or use "
                "recipe.model_copy(update={...})"
            )
        quick = as_quick_look({"name": recipe.name}, quick=job.quick)
        loaded, base, shown = recipe.model_copy(update=quick), Path.cwd(), "recipe"
    elif isinstance(recipe, Mapping):
        table = as_quick_look(changed(recipe, job.changes), quick=job.quick)
        loaded, base, shown = parse_recipe(table, origin="the recipe"), Path.cwd(), "recipe"
    else:
        path = locate(recipe)
        table = as_quick_look(changed(read_toml(path), job.changes), quick=job.quick)
        loaded, base = parse_recipe(table, origin=str(path)), find_root(path)
        shown = repr(os.fspath(recipe))
    return _work(loaded, job, base=base, command=_describe_call("compress", [shown], job))


def compress_objects(
    model: object, data: object, asked: dict[str, Any], job: Job, title: str
) -> Result | Plan:
    """Run what the arguments ask for; `title` is the function that was called.

    Raises:
        RecipeError: model or data is missing, or the arguments do not go together.
        BadInput: see `compress`.
        JobFailed: see `compress`.
    """
    absent = [name for name, value in (("model", model), ("data", data)) if value is None]
    if absent:
        also = " (or a recipe)" if title == "compress" else ""
        raise RecipeError(
            f"edgekd.{title} needs {' and '.join(absent)}{also}; for instance "
            f"edgekd.{title}(model=net, data=(x, y))"
        )
    objects = name_objects(
        model=model,
        data=data,
        weights=asked.pop("weights", None),
        student=asked.pop("student", None),
        task=asked.pop("task", None),
    )
    plain = {key: as_plain(value) for key, value in asked.items()}
    named = {"weights": objects.weights, "student": objects.student, "task": objects.task}
    shown = {"model": objects.model, "data": objects.data, **plain, **named}
    made_up = None if objects.name is None else name_unlabelled(objects.name, plain)
    plain = {"name": made_up, **plain, **named}
    with giving(objects.given):
        table = make_recipe_table(model=objects.model, data=objects.data, **plain)
        table = as_quick_look(changed(table, job.changes), quick=job.quick)
        recipe = parse_recipe(table, origin=f"edgekd.{title}")
        if job.progress is not None:
            job.progress.say(describe_steps(table, only=plain.get("only")))
        words = [f"{key}={_shown(value)}" for key, value in shown.items() if value is not None]
        command = _describe_call(title, words, job)
        return _work(recipe, job, base=Path.cwd(), command=command)


def _describe_call(title: str, words: list[str], job: Job) -> str:
    """Return the call as it was written; its changes come last, so that more can be added."""
    words = [*words, *(["quick=True"] if job.quick else [])]
    words += [] if job.out is None else [f"out={str(job.out)!r}"]
    words += [f"changes={job.changes!r}"] if job.changes else []
    return f"edgekd.{title}({', '.join(words)})"


def _shown(value: object) -> str:
    """Return an argument as it was written; of an object that was given, its name."""
    return code_title(value) if isinstance(value, str) and is_given(value) else repr(value)


def _work(recipe: Recipe, job: Job, *, base: Path, command: str) -> Result | Plan:
    folder = as_path(job.out, "out") or Path("runs") / recipe.name
    start = as_path(job.root, "root") or base
    listener = job.progress
    refuse_quick_file(recipe, folder)
    if job.dry_run:
        return plan(recipe, root=start, folder=folder, progress=listener)
    if folder.suffix == ".onnx":
        return write_file(recipe, folder, root=start, progress=listener, command=command)
    return work(recipe, root=start, out=folder, progress=listener, command=command)


@dataclass(frozen=True)
class Objects:
    """A model and data of Python as a recipe has them."""

    model: str
    data: str
    student: str | None
    task: str | None
    name: str | None
    """Of the run, where objects have no file to name it by."""
    given: tuple[Given, ...]
    weights: str | None = None


def name_objects(
    *, model: object, data: object, weights: object, student: object, task: object
) -> Objects:
    """Return what a recipe has in place of these objects, and the objects by that name.

    Raises:
        BadInput: one of them is nothing that can be used.
    """
    found: list[Given] = []
    loaded = weights if not isinstance(model, (str, os.PathLike)) else None
    model_name = _network(model, "model", found, weights=loaded)
    student_name = None if student is None else _network(student, "student", found)
    data_name = _data(data, found)
    task_name = task if task is None or isinstance(task, str) else _task(task, found)
    name = None
    if found:
        parts = (model_name, data_name)
        words = [part.rpartition(":")[2] or part for part in parts]
        name = "-".join(Path(word).stem for word in words).lower().replace("_", "-")[:64]
    kept = None if loaded is not None or weights is None else as_plain(weights)
    if kept is not None and not isinstance(kept, str):
        raise RecipeError(
            f"weights is {type(kept).__name__}, and model {model_name!r} is a name; expected is a "
            "file of weights. To give weights themselves, give the network or its function too"
        )
    return Objects(
        model=model_name,
        data=data_name,
        student=student_name,
        task=task_name,
        name=name,
        given=tuple(found),
        weights=kept,
    )


def _network(value: object, argument: str, found: list[Given], *, weights: object = None) -> str:
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    require("torch", extra="train")
    from edgekd.networks.objects import give_network

    return _kept(give_network(value, argument=argument, weights=weights), found)


def _task(value: Any, found: list[Given]) -> str:
    if isinstance(value, Task) and not isinstance(value, type):
        name = type(value).__name__
        return _kept(Given(name, lambda: value, digest(repr(type(value)))), found)
    if not callable(value):
        raise RecipeError(f"task is {value!r:.40}; expected is a name, a Task or a function")
    from edgekd.networks.objects import give_function

    return _kept(give_function(value, argument="task"), found)


def _data(value: object, found: list[Given]) -> str:
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    from edgekd.data.dataset import Dataset
    from edgekd.data.objects import collect, hash_collected

    if isinstance(value, Dataset):
        return _kept(Given("data", lambda: value, value.fingerprint), found)
    has_samples = hasattr(value, "__getitem__") or hasattr(value, "__iter__")
    if callable(value) and (isinstance(value, type) or not has_samples):
        from edgekd.networks.objects import give_function

        name = give_function(value, argument="data")
        if isinstance(name, str):
            return name
        value = name.function()
    parts = collect(value, where="data")
    return _kept(Given("data", lambda: parts, hash_collected(parts)), found)


def _kept(given: str | Given, found: list[Given]) -> str:
    if isinstance(given, str):
        return given
    found.append(given)
    return given.spec
