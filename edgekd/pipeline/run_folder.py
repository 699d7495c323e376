"""The folder of a run: whose it is, and what was tried in it before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekd.data.stored_splits import write_splits
from edgekd.errors import RunFolderError, few
from edgekd.evaluation.audit import JSON as AUDIT
from edgekd.evaluation.audit import MISTAKES
from edgekd.evaluation.audit import PAGE as AUDIT_PAGE
from edgekd.evaluation.spent_time import FILE
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.live_curves import EVENTS, PAGE
from edgekd.recipe.recipe import Recipe
from edgekd.store import digest, write_atomic, write_json
from edgekd.training.losses import FOLDER as LOSSES
from edgekd.wording import option

RECORD = "run.json"
OWN = {
    "stages",
    LOSSES,
    "evidence",
    "predictions",
    "feeds",
    "bundle",
    "splits.json",
    "recipe.json",
    AUDIT,
    AUDIT_PAGE,
    MISTAKES,
    FILE,
    PAGE,
    EVENTS,
}
"""Files that a run folder without its record may contain."""


def check_owner(recipe: Recipe, folder: Path) -> None:
    """Refuse a run folder that is another recipe's, or no run folder at all.

    Raises:
        RunFolderError: it belongs to a recipe of another name, or contains other files.
    """
    path = folder / RECORD
    if not path.exists():
        found = [p.name for p in folder.glob("*") if not p.name.startswith(".")]
        others = sorted(set(found) - OWN)
        if others:
            raise RunFolderError(
                f"{folder} is not an edgekd run folder and contains other files ({few(others)}); "
                f"refusing to write there: give a new folder with {option('out')}"
            )
    else:
        owner = _read_record(path)["name"]
        if owner != recipe.name:
            raise RunFolderError(
                f"{folder} contains a run of the recipe {owner!r}, not of {recipe.name!r}; "
                f"give another folder with {option('out')}"
            )


def claim(bench: Bench, *, command: str) -> None:
    """Make the run folder this recipe's, once all is checked: a refused call leaves nothing."""
    recipe, folder = bench.recipe, bench.folder
    tried = hash_networks(bench)
    write_json(folder / RECORD, {"name": recipe.name, "command": command, "exports": tried})
    options = recipe.data.split_options(recipe.seed)
    if not recipe.quick:  # whose splits are not whole
        write_splits(folder, bench.splits, options, bench.dataset)
    write_atomic(folder / "recipe.json", recipe.model_dump_json(indent=1) + "\n")
    bench.stages.mkdir(exist_ok=True)


def hash_networks(bench: Bench) -> str | None:
    """Return a hash of all networks and their inputs: what was exported once can be exported again.

    None for a bare ONNX file: there is nothing to export.
    """
    recipe = bench.recipe
    steps = [step for step in (recipe.model, *recipe.steps) if step.makes_network]
    if not recipe.trains:
        return None
    described = [[s.model_dump(mode="json"), dict(s.content(bench.root))] for s in steps]
    return digest(described, recipe.data.model_dump(mode="json"), recipe.export.opset)


def exported_before(folder: Path) -> str | None:
    """Return the hash of the networks that were exported in a run folder; None if there is none.

    Raises:
        RunFolderError: its record is damaged.
    """
    path = folder / RECORD
    found: str | None = _read_record(path).get("exports") if path.exists() else None
    return found


def _read_record(path: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunFolderError: it is not what a run writes.
    """
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except ValueError:
        value = None
    if not isinstance(value, dict) or "name" not in value:
        raise RunFolderError(
            f"{path} is damaged or was not written by a run; give another folder with "
            f"{option('out')}"
        )
    return value
