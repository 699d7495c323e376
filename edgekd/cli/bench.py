"""`edgekd bench`: how fast, and is it faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.benchmarks.bench import Inputs
    from edgekd.benchmarks.measurement import Setup, Timing


def bench(  # noqa: PLR0913  every option of the command is a parameter of this function
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL", help="ONNX files; .pt2 programs")
    ] = None,
    vs: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="compare with this file (default: the first)"),
    ] = None,
    on: Annotated[str, typer.Option(metavar="DEVICE", help="where it is timed")] = "local",
    threads: Annotated[
        str,
        typer.Option(metavar="N,N", help="threads inside one inference"),
    ] = "1",
    runtime: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="onnxruntime, openvino, tensorrt, torch, torch-compiled"
        ),
    ] = "",
    provider: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="execution providers of ONNX Runtime: cpu, cuda, coreml, xnnpack, ...",
        ),
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="of the runtime's session"),
    ] = None,
    streams: Annotated[
        str,
        typer.Option(metavar="N,N", help="inferences at the same time"),
    ] = "1",
    batch: Annotated[
        str,
        typer.Option(metavar="N,N", help="samples in one call"),
    ] = "1",
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
    end_to_end: Annotated[
        bool,
        typer.Option("--end-to-end", help="also time the copies in and out apart"),
    ] = False,
    pipeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py",
            help="your inputs(), preprocess(raw), postprocess(outputs): timed end to end",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ", min=0.01, help="a call on this schedule, like a camera's frames"
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(metavar="SHARE", help="stop when every interval is as narrow as +- this"),
    ] = "2%",
    time: Annotated[
        str,
        typer.Option(metavar="TIME", help="or when this is up"),
    ] = "30s",
    rounds: Annotated[
        int,
        typer.Option(metavar="N", min=3, max=100, help="fresh processes per file, at least"),
    ] = 6,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="also show where the time goes, and how far from this machine's limits it is",
        ),
    ] = False,
    trt_profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="show a layer profile that trtexec --exportProfile wrote; times nothing",
        ),
    ] = None,
    trt_layers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="what --exportLayerInfo wrote beside it"),
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="-|FILE", help="all numbers, raw seconds too, as JSON")
    ] = None,
) -> None:
    """Time models side by side, and say which is faster and how sure that is.

    All are timed in one session: fresh processes, blocks of calls in random order.

    "Faster" is said only if the 95 % interval, widened by the A/A noise, lies above 1.

    Example: edgekd bench model.int8.onnx --vs model.fp32.onnx

    Example: edgekd bench model.onnx --threads 1,2,4 --runtime onnxruntime,openvino
    """
    from edgekd.cli.terminal import Terminal

    if trt_profile is not None:
        _show_trtexec(trt_profile, trt_layers, json)
        return
    timing = _timing(rate, precision, time, rounds, end_to_end or pipeline is not None)
    setups = _setups(runtime, provider, threads, streams, option or [])
    inputs = _inputs(feeds, shape or [], batch, pipeline)
    output = free_file("--json", json)
    from edgekd.benchmarks.bench import bench as work
    from edgekd.benchmarks.bench import profiles
    from edgekd.benchmarks.layers.table import profile_table
    from edgekd.devices import open_device

    files = models or []

    with Terminal().track("bench", 1.0) as tick:
        result = work(
            files,
            device=open_device(on),
            vs=vs,
            setups=setups,
            timing=timing,
            inputs=inputs,
            progress=Share(tick),
        )
    found = list(profiles(files, vs=vs, setups=setups, inputs=inputs)) if profile else []
    content = result.to_json()
    if found:
        content["profiles"] = [
            {"label": label, "profile": nodes.to_json(), "roofline": limits.to_json()}
            for label, nodes, limits in found
        ]
    tables = [result.table(), *(_titled(label, profile_table(n, r)) for label, n, r in found)]
    show(content, tables, json, output)


def _show_trtexec(profile: Path, layers: Path | None, json: str | None) -> None:
    from edgekd.benchmarks.layers.table import profile_table
    from edgekd.benchmarks.layers.trtexec import read_profile

    output = free_file("--json", json)
    found = read_profile(profile, layers=layers)
    show(found.to_json(), [profile_table(found)], json, output)


def _titled(title: str, table: Table) -> Table:
    table.title, table.title_justify = title.replace("[", "\\["), "left"
    return table


def show(
    content: Mapping[str, Any], tables: Sequence[Table], json: str | None, output: Path | None
) -> None:
    """Write the JSON where it was asked for, and the tables where people look."""
    from rich.console import Console

    from edgekd.store import write_json

    if output is not None:
        write_json(output, content)
    if json == "-":
        from json import dumps

        typer.echo(dumps(content))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width to fold for
    for table in tables:
        console.print(table)


class Share:
    """Turns the share that is done into steps of a progress bar."""

    def __init__(self, tick: object) -> None:
        """Take the bar's function."""
        self._tick, self._done = tick, 0.0

    def __call__(self, share: float) -> None:
        """Advance to `share`."""
        self._tick(share - self._done)  # type: ignore[operator]
        self._done = share


