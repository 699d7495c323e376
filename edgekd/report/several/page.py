"""The page of several runs side by side: one HTML file that opens without a network.

Every run was timed in a session of its own, so the page sets times beside each other, with their
intervals, and gives no speed-up between runs. Runs of other machines or samples get charts of their
own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgekd.evaluation.privacy import shareable
from edgekd.evaluation.record import QUICK_REMARK, Record
from edgekd.report.run import sections
from edgekd.report.run.write import PAGE, without_samples
from edgekd.report.several.chart import colour, kept_files
from edgekd.report.several.settings import differing_machines, differing_options, timing_setup
from edgekd.report.several.table import TITLES, cells
from edgekd.report.template import embedded, environment, style
from edgekd.store import write_atomic

Runs = Sequence[tuple[Path, Record]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A run as the template shows it."""

    name: str
    colour: str
    record: Record
    link: str
    """Its own page, from this one; "" where it is not below the folder of this one."""
    folder: str
    """From the folder that all runs lie in."""


@dataclass(frozen=True)
class Group:
    """Runs that may share the axes of a chart."""

    runs: tuple[Shown, ...]
    where: str
    chart: Markup | None
    why: str
    """There is no chart; "" where there is one."""


def write_several(runs: Runs, path: Path) -> None:
    """Write the page of several runs, whole or not at all.

    Args:
        runs: folder and record of each.
        path: of the page; what was there is replaced.
    """
    write_atomic(path, page(runs, folder=path.parent))


def page(runs: Runs, *, folder: Path) -> str:
    """Return the page as it stands in `folder`."""
    folders = [where.resolve() for where, _ in runs]
    names = short_names(folders)
    common = Path(os.path.commonpath([where.parent for where in folders]))
    shown = [
        Shown(
            name=name,
            colour=colour(i),
            record=shareable(record),
            link=_link(where, folder),
            folder=name if common == Path(common.anchor) else str(where.relative_to(common)),
        )
        for i, (name, where, (_, record)) in enumerate(zip(names, folders, runs, strict=True))
    ]
    records = [one.record for one in shown]
    return (
        environment()
        .get_template("several.html.j2")
        .render(
            runs=shown,
            titles=TITLES,
            cells=cells,
            rows=sections.rows,
            quick=[one.name for one in shown if one.record.quick],
            quick_remark=QUICK_REMARK,
            remarks=remarks(records),
            command=bench_command(shown),
            groups=_groups(shown),
            options=differing_options(records),
            machines=differing_machines(records),
            css=style("style.css", "several.css"),
            embedded=embedded(
                [
                    {"run": one.name, "record": without_samples(one.record).to_json()}
                    for one in shown
                ]
            ),
        )
    )


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of each path, as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return ["/".join(part) for part in parts]


def remarks(records: Sequence[Record]) -> list[str]:
    """Return what may be compared between these runs, and what may not."""
    found = []
    if len({_machine(record) for record in records}) > 1:
        found.append(
            "The runs were timed on different machines or setups, which are listed below. Their "
            "times say nothing about each other."
        )
    else:
        found.append(
            "All runs were timed on the same machine in the same setup, but each in a session of "
            "its own: their times differ by several per cent even if nothing changed."
        )
    found.append(
        "A speed-up is given only against the teacher of the same run, which was timed in the same "
        "session. No speed-up between runs is given."
    )
    if len({_samples(record) for record in records}) > 1:
        found.append(
            "The runs have other data, other splits, another metric or another extent (a quick "
            "look), so their qualities are not of the same samples."
        )
    else:
        found.append(
            "Quality is of the same samples in all runs. The intervals are of each run alone: a "
            "difference between two runs is not paired by sample, so a small one proves nothing."
        )
    return found


def bench_command(runs: Sequence[Shown]) -> str:
    """Return the command that times what ships of the runs in one session.

    "" where there are not two bundles, or they are of other data.
    """
    bundled = [one for one in runs if not one.record.quick]
    if len(bundled) < 2 or len({one.record.data.fingerprint for one in bundled}) > 1:
        return ""
    files = [
        shlex.quote(f"{one.folder}/bundle/model.{one.record.ships.variant}.onnx") for one in bundled
    ]
    return f"edgekd bench {' '.join(files[1:])} --vs {files[0]}"


def _machine(record: Record) -> tuple[Any, ...]:
    return tuple(timing_setup(record).values())


def _samples(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for qualities to be of the same samples."""
    data, recipe = record.data, record.recipe
    splits = tuple(sorted(data.splits.items()))
    metric = (record.metric.title, record.is_against_teacher)
    return (metric, data.fingerprint, splits, recipe.get("seed"), record.quick)


def _groups(runs: Sequence[Shown]) -> list[Group]:
    keys = dict.fromkeys((_machine(r.record), _samples(r.record)) for r in runs)
    found = []
    for key in keys:
        own = {i: r for i, r in enumerate(runs) if (_machine(r.record), _samples(r.record)) == key}
        chart = kept_files({i: (r.name, r.record) for i, r in own.items()})
        marked = None if chart is None else Markup(chart)
        first = next(iter(own.values())).record
        why = "" if chart else _why_not(first)
        found.append(Group(tuple(own.values()), _where(first), marked, why))
    return found


def _why_not(record: Record) -> str:
    """Return why runs like this one have no chart."""
    if record.ships.latency_s is None:
        return "Speed was not measured, so there is no chart."
    return (
        "Only the model itself was kept. Quality is the closeness to its own outputs, so there is "
        "no chart."
    )


def _where(record: Record) -> str:
    on = record.final.conditions
    threads = f"{on.threads} thread{'s' * (on.threads > 1)}"
    return f"{on.device}: {on.cpu}, {on.runtime}, {threads}"


def _link(run: Path, folder: Path) -> str:
    try:
        return (run.resolve() / PAGE).relative_to(folder.resolve()).as_posix()
    except ValueError:
        return ""
