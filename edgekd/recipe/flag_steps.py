"""The steps of a recipe that flags stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.options import Training
from edgekd.recipe.flag_values import parse_variants
from edgekd.teacher.hf import PREFIX
from edgekd.teacher.hf_network import FINE_TUNING

EPOCHS = 20
RATIO = 0.3
"""Share of channels that pruning removes from a student, or from the model itself."""
MACS = 0.5
"""Share of the multiplications that a student has which is cut from the model."""
LONGER = 2
"""How much longer than its teacher such a student trains: its steps cost about half of the
teacher's own, since it is half as large and the teacher answers from a cache."""
VIEWS = 8
"""Views of each sample that the cache keeps, where samples are varied."""
LEARNING_TO_DO_WITHOUT = Training(**{**FINE_TUNING.model_dump(exclude_unset=True), "epochs": 6})
"""Of a student that starts from some of the teacher's blocks."""


def make_steps(
    model: str,
    names: Sequence[str],
    asked: Mapping[str, Any],
    *,
    given: Mapping[str, object],
) -> list[dict[str, Any]]:
    """Return the tables of the steps `names` for a network.

    Args:
        model: as the caller wrote it.
        names: of the steps, in order.
        asked: the flags, see `from_flags.Asked`.
        given: what the flags say of a network's input.
    """
    student, epochs = asked.get("student"), epochs_of(asked)
    found: list[dict[str, Any]] = []
    if "distill" in names and student is not None:
        built = {"build": student, **({"input": dict(given)} if given else {})}
        found.append({"name": "distill", "student": built, "train": training(epochs, 1e-3)})
    elif "distill" in names and (
        "prune" in names or "quantize" not in names or asked.get("only") is not None
    ):
        # cut from the teacher: it loses channels here already, so pruning is not another step
        learned: dict[str, Any] = {
            "student": {"from": "teacher", "macs": MACS},
            "train": training(_longer(epochs), 5e-4),
            "cache": {"views": VIEWS},
        }
        if model.startswith(PREFIX):
            learned = _of_transformers(asked)
        return [
            {"name": "distill", **learned},
            *([quantize_step(asked)] if "quantize" in names else []),
        ]
    if "prune" in names:
        recover = training(math.ceil(epochs / 2), 5e-4)
        found.append({"name": "prune", "ratio": RATIO, "recover": recover})
    if "quantize" in names:
        found.append(quantize_step(asked))
    return found


def _longer(epochs: int) -> int:
    """Return how many a student gets; what is no whole number is left to the recipe's check."""
    return LONGER * epochs if isinstance(epochs, int) else epochs


def _of_transformers(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a student with half of a text encoder's blocks learns, and how long."""
    return {
        "student": {"from": "teacher", "layers": "half"},
        "terms": [{"kind": "soft-targets", "temperature": 2.0}, {"kind": "hidden"}],
        "train": fine_tuning(asked, LEARNING_TO_DO_WITHOUT),
    }


def fine_tuning(asked: Mapping[str, Any], usual: Training) -> dict[str, Any]:
    """Return the options of a training whose usual ones are known, with the epochs asked for."""
    epochs = asked.get("epochs")
    changed = {} if epochs is None else {"epochs": epochs}
    return {**usual.model_dump(exclude_unset=True), **changed}


def quantize_step(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of `quantize`, with what was asked for."""
    given = {key: asked.get(key) for key in ("samples", "ranges", "keep_for")}
    found = {k: value for k, value in given.items() if value is not None}
    variants = asked.get("variants")
    if variants is not None:
        found["variants"] = parse_variants(variants)
    return {"name": "quantize", **found}


def epochs_of(asked: Mapping[str, Any]) -> int:
    """Return the epochs of a training of an unknown network."""
    epochs = asked.get("epochs")
    return EPOCHS if epochs is None else epochs


def training(epochs: int, rate: float) -> dict[str, Any]:
    """Return options that suit unknown networks: AdamW, which also trains those without norms."""
    return {
        "epochs": epochs,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": rate,
        "weight_decay": 0.02,
    }
