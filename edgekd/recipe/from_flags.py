"""Make a recipe from the flags of `edgekd compress`, `edgekd init` and `edgekd quantize`.

It is the raw table, as a recipe file would give it, so that both go the same way from here on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, TypedDict, Unpack

from edgekd.data.source import KNOWN_DATA
from edgekd.errors import RecipeError

EPOCHS = 20
_FUNCTION = re.compile(r"(?:.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")
_BARE_WEIGHTS = (".pt", ".pth", ".safetensors", ".bin", ".ckpt")


_MADE_UP = ("random", "noise", "synthetic", "dummy", "zeros", "ones", "none")
_BUDGET = ("max_drop", "min_snr", "min_agreement", "max_latency")


class Asked(TypedDict, total=False):
    """The flags besides model and data; None means not given."""

    weights: str | None
    """A state_dict; without it the model is trained in the run."""
    student: str | None
    """A builder; without it the student is the teacher with half of its channels."""
    device: str | None
    max_latency: float | str | None
    """Seconds, or text such as '8 ms'."""
    max_drop: float | None
    """In the unit of the first metric: points of accuracy."""
    min_snr: float | None
    """In dB, against the model's own outputs; labels are not read then."""
    min_agreement: float | None
    """In percent, likewise."""
    task: str | None
    epochs: int | None
    """Of every training; recovery after pruning takes half."""
    samples: int | None
    """For calibration."""
    labels: Sequence[str] | None
    skip_broken: bool | None
    name: str | None
    """Of the run folder."""


def make_recipe_table(*, model: str, data: str, **asked: Unpack[Asked]) -> dict[str, Any]:
    """Return the raw recipe for `model` on `data`. Paths in it are those that were given.

    Args:
        model: "path/to/file.py:function", "package.module:function", or a file "x.onnx", which
            can only be quantized.
        data: a path (folder, .npz, table), a known name, or "file.py:function".
        **asked: see `Asked`.

    Raises:
        RecipeError: `model` names no network, or something was asked that it cannot serve.
    """
    onnx = model.endswith(".onnx")
    _check(model, data, asked)
    budget = {key: asked.get(key) for key in _BUDGET}
    table: dict[str, Any] = {
        "name": asked.get("name") or _name(model, data),
        "data": _data(data, asked),
        "model": {"onnx": model} if onnx else _model(model, asked),
        "devices": [asked.get("device") or "local"],
        "budget": {key: value for key, value in budget.items() if value is not None},
    }
    if asked.get("task") is not None:
        table["task"] = asked.get("task")
    table["steps"] = [*([] if onnx else _training_steps(asked)), _quantize(asked)]
    return table


def _check(model: str, data: str, asked: Asked) -> None:
    onnx = model.endswith(".onnx")
    if data.lower() in _MADE_UP and not Path(data).exists():
        raise RecipeError(
            f"--data {data}: made-up samples are refused; the ranges of INT8 and the judgement "
            "would be those of noise, not those of the samples that the model will meet. "
            "A hundred real inputs without labels are enough: a folder of images, an .npz or .npy "
            "of inputs, a .txt of texts, or FILE.py:FUNCTION that returns some"
        )
    if onnx:
        extra = [f"--{key}" for key in ("weights", "student", "epochs") if _given(asked, key)]
        if extra:
            raise RecipeError(
                f"{' and '.join(extra)} cannot be used with {model}: an ONNX file cannot be "
                "trained, only quantized; give the PyTorch model, --model path/to/file.py:function"
            )
    elif model.endswith(_BARE_WEIGHTS):
        raise RecipeError(
            f"--model {model} contains only weights, not the network that they belong to; give "
            f"the function that builds it: --model path/to/file.py:function --weights {model}"
        )
    elif not _FUNCTION.fullmatch(model):
        raise RecipeError(
            f"--model {model} is not a model; give path/to/file.py:function, "
            "package.module:function, or a file that ends in .onnx"
        )
    student = asked.get("student")
    if student is not None and not _FUNCTION.fullmatch(student):
        raise RecipeError(
            f"--student {student} is not a function; give path/to/file.py:function or "
            "package.module:function, or leave --student out: then the student is cut from the "
            "model"
        )


def _given(asked: Asked, key: str) -> bool:
    return dict(asked).get(key) is not None


def _name(model: str, data: str) -> str:
    """Return a name for the run: another model or other data get another folder."""
    where, _, function = model.rpartition(":")
    parts = [PurePath(where or model).stem, function if where else "", *_words_of(data)]
    text = "-".join(part for part in parts if part).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("._-")[:64] or "run"


def _words_of(data: str) -> list[str]:
    if _FUNCTION.fullmatch(data):
        where, _, function = data.rpartition(":")
        return [PurePath(where).stem, function]
    return [PurePath(data).stem]


def _data(data: str, asked: Asked) -> dict[str, Any]:
    if data in KNOWN_DATA:
        table: dict[str, Any] = {"name": data}
    else:
        table = {"call" if _FUNCTION.fullmatch(data) else "path": data}
    # a tenth is often too few to prove a small loss; a tenth of 50,000 is enough
    table["validation"] = 0.1 if data == "cifar10" else 0.2
    labels = asked.get("labels")
    if labels:
        table["labels"] = list(labels)
    if asked.get("skip_broken"):
        table["skip_broken"] = True
    return table


def _model(model: str, asked: Asked) -> dict[str, Any]:
    weights = asked.get("weights")
    if weights is not None:
        return {"build": model, "weights": weights}
    return {"build": model, "train": _training(_epochs(asked), 1e-3)}


def _training_steps(asked: Asked) -> list[dict[str, Any]]:
    student, epochs = asked.get("student"), _epochs(asked)
    if student is None:
        # cut from the teacher: it loses channels here already, so pruning is not another step
        cut = {"from": "teacher", "ratio": 0.5}
        return [{"name": "distill", "student": cut, "train": _training(epochs, 5e-4)}]
    return [
        {"name": "distill", "student": {"build": student}, "train": _training(epochs, 1e-3)},
        {"name": "prune", "ratio": 0.3, "recover": _training(math.ceil(epochs / 2), 5e-4)},
    ]


def _quantize(asked: Asked) -> dict[str, Any]:
    samples = asked.get("samples")
    return {"name": "quantize", **({} if samples is None else {"samples": samples})}


def _epochs(asked: Asked) -> int:
    epochs = asked.get("epochs")
    return EPOCHS if epochs is None else epochs


def _training(epochs: int, rate: float) -> dict[str, Any]:
    """Return options that suit unknown networks: AdamW, which also trains those without norms."""
    return {
        "epochs": epochs,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": rate,
        "weight_decay": 0.02,
    }
