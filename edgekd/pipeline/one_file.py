"""A run of which one file is kept: `--out NAME.onnx`."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from edgekd.errors import RecipeError
from edgekd.pipeline.compress import Result, compress
from edgekd.progress import Progress
from edgekd.recipe.recipe import Recipe
from edgekd.store import sync
from edgekd.wording import option


def refuse_quick_file(recipe: Recipe, target: Path) -> None:
    """Refuse a quick look of which one file shall be kept.

    Raises:
        RecipeError: that is asked for.
    """
    if recipe.quick and target.suffix == ".onnx":
        raise RecipeError(
            f"a quick look decides nothing and writes no {target.name}; leave out "
            f"{option('quick', True)}, or give a folder for its report with {option('out')}"
        )


def write_file(
    recipe: Recipe,
    target: Path,
    *,
    root: Path,
    progress: Progress | None = None,
    command: str = "",
) -> Result:
    """Run `recipe` in a temporary folder and write the file that ships.

    Where the model itself ships, its report is written in place of a file. Stopped, it starts
    anew. The run folder of the result is gone; its record has every number.

    Raises:
        RecipeError: `target` exists already, or has no folder to lie in.
        BadInput: see `compress`.
        JobFailed: see `compress`.
    """
    if target.exists():
        raise RecipeError(
            f"{option('out')} {target} exists already; remove it, or give another name"
        )
    if not target.absolute().parent.is_dir():
        raise RecipeError(
            f"{option('out')} {target} cannot be written: there is no folder {target.parent}; "
            "make it first"
        )
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        folder = Path(scratch) / "run"
        result = compress(recipe, root=root, out=folder, progress=progress, command=command)
        return copy_shipped(result, target)


def copy_shipped(result: Result, target: Path) -> Result:
    """Copy the file that ships out of a finished run, or its report if it is the model itself."""
    one_file = replace(result, folder=target.parent, one_file=True)
    if result.record.teacher_ships:  # what was measured is not lost: it says why
        why = target.with_suffix(".report.html")
        _copy(result.report, why)
        return replace(one_file, why=why)
    _copy(result.bundle / f"model.{result.record.ships.variant}.onnx", target)
    return replace(one_file, file=target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, partial)
    sync(partial)
    partial.replace(target)
