"""State in a recipe what becomes of photographs, so that it can be read and changed there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.recipe.recipe import Recipe
from edgekd.store import locate

USUAL_SIZE = 224
"""Height and width in pixels of images that differ in size, if nothing states another."""


def state_images(table: Mapping[str, Any], recipe: Recipe, *, root: Path) -> dict[str, Any]:
    """Return a raw recipe whose data is a folder of images with `size`, `resize`, `mean`, `std`.

    The size is that of the model, else that of the images, else 224. Mean and deviation that nobody
    gave are "auto". Other data is returned as it is.

    Args:
        table: raw, as `make_recipe_table` gives it.
        recipe: the same, read.
        root: relative paths start here.
    """
    from edgekd.data.images import probe_size

    folder = locate(str(recipe.data.path), root=root)
    new: dict[str, Any] = {**table}
    if recipe.data.path is None or not folder.is_dir():
        return new
    try:
        own = probe_size(folder)
    except EdgekdError:  # another kind of folder, or none of images: that is said by the run
        return new
    size = recipe.data.decode_size or _model_size(recipe, root) or own or (USUAL_SIZE,) * 2
    new["data"] = {
        **table["data"],
        "size": size[0] if size[0] == size[1] else list(size),
        "resize": recipe.data.resize,
    }
    scale = {"mean": "auto", "std": "auto"}
    new["model"] = {**table["model"], "input": {**scale, **table["model"].get("input", {})}}
    return new


def _model_size(recipe: Recipe, root: Path) -> tuple[int, int] | None:
    """Return the size that the model states, if it is there and can be read."""
    try:
        return recipe.model.input_size(root)
    except (EdgekdError, OSError):
        return None
