"""The report as files: `report.json` for programs, `report.html` for people.

The page is one file that opens without a network: a policy in its head forbids every request, and
nothing in it would make one. Equal records give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgekd.errors import RunFolderError
from edgekd.pipeline.record import Record
from edgekd.report.charts.plots import quality_against_latency
from edgekd.report.charts.ridges import latency_distributions
from edgekd.report.run import headline, sections, view
from edgekd.report.run.table import latency_text, size
from edgekd.report.template import embedded, environment, style
from edgekd.store import write_atomic, write_json

JSON = "report.json"
PAGE = "report.html"


def write_report(found: Record, folder: Path) -> None:
    """Write `report.json` and `report.html` into `folder`, each whole or not at all."""
    write_json(folder / JSON, found.content)
    write_atomic(folder / PAGE, page(found.content))


def rebuild(folder: Path) -> Path:
    """Write `report.html` anew from the `report.json` in `folder`; return its path.

    Raises:
        RunFolderError: there is no such record, or it is damaged or of another version.
    """
    path = folder / JSON
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            f"there is no {JSON} in {folder}; give the folder of a finished run, for instance "
            "runs/mnist. A run that was stopped is finished by its `edgekd compress` command"
        ) from error
    except (OSError, ValueError) as error:
        raise RunFolderError(_unreadable(path, str(error))) from error
    try:
        text = page(content)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RunFolderError(_unreadable(path, f"{type(error).__name__}: {error}")) from error
    write_atomic(folder / PAGE, text)
    return folder / PAGE


def _unreadable(path: Path, cause: str) -> str:
    return (
        f"{path} cannot be read as the record of a run ({cause}); it is damaged or of another "
        "version of edgekd. Run the same `edgekd compress` command again: finished stages are "
        "not repeated"
    )


def page(content: Mapping[str, Any], *, samples: bool = True) -> str:
    """Return the whole page.

    Args:
        content: of a Record, or the same from JSON.
        samples: False leaves the data's own samples out, for where its licence forbids copies.
    """
    clean = view.cleaned(content)
    if not samples and clean["changes"]:
        clean["changes"]["samples"] = []
    ridges = latency_distributions(clean)
    chart = quality_against_latency(clean)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            c=clean,
            samples_left_out=not samples,
            view=view,
            headline=headline,
            sections=sections,
            latency_text=latency_text,
            size=size,
            chart=None if chart is None else Markup(chart),
            ridges=None if ridges is None else Markup(ridges),
            css=style("style.css"),
            embedded=embedded(clean),
        )
    )
