"""Which layers suffer most from INT8."""

from __future__ import annotations

from typing import Any

from edgekd.quantization.accuracy.costs import count_work
from edgekd.quantization.accuracy.escalation import Outcome, finite
from edgekd.quantization.proof import decibel


def rank_layers(outcome: Outcome) -> tuple[dict[str, Any], ...]:
    """Return a row for each layer, the one that errs most first.

    A row has the `layer`; `snr_db` of what it gives where it alone is rounded (None: no noise);
    its share of the multiplications, `work`; `in_float`; and, where that was tried, `without_db`:
    signal to noise of the worst output of the graph with this layer in float.
    """
    errors = outcome.repaired.rank()
    work = count_work(outcome.repaired)
    rows = [
        {
            "layer": name,
            "snr_db": finite(decibel(error.noise)),
            "work": round(work[name], 4),
            "in_float": name not in outcome.trial.plan.layers,
            "without_db": finite(outcome.without_db.get(name)),
        }
        for name, error in errors.items()
    ]
    rows.sort(key=lambda row: (row["snr_db"] is None, row["snr_db"] or 0.0, str(row["layer"])))
    return tuple(rows)
