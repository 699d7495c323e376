"""`edgekd verify`: check that a bundle still computes its golden outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.errors import VerifyFailed
from edgekd.progress import track_share

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgekd.bundle.verify import VerifyReport


def verify(
    bundle: Annotated[Path, typer.Argument(help="bundle of a run")],
    device: Annotated[
        str, typer.Option(metavar="NAME", help="device to run its files on")
    ] = "local",
    latency: Annotated[
        bool, typer.Option("--latency", help="also measure the latency of its files again")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Check the files of a bundle, its preprocessing, and the predictions of its models.

    Example: edgekd verify runs/mnist/bundle --latency
    """
    from rich.console import Console

    from edgekd.bundle.verify import verify as work
    from edgekd.cli.terminal import Terminal

    if latency:
        with track_share(Terminal(), "verify") as share:
            report = work(bundle, device=device, latency=True, progress=share)
    else:
        report = work(bundle, device=device)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=160)  # a file or a pipe has no width to fold for
        for table in _tables(report):
            console.print(table)
    if not report.ok:
        raise VerifyFailed(
            f"the bundle {bundle} fails its checks on {report.device}: {report.faults}. "
            f"What to do: {report.advice}"
        )


def _tables(report: VerifyReport) -> list[Table]:
    """Return the checks, and the speeds if they were measured."""
    from rich.table import Table

    from edgekd.evaluation.formatting import latency_text

    checks = Table(title=plain(f"{report.bundle} on {report.device}"), title_justify="left")
    for column in ("check", "", "found"):
        checks.add_column(column, overflow="fold")
    words = {True: "ok", False: "WRONG", None: "not run"}
    for check in report.checks:
        checks.add_row(*map(plain, (check.what, words[check.ok], check.detail)))
    if not report.speeds:
        return [checks]
    speeds = Table(
        title=plain(f"then: {report.measured_on}; now: {report.device_is}"), title_justify="left"
    )
    for column in ("file", "median then", "median now", "against fp32 now"):
        speeds.add_column(column, overflow="fold")
    for speed in report.speeds:
        then, now, gain = speed.then_s, speed.now_s, speed.speedup
        speeds.add_row(
            speed.file,
            latency_text(then),
            latency_text(now),
            f"{gain.value:.2f}x [{gain.low:.2f}, {gain.high:.2f}]" if gain else "",
        )
    return [checks, speeds]


def plain(text: str) -> Text:
    """Return untrusted text of a bundle without control characters or markup."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else "?" for c in text))
