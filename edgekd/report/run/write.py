"""The report as files: `report.json` for programs, `report.html` for people.

The page is one file that opens without a network: a policy in its head forbids every request, and
nothing in it would make one. Equal records give equal bytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from edgekd.evaluation.formatting import change, latency_text, quality, seconds, size, times
from edgekd.evaluation.privacy import shareable
from edgekd.evaluation.record import Record, read_record, write_record
from edgekd.evaluation.results import SPLITS
from edgekd.report.charts.curves import curves_of
from edgekd.report.charts.plots import quality_against_latency
from edgekd.report.charts.ridges import latency_distributions
from edgekd.report.charts.scatter import predicted_against_true
from edgekd.report.run import (
    audit,
    examples,
    fidelity,
    headline,
    lint,
    repairs,
    sections,
    spent,
    why,
)
from edgekd.report.run.recipe_toml import toml
from edgekd.report.template import embedded, environment, style
from edgekd.store import write_atomic

PAGE = "report.html"


def write_report(record: Record, folder: Path) -> None:
    """Write `report.json` and `report.html` into `folder`, each whole or not at all."""
    write_record(record, folder)
    write_atomic(folder / PAGE, page(record))


def rebuild(folder: Path) -> Path:
    """Write `report.html` again from the `report.json` in `folder`; return its path.

    Raises:
        RunFolderError: the record is missing, damaged or of another version.
    """
    write_atomic(folder / PAGE, page(read_record(folder)))
    return folder / PAGE


def page(record: Record, *, samples: bool = True) -> str:
    """Return the whole page.

    Args:
        record: of the run; its paths are cut here.
        samples: False leaves the data's own samples out, for where its licence forbids copies.
    """
    clean = shareable(record)
    if not samples:
        clean = without_samples(clean)
    ridges = latency_distributions(clean)
    chart = quality_against_latency(clean)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            c=clean,
            samples_left_out=not samples,
            toml=toml,
            headline=headline,
            sections=sections,
            lint=lint,
            fidelity=fidelity,
            examples=examples,
            why=why,
            audit=audit,
            repairs=repairs,
            spent=spent,
            seconds=seconds,
            splits=SPLITS,
            change=change,
            latency_text=latency_text,
            quality=quality,
            size=size,
            times=times,
            chart=None if chart is None else Markup(chart),
            ridges=None if ridges is None else Markup(ridges),
            scatters=[(one, Markup(predicted_against_true(one))) for one in clean.scattered],
            curves=[
                Markup(curve)
                for rung in clean.rungs
                for curve in curves_of(rung.title, rung.losses, rung.curves)
            ],
            css=style("style.css", "audit.css"),
            embedded=embedded(clean.to_json()),
        )
    )


def without_samples(record: Record) -> Record:
    """Return the record without anything that shows a sample of the data."""
    changes, masks, retrieval = record.changes, record.masks, record.retrieval
    audit = record.audit
    doubted = replace(audit.mistakes, shown=()) if audit and audit.mistakes else None
    return replace(
        record,
        changes=changes and replace(changes, samples=()),
        scattered=(),
        audit=audit and replace(audit, mistakes=doubted),
        masks=masks and replace(masks, samples=()),
        retrieval=retrieval and replace(retrieval, shown=()),
    )
