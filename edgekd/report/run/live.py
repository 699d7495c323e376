"""The page that shows trainings while they go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from edgekd.report.charts.curves import curves_of
from edgekd.report.template import environment, style

LOSS = "loss"


def live_page(
    name: str,
    stages: Mapping[str, Mapping[str, Sequence[float | None]]],
    *,
    is_running: bool,
) -> str:
    """Return the page of a run: one file without requests, which loads itself again meanwhile.

    Args:
        name: of the recipe.
        stages: title -> curves by name, one value for each epoch.
        is_running: whether more epochs will come.
    """
    drawn = {}
    for title, curves in stages.items():
        others = {key: values for key, values in curves.items() if key != LOSS}
        charts = curves_of(title, curves.get(LOSS, ()), others)
        drawn[title] = ([Markup(chart) for chart in charts], max(map(len, curves.values())))
    template = environment().get_template("live.html.j2")
    return template.render(name=name, stages=drawn, is_running=is_running, css=style("style.css"))
