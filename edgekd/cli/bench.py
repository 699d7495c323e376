"""`edgekd bench`: how fast, and is it faster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="ONNX files")],
    vs: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="compare with this file (default: the first)"),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="threads inside one inference")
    ] = 1,
    on: Annotated[str, typer.Option(metavar="DEVICE", help="where it is timed")] = "local",
    feeds: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="real inputs, calls first (default: random)"),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIMS",
            help="of a random input (pixels=1x3x224x224) or free axis (length=64)",
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(
            metavar="N", min=3, max=100, help="fresh processes per file; more narrow the interval"
        ),
    ] = 6,
    json: Annotated[
        str | None, typer.Option(metavar="-|FILE", help="all numbers, raw seconds too, as JSON")
    ] = None,
) -> None:
    """Time ONNX files side by side, and say which is faster and how sure that is.

    All are timed in one session: fresh processes, blocks of calls in random order.

    "Faster" is said only if the 95 % interval, widened by the A/A noise, lies above 1.

    Example: edgekd bench model.int8.onnx --vs model.fp32.onnx
    """
    from rich.console import Console

    from edgekd.benchmarks.bench import bench as work
    from edgekd.benchmarks.measurement import Timing
    from edgekd.cli.terminal import Terminal
    from edgekd.devices import open_device

    target = open_device(on)
    shapes = _shapes(shape or [])
    output = _free_file(json)
    done = 0.0
    with Terminal().track("bench", 1.0) as tick:

        def progress(share: float) -> None:
            nonlocal done
            tick(share - done)
            done = share

        timing = Timing(threads=threads, rounds=rounds)
        result = work(
            models,
            device=target,
            vs=vs,
            timing=timing,
            feeds=feeds,
            shapes=shapes,
            progress=progress,
        )
    if output is not None:
        from edgekd.store import write_json

        write_json(output, result.to_json())
    if json == "-":
        from json import dumps

        typer.echo(dumps(result.to_json()))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=160)  # a file or a pipe has no width to fold for
        console.print(result.table())


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Read NAME=1x3x224x224; the last = counts, names may hold others."""
    from edgekd.errors import RecipeError

    shapes = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        parts = dims.lower().replace(",", "x").split("x")
        if not (equals and name and all(part.isdecimal() and int(part) for part in parts)):
            raise RecipeError(
                f"--shape {text} is not understood; write NAME=1x3x224x224 for an input, "
                "or NAME=64 for a free axis"
            )
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def _free_file(json: str | None) -> Path | None:
    """Return the file to write, checked before the work and not after it."""
    from edgekd.errors import RecipeError

    if json is None or json == "-":
        return None
    path = Path(json)
    if path.exists():
        raise RecipeError(
            f"--json {path} exists already, and nothing is overwritten; remove it first"
        )
    if not path.parent.is_dir():
        raise RecipeError(f"--json {path} cannot be written: there is no folder {path.parent}")
    return path
