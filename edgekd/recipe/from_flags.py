"""Make a recipe from the flags of `edgekd compress`, `edgekd init` and `edgekd quantize`.

It is the raw table, as a recipe file would give it, so that both go the same way from here on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypedDict, Unpack

from edgekd.data.source import KNOWN_DATA, Source
from edgekd.errors import RecipeError
from edgekd.recipe.flag_steps import (
    epochs_of,
    fine_tuning,
    make_steps,
    quantize_step,
    training,
)
from edgekd.recipe.flag_values import (
    choose_steps,
    choose_task,
    parse_normalize,
    parse_size,
)
from edgekd.recipe.model_files import refuse_weights
from edgekd.teacher.hf import PREFIX
from edgekd.teacher.hf_network import FINE_TUNING
from edgekd.user_code import MODULE
from edgekd.wording import option

VALIDATION = 0.2
"""Share of the samples: a tenth, as in recipes, is often too few to prove a small loss."""
_FUNCTION = re.compile(r"(?:.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")
_BARE_WEIGHTS = (".pt", ".pth", ".safetensors", ".bin", ".ckpt")
_FILES = (".npz", ".npy", ".csv", ".tsv", ".jsonl", ".txt")
_MADE_UP = ("random", "noise", "synthetic", "dummy", "zeros", "ones", "none")
_BUDGET = ("max_drop", "min_snr", "min_agreement", "max_latency")


class Asked(TypedDict, total=False):
    """The flags besides model and data, and the keywords of Python; None means not given."""

    weights: str | None
    """A state_dict; without it the model is trained in the run."""
    student: str | None
    """A builder; without it the student is the teacher with the channels that matter most."""
    size: int | str | Sequence[int] | None
    """Of images, in pixels: one side, or height and width."""
    normalize: str | Sequence[float] | None
    """imagenet, 0..1, -1..1, none, or means and deviations."""
    resize: str | None
    """crop, stretch or pad."""
    tokenizer: str | None
    """Of texts: tokenizer.json, a vocabulary, or "file.py:function"."""
    max_length: int | None
    """Of texts, in tokens."""
    device: str | None
    max_latency: str | None
    """With its unit, such as '8 ms'."""
    max_drop: float | None
    """In the unit of the first metric: points of accuracy."""
    min_snr: float | None
    """In dB, against the model's own outputs; labels are not read then."""
    min_agreement: float | None
    """In percent, likewise."""
    task: str | None
    no_labels: bool | None
    """Compare with the model's own outputs."""
    epochs: int | None
    """Of every training; recovery after pruning takes half."""
    samples: int | None
    """For calibration."""
    ranges: str | None
    """How ranges of activations are made."""
    ship: str | Sequence[str] | None
    """fastest, smallest, or variants in order of preference."""
    variants: str | Sequence[str] | None
    """Files that quantize writes."""
    keep_for: str | None
    """A device that is not here, which INT8 is kept for."""
    only: str | Sequence[str] | None
    """The steps to do, out of distill, prune and quantize."""
    no_distill: bool | None
    no_prune: bool | None
    no_quantize: bool | None
    labels: Sequence[str] | None
    skip_broken: bool | None
    name: str | None
    """Of the run folder."""


def pick_asked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a command's parameters that are flags of `Asked` and were given."""
    return {
        key: value
        for key, value in parameters.items()
        if key in Asked.__annotations__ and value is not None and value is not False
    }


def make_recipe_table(*, model: str, data: str, **asked: Unpack[Asked]) -> dict[str, Any]:
    """Return the raw recipe for `model` on `data`. Paths in it are those that were given.

    Args:
        model: "path/to/file.py:function", "package.module:function", a folder of transformers
            "hf:folder", or a file "x.onnx", which can only be quantized.
        data: a path (folder, .npz, table), a known name, or "file.py:function".
        **asked: see `Asked`.

    Raises:
        RecipeError: `model` names no network, or something was asked that it cannot serve.
    """
    onnx = _is_file(model, asked)
    _check(model, data, asked)
    budget = {key: asked.get(key) for key in _BUDGET}
    table: dict[str, Any] = {
        "name": asked.get("name") or name_unlabelled(_name(model, data), asked),
        "data": _data(data, asked),
        "model": _model(model, data, asked),
        "devices": [asked.get("device") or "local"],
        "budget": {key: value for key, value in budget.items() if value is not None},
    }
    if asked.get("ship") is not None:
        table["export"] = {"ship": asked.get("ship")}
    task = choose_task(task=asked.get("task"), no_labels=asked.get("no_labels"))
    if task is not None:
        table["task"] = task
    steps = _steps(asked)
    table["steps"] = [quantize_step(asked)]
    if not onnx:
        table["steps"] = make_steps(model, steps, asked, given=_input(data, asked))
    _refuse_unread(table, asked)
    return table


