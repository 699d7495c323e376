"""A job without labels: the teacher's own outputs are the reference, a floor takes a drop's place.

What a recipe leaves open is settled here, once, before anything is checked or measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import Preprocess
from edgekd.errors import EdgekdError, ModelError, NothingToDo, RecipeError
from edgekd.options import Budget
from edgekd.pipeline.misfit import refuse_data
from edgekd.progress import Silent
from edgekd.recipe.recipe import Recipe
from edgekd.step import Context, OnnxModel
from edgekd.tasks import REFERENCE, TASKS
from edgekd.tasks.reference import Form, Reference, find_forms, without_constant_answers
from edgekd.tasks.task import Arrays, Floor, Task
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model

LABELLED = "classification"
"""The task that a recipe without a task gets, if there are labels."""
LEAST_SNR = 20.0
LEAST_AGREEMENT_TRAINED = 95.0
LEAST_AGREEMENT = 99.0
"""Where no output has floating-point values."""
_SIZES = (2, 3)
_SOME = 64
"""Samples on which it is seen whether answers vary."""


def wants_labels(recipe: Recipe) -> bool:
    """Return whether labels are to be read, where there are any.

    Raises:
        RecipeError: a floor on the model's own outputs beside a task that judges by labels.
    """
    floors = recipe.budget.floors
    if floors and recipe.task not in (None, REFERENCE):
        raise RecipeError(
            f"with {' and '.join(option(f'budget.{key}') for key in floors)} the model's own "
            f"outputs are the reference, which is not so for {option('task', recipe.task)}; leave "
            f"out {option('task')}, or give {option('budget.max_drop')} instead"
        )
    return not floors and recipe.task != REFERENCE


def settle_recipe(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with its task, and without labels with steps that need none.

    Raises:
        RecipeError: a step cannot work without labels.
    """
    name = recipe.task or LABELLED
    if name in TASKS and not dataset.targets:  # a task of one's own may need none
        name = REFERENCE
    if name != REFERENCE:
        return recipe.model_copy(update={"task": name})
    steps = tuple(step.without_labels() for step in recipe.steps)
    model = recipe.model.without_labels()
    return recipe.model_copy(update={"task": name, "model": model, "steps": steps})


def open_reference(recipe: Recipe, context: Context, asked: Task) -> Reference:
    """Run the teacher on samples of the data and return the task that compares with its outputs.

    Args:
        recipe: the whole job.
        context: the data.
        asked: the task that the recipe names. Outputs of one that has no classes are no classes,
            whatever they look like.

    Raises:
        ModelError: it cannot be run, or an output cannot be compared.
    """
    step = recipe.model
    quiet = replace(context.only(step.needed), progress=Silent())  # the preflight reports it
    seen = step.preview(_nothing, _nothing, quiet)
    assert seen is not None  # a teacher is a network or a file
    forms = _of_file(seen, context) if isinstance(seen, OnnxModel) else _of_network(seen, context)
    if not isinstance(asked, Reference) and "classes" not in asked.signals.values():
        forms = tuple(replace(form, is_classes=False, is_flat=False) for form in forms)
    return Reference(forms)


def settle_budget(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with the floors that apply, and refuse those that no output can have.

    Raises:
        RecipeError: a floor was asked for that says nothing of these outputs.
    """
    known = {metric.floor for metric in task.metrics} - {None}
    budget, floors = recipe.budget, recipe.budget.floors
    strange = [key for key in floors if key not in known]
    if strange:
        what = (
            "floating-point values"
            if strange[0] == "min_snr"
            else "classes that vary between samples"
        )
        raise RecipeError(
            f"{option(f'budget.{strange[0]}')} is set, but no output of the model has {what}; give "
            f"{' or '.join(option(f'budget.{key}') for key in sorted(k for k in known if k))}"
        )
    update = {} if floors else _default_floor(budget, known, trains=recipe.trains)
    return recipe.model_copy(update={"budget": budget.model_copy(update=update)})


def _default_floor(budget: Budget, known: Set[Floor | None], *, trains: bool) -> dict[str, float]:
    if "min_agreement" in known:
        if "max_drop" in budget.model_fields_set:
            return {"min_agreement": max(0.0, 100.0 - budget.max_drop)}
        if trains:
            return {"min_agreement": LEAST_AGREEMENT_TRAINED}
    return {"min_snr": LEAST_SNR} if "min_snr" in known else {"min_agreement": LEAST_AGREEMENT}


def _nothing() -> Model:
    raise NothingToDo("there is no network to start from")


def _of_file(model: OnnxModel, context: Context) -> tuple[Form, ...]:
    from edgekd.exporters.ort_session import batch_size, predictor

    fixed = batch_size(model.path, default=0)
    sizes = (fixed, fixed) if fixed else _SIZES
    predict = predictor(model.path)
    smaller, larger = (predict(_repeated(model.preprocess, context, size)) for size in sizes)
    forms = find_forms(smaller, larger, sizes=sizes)
    some = [predict(batch) for batch in _some(model.preprocess, context, fixed or _SOME)]
    return without_constant_answers(forms, some)


def _of_network(model: Model, context: Context) -> tuple[Form, ...]:
    import torch

    from edgekd.networks.blueprint import name_outputs

    model.body.eval()
    deployed = model.deployed(context.task)

    def predict(inputs: Arrays) -> dict[str, NDArray[Any]]:
        tensors = (torch.as_tensor(array) for array in inputs.values())
        try:
            with torch.no_grad():
                outputs = name_outputs(model.body(*deployed.body_inputs(*tensors)))
        except EdgekdError:
            raise
        except Exception as error:
            raise refuse_data("model", model, inputs, error, has_targets=False) from error
        return {name: tensor.float().numpy() for name, tensor in outputs.items()}

    smaller, larger = (predict(_repeated(model.preprocess, context, size)) for size in _SIZES)
    if not smaller:
        raise ModelError("the model returns no tensor; let its forward return the outputs")
    forms = find_forms(smaller, larger, sizes=_SIZES)
    some = [predict(batch) for batch in _some(model.preprocess, context, _SOME)]
    return without_constant_answers(forms, some)


def _some(preprocess: Preprocess, context: Context, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield some whole batches of the validation split, or all of a smaller one."""
    seen = 0
    for batch in context.data.batches("validation", preprocess, size=size):
        if seen >= _SOME or (seen and len(batch.index) < size):
            return
        short = size - len(batch.index)
        yield {n: np.concatenate([a, a[[0] * short]]) for n, a in batch.inputs[0].items()}
        seen += size


def _repeated(preprocess: Preprocess, context: Context, size: int) -> dict[str, NDArray[Any]]:
    """Return one sample `size` times, as the model takes it: all else stays equal."""
    batch = next(context.data.batches("validation", preprocess, size=1))
    return {name: np.repeat(array, size, axis=0) for name, array in batch.inputs[0].items()}
