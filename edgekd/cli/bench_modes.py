"""The modes of `edgekd bench`: time, compare with a baseline, list, run a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgekd.errors import RecipeError
from edgekd.progress import track_share
from edgekd.store import write_atomic, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from edgekd.benchmarks.bench import Inputs
    from edgekd.benchmarks.history.guard import Guard
    from edgekd.benchmarks.measurement import Setup, Timing
    from edgekd.progress import Share


@dataclass(frozen=True)
class Out:
    """Where results go, checked before the work."""

    json: str | None
    json_file: Path | None
    html_file: Path | None
    markdown_file: Path | None
    verbose: bool = False


@dataclass(frozen=True)
class Job:
    """Files to time, and how."""

    files: Sequence[Path]
    vs: Path | None
    device: str
    setups: Sequence[Setup]
    timing: Timing
    inputs: Inputs
    profile: bool
    history: Path
    store: str | None


def time_files(job: Job, out: Out) -> None:
    """Time files in one session; show, store and plot the result."""
    from edgekd.benchmarks.bench import bench, profiles
    from edgekd.benchmarks.history.store import History
    from edgekd.benchmarks.layers.table import profile_table
    from edgekd.benchmarks.table import bench_table
    from edgekd.devices import open_device

    how = {"vs": job.vs, "setups": job.setups, "inputs": job.inputs}
    with _bar("bench") as share:
        result = bench(
            job.files,
            device=open_device(job.device),
            timing=job.timing,
            progress=share,
            **how,  # type: ignore[arg-type]
        )
    found = list(profiles(job.files, **how)) if job.profile else []  # type: ignore[arg-type]
    content = result.to_json()
    if found:
        content["profiles"] = [
            {"label": label, "profile": nodes.to_json(), "roofline": limits.to_json()}
            for label, nodes, limits in found
        ]
    if job.store is not None:
        History(job.history).store(result, name=job.store)
    if out.html_file is not None:
        from edgekd.report.bench.page import write_bench

        write_bench(result, out.html_file, profiles=found)
    tables = [
        bench_table(result, verbose=out.verbose),
        *(_titled(label, profile_table(n, r)) for label, n, r in found),
    ]
    _show(content, tables, out)


def time_against(job: Job, name: str, out: Out, *, guard: Guard) -> None:
    """Time the stored files again beside the new ones.

    Raises:
        WorseThanBaseline: one is proven to be worse.
        CouldNotTell: nothing is proven.
    """
    from edgekd.benchmarks.history.baseline import against
    from edgekd.benchmarks.history.store import History
    from edgekd.benchmarks.history.table import baseline_table
    from edgekd.devices import open_device

    if job.vs is not None:
        raise RecipeError("got --vs and --baseline; give only one of them")
    if job.store is not None:
        raise RecipeError("got --store and --baseline; store the files after they have passed")
    history = History(job.history)
    with _bar("bench") as share:
        result = against(
            history,
            name,
            job.files,
            device=open_device(job.device),
            setups=job.setups,
            timing=job.timing,
            inputs=job.inputs,
            guard=guard,
            progress=share,
        )
    if out.html_file is not None:
        from edgekd.report.bench.many import write_baseline

        write_baseline(result, out.html_file)
    _show(result.to_json(), [baseline_table(result, verbose=out.verbose)], out)
    result.check()


def show_history(path: Path, name: str | None, out: Out) -> None:
    """Show what is kept; one name over time."""
    from edgekd.benchmarks.history.store import History
    from edgekd.benchmarks.history.table import list_table, trend_table

    entries = History(path).entries(name)
    rows = [
        {
            "name": entry.name,
            "stored_at": entry.stored_at.isoformat(),
            "rows": [
                {"label": row.label, "latency_s": row.latency_s.value, "steady": row.steady}
                for row in entry.rows
            ],
        }
        for entry in entries
    ]
    table = list_table(entries) if name is None else trend_table(entries)
    _show({"entries": rows}, [table], out)


def show_trtexec(profile: Path, layers: Path | None, out: Out) -> None:
    """Show a layer profile that trtexec wrote."""
    from edgekd.benchmarks.layers.table import profile_table
    from edgekd.benchmarks.layers.trtexec import read_profile

    found = read_profile(profile, layers=layers)
    _show(found.to_json(), [profile_table(found)], out)


def run_suite(name: str, device: str | None, out: Out) -> None:
    """Time the models of a suite; show one table per model.

    Raises:
        MeasureError: some of the models could not be timed; the others are shown all the same.
    """
    from edgekd.benchmarks.suites.run import run_suite as timed
    from edgekd.benchmarks.suites.suite import load_suite
    from edgekd.devices import open_device

    suite = load_suite(name)
    with _bar(suite.title) as share:
        result = timed(suite, device=open_device(device or suite.device), progress=share)
    if out.markdown_file is not None:
        write_atomic(out.markdown_file, f"{result.markdown()}\n".encode())
    if out.html_file is not None:
        from edgekd.report.bench.many import write_suite

        write_suite(result, out.html_file)
    _show(result.to_json(), result.tables(), out)
    result.check()


def _bar(title: str) -> AbstractContextManager[Share]:
    from edgekd.cli.terminal import Terminal

    return track_share(Terminal(), title)


def _titled(title: str, table: Table) -> Table:
    table.title, table.title_justify = title.replace("[", "\\["), "left"
    return table


def _show(content: Mapping[str, Any], tables: Sequence[RenderableType], out: Out) -> None:
    """Write and print the result as JSON, or print tables for people."""
    from rich.console import Console

    if out.json_file is not None:
        write_json(out.json_file, content)
    if out.json == "-":
        typer.echo(dumps(content))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width to fold for
    for table in tables:
        console.print(table)