def _timing(rate: float | None, precision: str, time: str, rounds: int, parts: bool) -> Timing:
    from dataclasses import replace

    from edgekd.benchmarks.measurement import Timing

    timing = Timing(
        rounds=rounds,
        time_limit_s=_positive("--time", time, {"s": 1.0, "ms": 1e-3, "min": 60.0, "": 1.0}),
        precision=_positive("--precision", precision, {"%": 0.01, "": 1.0}),
        parts=parts,
    )
    if rate is None:
        return timing
    return replace(timing, rate_hz=rate, blocks=4, block_s=max(0.5, 20 / rate))


def _positive(option: str, text: str, units: dict[str, float]) -> float:
    """Read a positive number with one of the units."""
    import re

    from edgekd.errors import RecipeError

    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z%]*)\s*", text.lower())
    if match is None or match[2] not in units or not float(match[1]):
        known = ", ".join(f"2{unit}" for unit in units if unit)
        raise RecipeError(f"{option} {text} is not understood; write a number such as {known}")
    return float(match[1]) * units[match[2]]


def _setups(
    runtime: str, provider: str, threads: str, streams: str, options: list[str]
) -> list[Setup]:
    from itertools import product

    from edgekd.benchmarks.measurement import Setup
    from edgekd.benchmarks.runtimes.providers import provider_name
    from edgekd.errors import RecipeError

    pairs = []
    for text in options:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise RecipeError(f"--option {text} is not understood; write KEY=VALUE")
        pairs.append((key, value))
    axes = [
        _words(runtime) or ["onnxruntime"],
        _words(provider) or [""],
        _counts("--threads", threads),
        _counts("--streams", streams),
    ]
    return [
        Setup(name, provider_name(name, place), int(inner), int(outer), tuple(pairs))
        for name, place, inner, outer in product(*axes)
    ]


def _inputs(feeds: Path | None, shape: list[str], batch: str, pipeline: Path | None) -> Inputs:
    from edgekd.benchmarks.bench import Inputs
    from edgekd.errors import RecipeError

    if pipeline is not None and not pipeline.is_file():
        raise RecipeError(f"--pipeline {pipeline} does not exist; give a Python file")
    batches = tuple(int(count) for count in _counts("--batch", batch))
    return Inputs(feeds, _shapes(shape), batches, pipeline)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _counts(option: str, text: str) -> list[str]:
    """Read 1,2,4; every number is at least 1 and at most 256."""
    from edgekd.errors import RecipeError

    words = _words(text)
    if not words or not all(word.isdecimal() and 1 <= int(word) <= 256 for word in words):
        raise RecipeError(
            f"{option} {text} is not understood; write whole numbers from 1 to 256, such as 1,2,4"
        )
    return list(dict.fromkeys(words))


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


def free_file(option: str, wanted: str | Path | None) -> Path | None:
    """Return the file to write, checked before the work and not after it."""
    from edgekd.errors import RecipeError

    if wanted is None or str(wanted) == "-":
        return None
    path = Path(wanted)
    if path.exists():
        raise RecipeError(
            f"{option} {path} exists already, and nothing is overwritten; remove it first"
        )
    if not path.parent.is_dir():
        raise RecipeError(f"{option} {path} cannot be written: there is no folder {path.parent}")
    return path
