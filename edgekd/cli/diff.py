"""`edgekd diff`: two bundles beside each other, for a release or a CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.errors import JobFailed
from edgekd.progress import Silent, track_share

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.bundle.diff_parts import Difference


def diff(
    old: Annotated[Path, typer.Argument(help="the bundle that is in use")],
    new: Annotated[Path, typer.Argument(help="the bundle that may replace it")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="samples with labels to judge answers on [default: the golden samples of OLD]",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK", help="of the data; reference: compare outputs [default: of OLD]"
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="device to time both on")] = "local",
    no_speed: Annotated[bool, typer.Option("--no-speed", help="do not time them")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Compare two bundles: inputs, preprocessing, answers, quality, size, speed.

    Exit code 1: the newer one is worse in something that is proven, or an app must change for it.

    Example: edgekd diff runs/mnist/bundle runs/mnist-2/bundle --data test/
    """
    from edgekd.bundle.diff import diff as work
    from edgekd.bundle.diff_parts import OnData
    from edgekd.cli.terminal import Terminal, output
    from edgekd.errors import RecipeError
    from edgekd.wording import flag

    if task is not None and data is None:
        raise RecipeError(
            f"{flag('task', task)} is of the samples that {flag('data')} names; give both"
        )
    on = None if data is None else OnData(data=data, task=task)
    listener = Silent() if no_speed else Terminal()
    with track_share(listener, "compare speed") as share:
        found = work(old, new, device=device, speed=not no_speed, on=on, progress=share)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        output().print(_table(found))
    if found.regressions:
        names = ", ".join(line.what for line in found.regressions)
        raise JobFailed(f"{new} is worse than {old}, or an app must change for it: {names}")


def _table(found: Difference) -> Table:
    from rich.table import Table

    from edgekd.cli.verify import plain

    table = Table(title=plain(f"{found.old} -> {found.new}"), title_justify="left")
    for column in ("", "old", "new", "change", ""):
        table.add_column(column, overflow="fold")
    for line in found.lines:
        verdict = "WORSE" if line.regression else ""
        table.add_row(*map(plain, (line.what, line.old, line.new, line.change, verdict)))
    return table
