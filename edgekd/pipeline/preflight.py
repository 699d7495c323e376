"""Checks before any work: build every network of a recipe once and report what is wrong.

Nothing is trained here. A network is built as its step will build it, and answers two samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgekd.data.preprocess import Preprocess
from edgekd.errors import (
    EdgekdError,
    ModelError,
    NothingToDo,
    NotKnownYet,
    one_line,
)
from edgekd.evaluation.forecast import MOST_KEPT, NetworkForecast
from edgekd.exporters.file_facts import Entry
from edgekd.exporters.model_stats import facts
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.networks.bounded import GIB, Bounds, OutOfBounds, run_bounded
from edgekd.options import Training
from edgekd.pipeline.baseline import check_baseline, count_classes, note_folders
from edgekd.pipeline.memory import Kept, check_need, count_kept, training_need
from edgekd.pipeline.misfit import check_classes, refuse_data
from edgekd.recipe.recipe import Recipe, titled
from edgekd.step import Context, OnnxModel, Opened, Preview, Step, TorchStep
from edgekd.tasks.task import Predictor, name_outputs
from edgekd.user_code import blame
from edgekd.user_code import title as code_title
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model

EXPORT_BOUNDS = Bounds(cpu_s=300, wall_s=1200, memory_bytes=16 * GIB)
"""What the export of a network may take for a try; a real one of that length would be bearable."""


def forecast_networks(
    recipe: Recipe, context: Context, *, export: bool = False, judge: bool = False
) -> tuple[NetworkForecast, ...]:
    """Build every network that `recipe` trains, or look into its file; the first is the teacher.

    Args:
        recipe: the whole job.
        context: data and task.
        export: also export each network, untrained, and throw the file away.
        judge: also refuse a given model that is no better than a guess.

    Raises:
        ModelError: one cannot be built or exported, its weights do not fit, or it cannot take the
            data.
        DataError: the labels do not fit its outputs.
        RecipeError: a loss has no term for one of the task's outputs.
    """
    found: list[NetworkForecast] = []
    models: list[tuple[str, Model]] = []
    told: set[str] = set()
    teacher = source = _unopened(NothingToDo("there is no network to start from"))
    steps = [("teacher", recipe.working_teacher), *titled(recipe.working_steps)]
    for i, (title, step) in enumerate(steps):
        try:
            seen = step.preview(source, teacher, context.only(step.needed))
        except NothingToDo as signal:
            found.append(NetworkForecast(title=title, note=f"skipped: {one_line(signal)}"))
            continue
        except NotKnownYet as signal:
            found.append(NetworkForecast(title=title, note=one_line(signal)))
            source = _unopened(NotKnownYet(f"known when {title} has run"))
            continue
        if isinstance(seen, OnnxModel):
            found.append(_file(title, step.network_name, seen, context))
        elif seen is not None:
            if export:
                _prepare_export()
            _tell(seen.notes, told, context)
            source = _opened(seen)
            models.append((title, seen))
            found.append(_network(title, step.network_name, seen, context))
            _tell(_note_size(step, found), told, context)
            if step.training is not None:
                path = step.name if i else "model"
                need = _try_training(step, seen, context, path=path)
                found[-1] = replace(found[-1], training_bytes=need)
        if judge and title == "teacher":
            _judge(recipe, seen, context, found[-1].outputs)
        teacher = source if title == "teacher" else teacher
    if export:
        _try_exports(models, context, recipe.export.opset)
    return tuple(found)


def _tell(notes: Sequence[str], told: set[str], context: Context) -> None:
    """Say what was not said yet: a student that is cut has the notes of its teacher."""
    for note in notes:
        if note not in told:
            context.progress.say(note)
    told.update(notes)


def _note_size(step: Step, found: Sequence[NetworkForecast]) -> list[str]:
    if step.name != "distill" or not isinstance(step, TorchStep):
        return []
    sizes = found[0].parameters, found[-1].parameters
    return [text] if (text := describe_size(*sizes, is_own=step.starts_without_network)) else []


def describe_size(teacher: int | None, student: int | None, *, is_own: bool) -> str:
    """Return a warning of a training that can hardly pay, or "".

    Args:
        teacher: its number of parameters; None: not known.
        student: the same.
        is_own: whether the user's function builds the student; else it is cut from the teacher.
    """
    if not teacher or student is None or student <= MOST_KEPT * teacher:
        return ""
    own = option("distill.student.build", "net.py:build")
    way_out = f"give a smaller one ({own})"
    if not is_own:
        way_out = (
            f"the layers with most of them cannot be pruned; give a student of your own ({own})"
        )
    return (
        f"warning: the student has {100 * student / teacher:.0f} % of the teacher's parameters, so "
        f"it can hardly be smaller or faster: {way_out}"
    )


def _judge(recipe: Recipe, seen: Preview, context: Context, outputs: Sequence[Entry]) -> None:
    """Refuse a given model that is no better than a guess, unless the recipe permits it.

    A quick look says what the run itself will refuse, and goes on: it has few samples.
    """
    is_trained = recipe.model.training is not None
    if seen is not None and not is_trained and not recipe.allow_poor_teacher:
        try:
            check_baseline(_predictor_of(seen, context), seen.preprocess, context, recipe)
        except ModelError as error:
            if not recipe.quick:
                raise
            context.progress.say(f"warning: a full run will stop here: {one_line(error)}")
    elif note := note_folders(context.data, count_classes(context.task, outputs)):
        context.progress.say(note)


def _predictor_of(seen: Model | OnnxModel, context: Context) -> Predictor:
    if isinstance(seen, OnnxModel):
        return predictor(seen.path)
    from edgekd.networks.trainable import predictor_of

    return predictor_of(seen, context.task)


def _opened(model: Model) -> Opened:
    return lambda: model


def _unopened(signal: NotKnownYet | NothingToDo) -> Opened:
    def opened() -> Model:
        raise signal

    return opened


def _try_exports(models: Sequence[tuple[str, Model]], context: Context, opset: int) -> None:
    """Export one network of each builder: what is cut from it has the same code."""
    codes = [repr((m.blueprint.build, dict(m.blueprint.options))) for _, m in models]
    chosen = [one for i, one in enumerate(models) if codes[i] not in codes[:i]]
    with context.progress.track("try the export", len(chosen)) as tick:
        for title, model in chosen:
            try:
                run_bounded(partial(_try_export, model, context, opset), EXPORT_BOUNDS)
            except OutOfBounds as signal:
                code = code_title(model.blueprint.build)
                raise ModelError(
                    f"{code} cannot be exported to ONNX in reason: {signal}. A "
                    "loop in its forward is written out turn by turn; use an operator of torch "
                    "for the whole of it (nn.LSTM, cumsum, a convolution), or fewer turns"
                ) from signal
            tick(1, title)


def _prepare_export() -> None:
    from edgekd.exporters.torch_to_onnx import prepare_export

    prepare_export()


def _try_export(model: Model, context: Context, opset: int) -> None:
    import torch

    from edgekd.evaluation.parity_check import check_export
    from edgekd.exporters.torch_to_onnx import export_onnx
    from edgekd.exporters.traced_export import TRACED_OPSETS

    inputs = _samples(model.preprocess, context, size=2)
    deployed, outputs = model.deployed(context.task).eval(), tuple(context.task.signals)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        path = Path(scratch) / "model.onnx"
        export_onnx(
            deployed,
            [torch.as_tensor(array) for array in inputs.values()],
            path,
            input_names=tuple(inputs),
            output_names=outputs,
            dynamic_axes=model.preprocess.dynamic_axes,
            opset=opset,
        )
        if opset in TRACED_OPSETS:  # it may freeze what the other exporter refuses
            check_export(deployed, path, inputs, outputs=outputs, preprocess=model.preprocess)


def _network(title: str, name: str, model: Model, context: Context) -> NetworkForecast:
    import torch

    from edgekd.networks.blueprint import name_outputs, named, parameters

    inputs = _samples(model.preprocess, context, size=2)
    deployed = model.deployed(context.task).eval()
    returned: list[object] = []
    watch = model.body.register_forward_hook(lambda _, __, result: returned.append(result))
    try:
        with torch.no_grad():
            answers = named(deployed, {n: torch.as_tensor(a) for n, a in inputs.items()})
    except EdgekdError:
        raise
    except Exception as error:
        has_targets = bool(context.data.targets("train"))
        raise refuse_data(name, model, inputs, error, has_targets=has_targets) from error
    finally:
        watch.remove()
    every = name_outputs(returned[0]) if returned else {}
    if len(every) > len(answers) == 1 and title == "teacher":
        shown = ", ".join(f"{key} {list(tensor.shape)}" for key, tensor in every.items())
        (key, taken), *_ = answers.items()
        context.progress.say(
            f"{code_title(model.blueprint.build)} returns {shown}; taken as {key} is "
            f"{list(taken.shape)}, and the rest does not ship"
        )
    outputs = {name: tensor.numpy() for name, tensor in answers.items()}
    check_classes(name, outputs, context, build=model.blueprint.build)
    axes = model.preprocess.dynamic_axes
    return NetworkForecast(
        title=title,
        parameters=parameters(model.body),
        inputs=_ports(inputs, axes),
        outputs=_ports(outputs, {}),
    )


def _try_training(step: Step, model: Model, context: Context, *, path: str) -> int:
    """Go forward and back once in training mode, where networks may do something else.

    Returns:
        The memory that the training takes, in bytes.
    """
    import torch

    from edgekd.networks.blueprint import named
    from edgekd.training.early_stop import check_early_stop
    from edgekd.training.loop import choose_device, to_tensors
    from edgekd.training.precision import computing

    place, training = next((n, value) for n, value in step if isinstance(value, Training))
    check_early_stop(training, context.task, context.data)
    called, cpu = f"{step.network_name} {code_title(model.blueprint.build)}", torch.device("cpu")
    if not any(p.requires_grad for p in model.body.parameters()):
        raise ModelError(
            f"all weights of the {called} are frozen (requires_grad is "
            "False), so it cannot be trained; unfreeze them in the function that builds it, or "
            "give it trained weights"
        )
    kept: list[Kept] = []
    deployed = model.deployed(context.task).train()
    try:
        for size in (4, 2):
            batch = next(context.data.batches("train", model.preprocess, size=size))
            inputs = to_tensors(batch.inputs[0], cpu)
            with count_kept(deployed, len(batch.index)) as one, computing(training.precision, cpu):
                outputs = named(deployed, inputs)
            kept.append(one)
        if batch.targets:
            loss = context.task.loss(outputs, to_tensors(batch.targets, cpu)).mean()
            loss.backward()  # type: ignore[no-untyped-call]
    except EdgekdError:
        raise
    except Exception as error:
        raise ModelError(
            f"the {called} runs, but fails in training: "
            f"{type(error).__name__} at {blame(error)}: {one_line(error)[:300]}; correct its "
            "forward for training mode, or the loss of the task"
        ) from error
    finally:
        model.body.zero_grad(set_to_none=True)
    weight_bytes = sum(tensor.nbytes for tensor in model.body.state_dict().values())
    need = training_need(kept, weight_bytes, training)
    check_need(need, training, name=called, path=f"{path}.{place}", device=choose_device())
    return need.of(training.batch_size)


def _file(title: str, name: str, model: OnnxModel, context: Context) -> NetworkForecast:
    found = facts(model.path)
    inputs = _samples(model.preprocess, context, size=batch_size(model.path, default=2))
    outputs = name_outputs(predictor(model.path)(inputs), context.task)
    check_classes(name, outputs, context, build=None)
    return NetworkForecast(
        title=title, parameters=found.parameters, inputs=found.inputs, outputs=found.outputs
    )


def _samples(preprocess: Preprocess, context: Context, *, size: int) -> dict[str, NDArray[Any]]:
    return next(context.data.batches("validation", preprocess, size=size)).inputs[0]


def _ports(
    arrays: Mapping[str, NDArray[Any]], axes: Mapping[str, Mapping[int, str]]
) -> tuple[Entry, ...]:
    ports = []
    for name, array in arrays.items():
        free = {0: "batch", **axes.get(name, {})}
        shape = tuple(free.get(i, length) for i, length in enumerate(array.shape))
        ports.append(Entry(name, str(array.dtype), shape))
    return tuple(ports)
