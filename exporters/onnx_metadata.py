"""Metadata of a foreign ONNX file: what an app may read is carried along, what identifies is not.

Class names, stride, task and licence are in `metadata_props` of the model. An entry that contains
a path, a source file or the name of the user here is left out, as are descriptions, notes of tools
and training information.
"""

from __future__ import annotations

import ast
import getpass
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto

from edgekd.exporters.onnx_files import messages, traces

_ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:[\w.@+-]+/){2,}[\w.@+-]+")  # not the end of an address
_LEAST_LETTERS = 5
_OF_TOOLS = "onnx."
"""Keys such as onnx.infer, with which tools of ONNX Runtime talk to each other."""
LICENCE = ("license", "licence")


_CLASSES = ("names", "classes", "class_names", "labels", "id2label")
"""Metadata that names the classes."""


def user_name() -> str:
    """Return the user name here, or "" if it is missing or too short to identify a person."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this uid, as in many containers
        return ""
    return user if len(user) >= _LEAST_LETTERS else ""


def split_metadata(model: ModelProto) -> tuple[dict[str, str], dict[str, str]]:
    """Return the entries that are carried along, and those that are not, each with the reason."""
    carried: dict[str, str] = {}
    refused: dict[str, str] = {}
    for entry in model.metadata_props:
        if entry.key.startswith(_OF_TOOLS):
            refused[entry.key] = "a tool's note"
            continue
        found = _ABSOLUTE.findall(entry.value)
        found += traces(f"{entry.key}\n{entry.value}".encode(), [user_name()])
        if found:
            refused[entry.key] = f"contains {found[0]!r}"
        else:
            carried[entry.key] = entry.value
    return carried, refused


def licence(metadata: Mapping[str, str]) -> str | None:
    """Return the licence that the metadata states."""
    return next((value for key, value in metadata.items() if key.lower() in LICENCE), None)


def list_left_out(model: ModelProto) -> list[str]:
    """Return in words what of a foreign file does not ship.

    Its producer's name and version become edgekd's, which needs no word: they name a program.
    """
    return list(_left_out(model))


def _left_out(model: ModelProto) -> Iterator[str]:
    for key, reason in split_metadata(model)[1].items():
        yield f"metadata {key!r} ({reason})"
    if model.domain or model.model_version:
        yield "the model's domain and version"
    texts = [m for m in messages(model, onnx.GraphProto) if m.doc_string]
    if model.doc_string or texts or any(n.doc_string for n in messages(model, onnx.NodeProto)):
        yield "descriptions (doc strings)"
    if any(node.metadata_props for node in messages(model, onnx.NodeProto)):
        yield "notes of the exporter at the nodes"
    if model.training_info:
        yield "training information"


def stated_scale(
    metadata: Mapping[str, str],
) -> tuple[tuple[float, ...] | float, tuple[float, ...] | float, str] | None:
    """Return mean and deviation in pixel units 0..255 that metadata states, and where it does.

    Entries `mean` and `std` are read as lists of numbers, of pixels in 0..1 if no deviation is
    above 1. Files of Ultralytics (`stride`, `names`, `imgsz`) take pixels / 255.
    """
    lower = {key.lower(): value for key, value in metadata.items()}
    mean, std = (_numbers(lower.get(key, "")) for key in ("mean", "std"))
    if mean and len(mean) == len(std) and min(std) > 0:
        scale = 255.0 if max(std) <= 1 else 1.0
        values = (tuple(scale * v for v in mean), tuple(scale * v for v in std))
        one = (values[0][0], values[1][0]) if len(mean) == 1 else values
        return (*one, "pixels are scaled as mean and std of the file's metadata state")
    if {"stride", "names", "imgsz"} <= lower.keys():
        return 0.0, 255.0, "pixels are scaled to 0..1: by its metadata Ultralytics made the file"
    return None


def stated_colours(metadata: Mapping[str, str]) -> Literal["rgb", "bgr"] | None:
    """Return the order of the colour channels that metadata states."""
    lower = {key.lower(): value.strip().lower() for key, value in metadata.items()}
    found = lower.get("colours")
    return "rgb" if found == "rgb" else "bgr" if found == "bgr" else None


def state_pixels(
    model: ModelProto,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    colours: str,
    layout: str,
    resize: str,
) -> None:
    """Write how pixels are scaled, as `stated_scale` and `stated_colours` read it.

    `mean` and `std` are in pixel units 0..255. What the file states already and agrees stays.
    """
    kept = {entry.key: entry.value for entry in model.metadata_props}
    stated = stated_scale(kept)
    alike = stated is not None and (
        np.allclose(stated[0], mean, rtol=1e-6) and np.allclose(stated[1], std, rtol=1e-6)
    )
    unit = 255.0 if max(std) <= 1 else 1.0  # as read: up to 1 means pixels of 0..1
    entries = {"colours": colours, "layout": layout, "resize": resize}
    if not alike:
        entries["mean"], entries["std"] = (
            json.dumps([value / unit for value in values]) for values in (mean, std)
        )
    for key in [key for key in kept if key.lower() in entries]:
        del kept[key]
    onnx.helper.set_model_props(model, {**kept, **entries})


def stated_classes(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the classes that metadata states, in their order; () without any.

    Read are lists and tables of numbers to names, as Python or JSON writes them, and names between
    commas or in lines.
    """
    lower = {key.lower(): value for key, value in metadata.items()}
    text = next((lower[key] for key in _CLASSES if key in lower), "").strip()
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = text.splitlines() if "\n" in text else text.split(",")
    if isinstance(found, Mapping):
        keys = [str(key) for key in found]
        if sorted(keys) != sorted(map(str, range(len(keys)))):
            return ()
        found = [value for _, value in sorted(found.items(), key=lambda item: int(item[0]))]
    if not isinstance(found, (list, tuple)):
        return ()
    names = tuple(str(name).strip() for name in found)
    return names if len(set(names)) == len(names) > 1 and all(names) else ()


def _numbers(text: str) -> list[float]:
    found = re.findall(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", text)
    return [float(number) for number in found] if len(found) in (1, 3) else []
