"""`edgekd schema`: the JSON schema of recipes for editors, and a page of every option."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli.compress import compress
from edgekd.errors import RecipeError
from edgekd.store import write_atomic


def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file to write [default: print it]")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="a page of every option, to read, instead of JSON")
    ] = False,
) -> None:
    """Print the JSON schema of recipes. Editors complete and check recipes with it.

    The line `#:schema FILE` at the top of a recipe names it (Taplo, Even Better TOML).

    Example: edgekd schema --out recipe.schema.json
    """
    from edgekd.recipe.option_page import render_options
    from edgekd.recipe.recipe import build_schema

    found = build_schema()
    if markdown:
        text = render_options(found, flags=inspect.signature(compress).parameters)
    else:
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_atomic(out, text)
    except OSError as error:
        raise RecipeError(f"--out {out} cannot be written ({error.strerror})") from error
