"""Tasks: outputs, hard loss and metrics of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgekd.errors import RecipeError
from edgekd.tasks.classification import Classification
from edgekd.tasks.embedding import Embedding
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.reference import Reference
from edgekd.tasks.regression import Regression
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.task import Task
from edgekd.user_code import resolve

REFERENCE = "reference"
"""The task of a job without labels: the outputs of the float model are compared with."""
EMBEDDING = "embedding"
TASKS: Mapping[str, Callable[[], Task]] = {
    "classification": Classification,
    "multilabel": Multilabel,
    "regression": Regression,
    "segmentation": Segmentation,
    EMBEDDING: Embedding,
    REFERENCE: Reference,
}
"""Every task by name."""


def open_task(spec: str, *, root: Path) -> Task:
    """Return the task that a recipe names: one of TASKS, or a callable that returns one.

    Raises:
        RecipeError: the callable returned something that is not a Task.
    """
    if spec in TASKS:
        return TASKS[spec]()
    if ":" not in spec:
        raise RecipeError(
            f"task {spec!r} is not known; it is {', '.join(map(repr, TASKS))} or "
            "'path/to/file.py:function'"
        )
    task = resolve(spec, root=root)()
    if not isinstance(task, Task):
        raise RecipeError(
            f"{spec} returned a {type(task).__name__}; a task has signals, metrics, predict, "
            "reference, reduce, loss and check (see edgekd.tasks.task.Task)"
        )
    return task
