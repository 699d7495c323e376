"""`edgekd schema`: the JSON schema of recipes, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgekd.errors import RecipeError
from edgekd.store import write_atomic


def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file to write [default: print it]")
    ] = None,
) -> None:
    """Print the JSON schema of recipes. Editors complete and check recipes with it.

    The line `#:schema FILE` at the top of a recipe names it (Taplo, Even Better TOML).

    Example: edgekd schema --out recipe.schema.json
    """
    from edgekd.recipe.recipe import build_schema

    text = json.dumps(build_schema(), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_atomic(out, text)
    except OSError as error:
        raise RecipeError(f"--out {out} cannot be written ({error.strerror})") from error
