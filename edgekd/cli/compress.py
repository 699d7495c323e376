"""`edgekd compress`: the main job."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def compress(
    recipe: Annotated[
        Path | None, typer.Argument(help="a recipe file, or the name of one that ships")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="run folder [default: runs/NAME]", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="change a recipe key: --set effort=0.1 --set seed=2"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the record as JSON")] = False,
) -> None:
    """Compress a trained model end to end; every stage must pay on the device or is rolled back.

    Stopped at any point, the same command goes on from there.

    Example: edgekd compress recipes/mnist.toml
    """
    from edgekd.recipe import load_recipe, recipe_root

    assert recipe is not None
    loaded = load_recipe(recipe, changes=changes or ())
    folder = out or Path("runs") / loaded.name
    run(loaded, root=recipe_root(recipe), out=folder, as_json=as_json)


def run(loaded: object, *, root: Path, out: Path, as_json: bool) -> None:
    """Run a validated recipe with progress, print the ladder, and leave with the right code."""
    from edgekd.cli.terminal import Terminal
    from edgekd.pipeline import compress as work
    from edgekd.recipe import Recipe

    assert isinstance(loaded, Recipe)
    command = shlex.join(["edgekd", *sys.argv[1:]])
    result = work(loaded, root=root, out=out, progress=Terminal(), command=command)
    if as_json:
        typer.echo(json.dumps(result.record.content))
    else:
        show(result.record.content, out)
    if result.over_budget:
        raise typer.Exit(1)


def show(content: object, out: Path) -> None:
    """Print the ladder and where things lie."""
    from collections.abc import Mapping

    from rich.console import Console

    from edgekd.report.table import ladder, outcome

    assert isinstance(content, Mapping)
    console = Console()
    console.print(ladder(content))
    for line in outcome(content):
        console.print(line, markup=False, highlight=False)
    console.print(f"bundle {out / 'bundle'}   report {out / 'report.html'}", markup=False)
