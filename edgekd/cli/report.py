"""`edgekd report`: render the page of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run")],
    open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Build report.html again from the report.json of a run; nothing is measured.

    Example: edgekd report runs/mnist
    """
    from edgekd.report.run.write import rebuild

    path = rebuild(run)
    typer.echo(str(path))
    if open_it:
        typer.launch(path.resolve().as_uri())
