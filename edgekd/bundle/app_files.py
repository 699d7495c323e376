"""A part of a bundle's loader: what the bundle says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(name: str) -> Any:
    """Read a file of the bundle."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


HERE = Path(__file__).resolve().parent
ABOUT = read_json("preprocess.json")
MANIFEST = read_json("manifest.json")
LABELS = read_json(MANIFEST["labels"]) if MANIFEST["labels"] else None
