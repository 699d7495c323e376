"""Where two rows of the ladder seem to contradict their ratio, and why."""

from __future__ import annotations

import math

from edgekd.artifact import FP32
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.formatting import latency_text, times
from edgekd.evaluation.record import Record

_LEAST = math.log(1.005)  # smaller differences are not seen in the figures


def explain_rows(record: Record) -> str:
    """Return why latencies of two rows point to one side and their ratio to the other, or "".

    Each stage is timed in a session of its own, beside the file before it. The row before has its
    latency from an earlier session, and between them the machine may change its speed: only the
    ratio within one session is free of that.
    """
    before: tuple[str, Estimate] | None = None
    for rung in record.rungs:
        own = [(file, findings) for file, findings, _ in rung.judged]
        for file, findings in own:
            speed, after = findings.speedup, file.latency_s
            if before is None or speed is None or after is None or findings.unusual_pair:
                continue
            ratio, rows = math.log(speed.value), math.log(before[1].value / after.value)
            if ratio * rows < 0 and min(abs(ratio), abs(rows)) > _LEAST:
                return (
                    f"In the table, {rung.title} {file.shown_label} has {_short(after)} and "
                    f"{before[0]} {_short(before[1])}, each from the session of its own stage, "
                    f"between which the machine's speed can change. Side by side in one session "
                    f"the ratio is {times(speed)}, and that decides."
                )
        if rung.kept:
            plain = next((f for f, _ in own if f.variant == FP32 and f.latency_s), None)
            if plain is not None and plain.latency_s is not None:
                before = f"{rung.title} {plain.shown_label}", plain.latency_s
    return ""


def _short(latency: Estimate) -> str:
    return latency_text(latency).partition(" [")[0]
