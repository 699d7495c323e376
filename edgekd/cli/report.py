"""`edgekd report`: render the page of a run again, or show several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="folders of finished runs")],
    open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Build report.html again from the report.json of a run; nothing is measured.

    Of several runs a table shows what ships of each.

    Example: edgekd report runs/mnist

    Example: edgekd report runs/mnist runs/mnist-2
    """
    from edgekd.report.run.write import rebuild

    paths = [rebuild(run) for run in runs]
    for path in paths:
        typer.echo(str(path))
        if open_it:
            typer.launch(path.resolve().as_uri())
    if len(runs) > 1:
        from edgekd.cli.terminal import output
        from edgekd.evaluation.record import read_record
        from edgekd.report.run.several import side_by_side

        output().print(side_by_side([(run, read_record(run)) for run in runs]))
