"""`channels.json` of a stage: which layers kept all their channels, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edgekd.store import write_json

CHANNELS = "channels.json"


def write_left(folder: Path, left: Mapping[str, str]) -> None:
    """Write it, if there is such a layer."""
    if left:
        write_json(folder / CHANNELS, {"left": dict(left)})


def read_left(folder: Path) -> dict[str, str]:
    """Return layer -> reason; nothing where no channels were removed."""
    path = folder / CHANNELS
    if not path.exists():
        return {}
    left: dict[str, str] = json.loads(path.read_text(encoding="utf8"))["left"]
    return left
