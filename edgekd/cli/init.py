"""`edgekd init`: write a commented recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import flags
from edgekd.errors import RecipeError
from edgekd.store import write_atomic


def init(  # noqa: PLR0913  # each parameter is a flag
    model: flags.Model = None,
    data: flags.Data = None,
    weights: flags.Weights = None,
    student: flags.Student = None,
    size: flags.Size = None,
    normalize: flags.Normalize = None,
    resize: flags.Resize = None,
    tokenizer: flags.Tokenizer = None,
    max_length: flags.MaxLength = None,
    task: flags.Task = None,
    device: flags.Device = None,
    max_latency: flags.MaxLatency = None,
    max_drop: flags.MaxDrop = None,
    min_snr: flags.MinSnr = None,
    min_agreement: flags.MinAgreement = None,
    no_labels: flags.NoLabels = False,
    epochs: flags.Epochs = None,
    samples: flags.Samples = None,
    ranges: flags.Ranges = None,
    only: flags.Only = None,
    no_distill: flags.NoDistill = False,
    no_prune: flags.NoPrune = False,
    no_quantize: flags.NoQuantize = False,
    ship: flags.Ship = None,
    variants: flags.Variants = None,
    keep_for: flags.KeepFor = None,
    skip_broken: flags.SkipBroken = False,
    changes: flags.Changes = None,
    name: flags.Name = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="the recipe to write")] = Path(
        "recipe.toml"
    ),
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Write a recipe with a comment on every line, to edit and then to run.

    It does what `edgekd compress` does with the same flags. Paths in it are relative to its folder.

    Example: edgekd init --model net.py:build --weights net.pt --data photos/
    """
    from edgekd.recipe.flag_values import seen_from
    from edgekd.recipe.from_flags import make_recipe_table, pick_asked
    from edgekd.recipe.image_options import state_images
    from edgekd.recipe.overrides import changed
    from edgekd.recipe.recipe import parse_recipe
    from edgekd.recipe.toml_template import render_template

    if model is None or data is None:
        missing = flags.name_missing(model=model, data=data)
        raise RecipeError(f"{missing}; give both, as in `edgekd init --help`")
    asked = {"model": model, "data": data, **pick_asked(locals())}
    with flags.speaking_flags(init):
        _check_place(out, force)
        seen = {key: seen_from(out.parent, key, value) for key, value in asked.items()}
        table = changed(make_recipe_table(**seen), changes or ())
        recipe = parse_recipe(table, origin="the flags")
        table = state_images(table, recipe, root=out.parent)
        write_atomic(out, render_template(table, file=str(out)))
    typer.echo(f"wrote {out}; check it, then run: edgekd compress {out}")


def _check_place(out: Path, force: bool) -> None:
    if out.is_dir():
        raise RecipeError(f"--out {out} is a folder; give the name of a file in it")
    if out.exists() and not force:
        raise RecipeError(f"{out} exists already; overwrite it with --force, or give another --out")
    if not out.parent.is_dir():
        raise RecipeError(f"--out {out} cannot be written: there is no folder {out.parent}")