def as_quick_look(table: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    """Return the table for a quick look, if that is wanted, in a run folder of its own."""
    if not quick:
        return dict(table)
    return {**table, "quick": True, "name": f"{str(table.get('name', 'run'))[:58]}-quick"}


def describe_steps(table: Mapping[str, Any], *, only: object) -> str:
    """Return a sentence: the steps that the flags stand for, and how to leave out what they add."""
    words, ways = [], []
    for step in table["steps"]:
        if step["name"] == "quantize":
            words.append("quantize to INT8")
        elif step["name"] == "prune":
            words.append(f"prune {step['ratio']:.0%} of the channels")
            ways.append(option("no_prune", True))
        elif "from" in step["student"]:
            part = "blocks" if "layers" in step["student"] else "multiplications"
            words.append(f"distill into a student with half of the model's {part}")
            ways.append(option("no_distill", True))
        else:
            words.append(f"distill into {step['student']['build']}")
    found = f"steps: {', '.join(words)}"
    if ways and only is None:
        ways.append(option("only", "quantize"))
        found += f"; to leave steps out: {' or '.join(ways)}"
    if table["data"].get("validation") != VALIDATION:
        return found
    return (
        f"{found}; {VALIDATION:.0%} of the samples are for validation (a recipe's default is "
        f"{Source.model_fields['validation'].default:.0%}, often too few to prove a small loss), "
        f"unless the data has its own split: {option('data.validation', 0.1)} takes less"
    )


def _steps(asked: Asked) -> tuple[str, ...]:
    return choose_steps(
        only=asked.get("only"),
        no_distill=bool(asked.get("no_distill")),
        no_prune=bool(asked.get("no_prune")),
        no_quantize=bool(asked.get("no_quantize")),
    )


def is_bare(model: str) -> bool:
    """Whether a model needs no training here: an ONNX file, or a folder of transformers."""
    return model.endswith(".onnx") or model.startswith(PREFIX)


def _is_file(model: str, asked: Asked) -> bool:
    """Whether it is taken as a file: an ONNX file, or transformers that are only quantized."""
    return model.endswith(".onnx") or (model.startswith(PREFIX) and _steps(asked) == ("quantize",))


def _check(model: str, data: str, asked: Asked) -> None:
    onnx = _is_file(model, asked)
    if data.lower() in _MADE_UP and not Path(data).exists():
        raise RecipeError(
            f"{option('data', data)}: made-up samples are refused; the ranges of INT8 and the "
            "judgement would be those of noise, not those of the samples that the model will meet. "
            "A hundred real inputs without labels are enough: a folder of images, an .npz or .npy "
            "of inputs, a .txt of texts, or FILE.py:FUNCTION that returns some"
        )
    if onnx:
        _check_file(model, asked)
    elif model.startswith(PREFIX):
        if _given(asked, "weights"):
            raise RecipeError(
                f"{option('model.weights', asked.get('weights'))} cannot be used with {model}, "
                "which has its weights; leave it out"
            )
    elif model.endswith(_BARE_WEIGHTS):
        raise RecipeError(refuse_weights(model))
    elif not _FUNCTION.fullmatch(model):
        raise RecipeError(
            f"{option('model', model)} is not a model; give path/to/file.py:function, "
            "package.module:function, a file that ends in .onnx, or hf:FOLDER of transformers"
        )
    student, key = asked.get("student"), "distill.student.build"
    if student is None:
        return
    if not _FUNCTION.fullmatch(student):
        raise RecipeError(
            f"{option(key, student)} is not a function; give path/to/file.py:function or "
            "package.module:function, or leave it out: then the student is cut from the model"
        )
    if "distill" not in _steps(asked):
        raise RecipeError(
            f"{option(key, student)} is the network that distill trains, and distill is left out; "
            f"leave out {option(key)}, or ask for {option('only', 'distill')}"
        )


def _check_file(model: str, asked: Asked) -> None:
    """Refuse what is for a network, where the model is only quantized."""
    keys = {
        "weights": "model.weights",
        "student": "distill.student.build",
        "epochs": "model.train.epochs",
    }
    extra = [option(path) for key, path in keys.items() if _given(asked, key)]
    if "quantize" not in _steps(asked):
        chosen = {key: dict(asked).get(key) for key in ("only", "no_quantize")}
        extra += [option(key, value) for key, value in chosen.items() if value]
    if not extra:
        return
    those = "it" if len(extra) == 1 else "them"
    if model.startswith(PREFIX):
        raise RecipeError(
            f"{' and '.join(extra)} cannot be used here: {model} is only quantized, as it is; "
            f"leave {those} out, or let a student learn from it: "
            f"{option('only', 'distill,quantize')}"
        )
    raise RecipeError(
        f"{' and '.join(extra)} cannot be used with {model}: an ONNX file cannot be trained, only "
        f"quantized; leave {those} out, or give the PyTorch model: "
        f"{option('model', 'path/to/file.py:function')}"
    )


def _refuse_unread(table: Mapping[str, Any], asked: Asked) -> None:
    """Refuse what no step of the table reads, where it would be passed over in silence."""
    steps = {step["name"] for step in table["steps"]}
    trains = "train" in table["model"] or bool(steps & {"distill", "prune"})
    unread = {} if trains else {"epochs": "model.train.epochs"}
    if "quantize" not in steps:
        keys = ("samples", "ranges", "variants", "keep_for")
        unread |= {key: f"quantize.{key}" for key in keys}
    found = [option(path) for key, path in unread.items() if _given(asked, key)]
    if found:
        done = f"the steps are {', '.join(sorted(steps))}" if steps else "there are no steps"
        raise RecipeError(
            f"nothing reads {' and '.join(found)}: {done}{'' if trains else ', and nothing trains'}"
            f"; leave {'it' if len(found) == 1 else 'them'} out, or ask for other steps: "
            f"{option('only', 'prune,quantize')}"
        )


def _given(asked: Asked, key: str) -> bool:
    return dict(asked).get(key) is not None


def _name(model: str, data: str) -> str:
    """Return a name for the run: another model or other data get another folder."""
    if model.startswith(PREFIX):  # a name of the hub keeps only its last part
        model = PurePath(model.removeprefix(PREFIX).removeprefix("cache:")).name
    where, _, function = model.rpartition(":")
    parts = [PurePath(where or model).stem, function if where else "", *_words_of(data)]
    text = "-".join(part for part in parts if part).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("._-")[:64] or "run"


def name_unlabelled(name: str, asked: Mapping[str, Any]) -> str:
    """Return a made-up name; without labels the data is other data, and the run another run."""
    return f"{name[:54]}-no-labels" if asked.get("no_labels") else name


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
    table["validation"] = 0.1 if data == "cifar10" else VALIDATION  # of 50,000 a tenth is enough
    if asked.get("size") is not None and _is_folder(data):
        table["size"] = parse_size(asked.get("size"))
    if asked.get("resize") is not None:
        table["resize"] = asked.get("resize")
    labels = asked.get("labels")
    if labels:
        table["labels"] = labels.split(",") if isinstance(labels, str) else list(labels)
    if asked.get("skip_broken"):
        table["skip_broken"] = True
    return table


def _model(model: str, data: str, asked: Asked) -> dict[str, Any]:
    given = {"input": found} if (found := _input(data, asked)) else {}
    if model.startswith(PREFIX):
        found = {"hf": model.removeprefix(PREFIX), **given}
        if _is_file(model, asked):
            return found
        return {**found, "fine_tune": "if-needed", "train": fine_tuning(asked, FINE_TUNING)}
    if model.endswith(".onnx"):
        return {"onnx": model, **given}
    weights = asked.get("weights")
    if model.startswith(f"{MODULE}:"):  # a network with the weights it has
        return {"build": model, **given}
    if weights is not None:
        return {"build": model, "weights": weights, **given}
    return {"build": model, **given, "train": training(epochs_of(asked), 1e-3)}


def _input(data: str, asked: Asked) -> dict[str, Any]:
    """Return what the flags say of a network's input."""
    found: dict[str, Any] = {}
    size, normalize = asked.get("size"), asked.get("normalize")
    if size is not None and not _is_folder(data):  # a folder is decoded to its size
        found["size"] = parse_size(size)
    if normalize is not None:
        found["mean"], found["std"] = parse_normalize(normalize)
    for key in ("tokenizer", "max_length"):
        if _given(asked, key):
            found[key] = dict(asked)[key]
    return found


def _is_folder(data: str) -> bool:
    return (
        data not in KNOWN_DATA
        and not _FUNCTION.fullmatch(data)
        and PurePath(data).suffix.lower() not in _FILES
    )
