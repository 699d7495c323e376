"""What is said where a network and the data do not fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.arrays import TARGET_NAMES
from edgekd.errors import DataError, ModelError, few, one_line
from edgekd.networks.builder_options import find_parameter
from edgekd.pipeline.baseline import note_folders
from edgekd.step import Context
from edgekd.user_code import blame, resolve
from edgekd.user_code import title as code_title
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model

_OF_TYPES = re.compile(r"not implemented for '|dtype|scalar type|[Ii]nput type")
"""How torch says that numbers are of a type that a layer does not take."""


def refuse_data(
    name: str,
    model: Model,
    inputs: Mapping[str, NDArray[Any]],
    error: Exception,
    *,
    has_targets: bool,
) -> ModelError:
    """Say in the user's terms that a network cannot take the data."""
    preprocess = model.preprocess
    if preprocess.kind == "image":
        size = f"{preprocess.channels}, {preprocess.height}, {preprocess.width}"
        given = f"images, float32 [{len(next(iter(inputs.values())))}, {size}]"
        cure = (
            "correct the network, or describe its input if that differs from the data: "
            f"{option(f'{_table(name)}.input.channels', 4 - preprocess.channels)}, "
            f"{option(f'{_table(name)}.input.size', 224)}"
        )
    else:
        given = ", ".join(f"{n} {a.dtype} {list(a.shape)}" for n, a in inputs.items())
        cure = "correct the network, or give the data's arrays the names and shapes that it takes"
        if preprocess.kind == "array":
            cure += "".join(_of_arrays(inputs, error, has_targets=has_targets))
    reason = one_line(error)[:300]
    return ModelError(
        f"the {name} {code_title(model.blueprint.build)} cannot take the data ({given}): "
        f"{type(error).__name__} at {blame(error)}: {reason}; {cure}"
    )


def _of_arrays(
    inputs: Mapping[str, NDArray[Any]], error: Exception, *, has_targets: bool
) -> Iterator[str]:
    """Yield what else may be wrong with arrays, each as a sentence behind a full stop."""
    whole = [name for name, array in inputs.items() if array.dtype.kind in "iu"]
    if whole and _OF_TYPES.search(str(error)):
        yield f". There are whole numbers in {few(whole)}: perhaps .astype(np.float32)"
    if len(inputs) == 1:
        return
    yield ". Every array but the target is an input: leave out what it does not take"
    if not has_targets:  # one of them may have been meant as the target
        yield (
            f". All of {', '.join(inputs)} were read as inputs and none as the target, which "
            f"is called one of {', '.join(TARGET_NAMES)}"
        )


def _table(called: str) -> str:
    """Return where a recipe has the network that messages call so."""
    return "distill.student" if called == "student" else "model"


def check_classes(
    called: str, outputs: Mapping[str, NDArray[Any]], context: Context, *, build: str | None
) -> None:
    """Compare the labels with the outputs. A rare class may be in the training split alone.

    Raises:
        DataError: a label has no output.
    """
    found = [context.data.targets(split).get("label") for split in ("train", "validation")]
    labels = None if found[0] is None else np.concatenate([a for a in found if a is not None])
    for name, kind in context.task.signals.items():
        if kind != "classes" or labels is None or outputs[name].ndim != 2:
            continue
        classes, last = outputs[name].shape[1], int(labels.max())
        if last >= classes:
            folders = note_folders(context.data, classes)
            first = int(labels.min())
            cure = "subtract 1" if (first, last) == (1, classes) else "fix the labels"
            raise DataError(
                f"the data has labels from {first} to {last}, and the {called} gives {classes} "
                f"{name} (labels 0 to {classes - 1}); {cure}, or "
                f"{_wider(called, build, last + 1, context.root)}{folders and f'. {folders}'}"
            )


def _wider(called: str, build: str | None, classes: int, root: Path) -> str:
    """Say how to get a network with more classes: by an option only if its builder has one."""
    parameter = None if build is None else find_parameter(resolve(build, root=root), "classes")
    if parameter is None:
        return f"give a network with {classes} outputs"
    return f"build it with {option(f'{_table(called)}.options.{parameter}', classes)}"
