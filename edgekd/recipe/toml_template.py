"""A recipe as a file for people: every line with a few words, the usual options as comments.

The words are the descriptions of the options themselves: they stand once, in the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.data.source import Source
from edgekd.distill.step import Distill, Student
from edgekd.options import Budget, Options, Training
from edgekd.prune.step import Prune
from edgekd.quantize.step import Quantize
from edgekd.recipe.recipe import ExportOptions, Measure, Recipe
from edgekd.teacher.step import OnnxTeacher, Teacher

_COLUMN = 42  # where the comments start

_USUAL: Mapping[type[Options], Mapping[str, object]] = {
    Recipe: {"seed": 0, "effort": 1.0, "task": "classification"},
    Source: {
        "validation": 0.1,
        "test": 0.1,
        "calibration": 512,
        "size": 224,
        "labels": ["cat", "dog"],
        "augment": {"flip": True, "crop": 4},
        "skip_broken": False,
    },
    Teacher: {
        "options": {"classes": 10},
        "weights": "weights.pt",
        "replace_head": False,
        "input": {"size": 224},
    },
    OnnxTeacher: {"input": {"mean": 127.5, "std": 127.5}},
    Training: {"warmup_epochs": 1.0, "clip_norm": 1.0, "precision": "auto"},
    Budget: {"max_drop": 1.0, "max_latency": "8 ms", "strict": False},
    Measure: {"threads": 1, "rounds": 6},
    ExportOptions: {"opset": 20, "fixed_shape": True},
    Distill: {"loss": {"kind": "soft-targets", "temperature": 4.0, "weight": 0.9}, "gate": True},
    Student: {"options": {"classes": 10}, "weights": "student.pt", "input": {"size": 96}},
    Prune: {"multiple": 16, "keep": ["features.0"], "gate": True},
    Quantize: {"samples": 256, "activations": "uint8", "gate": True},
}
"""What is shown as a comment where the recipe does not say it: the default, or an example."""

_WORDS = {
    (Recipe, "name"): "of the run folder: runs/NAME",
    (Recipe, "seed"): "of everything random; equal seeds give equal runs",
    (Recipe, "effort"): "0.1 is a quick try: every training runs a tenth of its epochs",
    (Source, "path"): "a folder of images, an .npz, a table of texts, MNIST or CIFAR-10 files",
    (Source, "augment"): "how training images are varied; also shift",
    (Student, "options"): "keyword arguments of that function",
    (Distill, "loss"): "weight is the teacher's share, the labels have the rest",
}
_STEPS: Mapping[str, type[Options]] = {"distill": Distill, "prune": Prune, "quantize": Quantize}
_TABLES: Mapping[str, type[Options]] = {"train": Training, "recover": Training, "student": Student}

_HEAD = """\
# A recipe of edgekd. Run it with: edgekd compress {file}
# What it would cost: edgekd compress {file} --dry-run
# Paths count from this file's folder. Lines that begin with '#' show defaults, or examples."""


@dataclass(frozen=True)
class _Section:
    header: str
    kind: type[Options]
    values: Mapping[str, Any]
    about: str = ""


def commented_recipe(table: Mapping[str, Any], *, file: str = "recipe.toml") -> str:
    """Return the TOML text of a raw recipe table; read back it gives an equal recipe.

    Args:
        table: as `quick_table` gives it; only keys that a recipe has.
        file: how the text calls itself.
    """
    blocks = [_HEAD.format(file=file)]
    for section in _sections(table):
        lines = [f"# {section.about}"] if section.about else []
        lines += [section.header] if section.header else []
        blocks.append("\n".join([*lines, *_lines(section)]))
    return "\n\n".join(blocks) + "\n"


def _sections(table: Mapping[str, Any]) -> Iterator[_Section]:
    yield _Section("", Recipe, {k: v for k, v in table.items() if not _is_table(v)})
    yield _Section("[data]", Source, table["data"], "The samples, and how they are split.")
    model = table["model"]
    kind: type[Options] = OnnxTeacher if "onnx" in model else Teacher
    yield _Section("[model]", kind, model, "The model that everything is compared with.")
    if "train" in model:
        yield _Section("[model.train]", Training, model["train"], "It is trained in the run.")
    budget = table.get("budget", {})
    yield _Section("[budget]", Budget, budget, "What may be lost, and how fast it must be.")
    measure = table.get("measure", {})
    yield _Section("[measure]", Measure, measure, "How speed is measured.")
    yield _Section("[export]", ExportOptions, table.get("export", {}), "What is written at last.")
    for step in table.get("steps", ()):
        about = (_STEPS[step["name"]].__doc__ or "").partition("\n")[0]
        yield _Section("[[steps]]", _STEPS[step["name"]], step, about)
        for key, value in step.items():
            if key in _TABLES:
                yield _Section(f"[steps.{key}]", _TABLES[key], value)


def _is_table(value: object) -> bool:
    """Whether a value of the whole recipe stands under a header of its own."""
    inner = isinstance(value, Sequence) and any(isinstance(part, Mapping) for part in value)
    return isinstance(value, Mapping) or inner


def _lines(section: _Section) -> Iterator[str]:
    own = {k: v for k, v in section.values.items() if k not in _TABLES}
    for key, value in own.items():
        yield _line("", key, value, section.kind)
    if "from" in own:
        return  # a cut student brings all the rest from the teacher
    for key, value in _USUAL[section.kind].items():
        if key not in own:
            yield _line("# ", key, value, section.kind)


def _line(mark: str, key: str, value: object, kind: type[Options]) -> str:
    text = f"{mark}{_key(key)} = {_value(value)}"
    field = next(f for n, f in kind.model_fields.items() if key in (n, f.alias))
    words = _WORDS.get((kind, key)) or field.description
    if key == "name" and kind in _STEPS.values():
        return text
    if mark and _plain(field.get_default(call_default_factory=True)) != value:
        words = f"(an example) {words}"
    return f"{text:<{_COLUMN}} # {words}"


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, Options) else value


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _value(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(part) for part in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)
