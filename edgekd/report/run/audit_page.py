"""The page of an audit alone: one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path

from edgekd.evaluation.audit import PAGE, Audit
from edgekd.evaluation.privacy import without_paths
from edgekd.report.run import audit as view
from edgekd.report.template import embedded, environment, style
from edgekd.store import write_atomic


def page(audit: Audit, *, name: str, command: str) -> str:
    """Return the page of an audit.

    Args:
        audit: what was found.
        name: of the run.
        command: that repeats it; its paths are cut here.
    """
    return (
        environment()
        .get_template("audit_page.html.j2")
        .render(
            a=audit,
            view=view,
            name=name,
            command=without_paths(command),
            css=style("style.css", "audit.css"),
            embedded=embedded(audit.to_json()),
        )
    )


def write_page(audit: Audit, folder: Path, *, name: str, command: str) -> Path:
    """Write `audit.html` into `folder`, whole or not at all; return its path."""
    write_atomic(folder / PAGE, page(audit, name=name, command=command))
    return folder / PAGE
