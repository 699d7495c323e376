"""Find the image size that a network or its weights state: what libraries and checkpoints write."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn

from edgekd.errors import ModelError, require
from edgekd.networks.weights import read_torch

_SIZES = ("input_size", "image_size", "img_size", "imgsz", "crop_size", "resolution")
_CONFIGS = ("pretrained_cfg", "default_cfg", "config", "cfg", "hyper_parameters", "hparams", "meta")
_LEAST, _MOST = 8, 8192


def find_size(network: nn.Module, weights: Path | None) -> tuple[int, int] | None:
    """Return (height, width) in pixels, from the weights file or the network; None: not stated.

    In a file these are metadata (.safetensors) or plain values beside the state_dict (.pt); of a
    network its attributes: `input_size` (also with channels first), `image_size`, `img_size`, or
    those of its `pretrained_cfg` or `config`.
    """
    places: list[object] = [*([] if weights is None else [_read_metadata(weights)]), network]
    for place in places:
        for table in (place, *(_get(place, name) for name in _CONFIGS)):
            for name in _SIZES:
                size = _as_size(_get(table, name))
                if size is not None:
                    return size
    return None


def _get(place: object, name: str) -> object:
    if isinstance(place, Mapping):
        return place.get(name)
    found = getattr(place, name, None)
    return None if callable(found) and not isinstance(found, Mapping) else found


def _as_size(value: object) -> tuple[int, int] | None:
    numbers = list(_integers(value))
    if len(numbers) == 3 and numbers[0] in (1, 3, 4):
        numbers = numbers[1:]
    if len(numbers) not in (1, 2) or not all(_LEAST <= number <= _MOST for number in numbers):
        return None
    return numbers[0], numbers[-1]


def _integers(value: object) -> Iterator[int]:
    if isinstance(value, str):
        yield from (int(text) for text in re.findall(r"\d+", value)[:4])
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value[:4]:
            yield from _integers(part)


def _read_metadata(path: Path) -> object:
    if path.suffix != ".safetensors":
        try:
            return read_torch(path)
        except ModelError:  # that it cannot be read is said where it is loaded
            return None
    opened = require("safetensors", extra="train").safe_open
    try:
        with opened(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
    except Exception:  # noqa: BLE001  # likewise
        return None
    for name in _CONFIGS:  # tables are stored as JSON texts
        if isinstance(metadata.get(name), str) and metadata[name].startswith("{"):
            with contextlib.suppress(ValueError):
                metadata[name] = json.loads(metadata[name])
    return metadata
