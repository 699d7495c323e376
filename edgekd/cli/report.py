"""`edgekd report`: render the page of a run again, or show several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgekd.errors import RecipeError

SEVERAL = "side-by-side.html"
"""It is made from the records again each time, as report.html is."""


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="folders of finished runs")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help=f"page of several runs [default: {SEVERAL} beside the first run]",
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Build report.html again from the report.json of a run; nothing is measured.

    Of several runs it also writes a page that shows them side by side, and prints what ships of
    each.

    Example: edgekd report runs/mnist

    Example: edgekd report runs/mnist runs/mnist-2 --out compared.html
    """
    from edgekd.cli.bench_flags import check_free_file
    from edgekd.report.run.write import rebuild

    if out is not None and len(runs) == 1:
        raise RecipeError(
            f"--out {out} is the page of several runs; of one run {runs[0]}/report.html is written"
        )
    check_free_file("--out", out)
    paths = [rebuild(run) for run in runs]
    if len(runs) > 1:
        paths.append(_write_several(runs, out or runs[0].resolve().parent / SEVERAL))
    for path in paths:
        typer.echo(str(path))
    if open_it:
        typer.launch(paths[-1].resolve().as_uri())


def _write_several(runs: Sequence[Path], path: Path) -> Path:
    from edgekd.cli.terminal import output
    from edgekd.evaluation.record import read_record
    from edgekd.report.several.page import write_several
    from edgekd.report.several.table import side_by_side

    read = [(run, read_record(run)) for run in runs]
    write_several(read, path)
    output().print(side_by_side(read))
    return path
