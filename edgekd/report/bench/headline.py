"""The headline of the page of `edgekd bench`: the verdict in one sentence, and its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from edgekd.benchmarks.formatting import times
from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.stats import LEAST_FLOOR, Estimate
from edgekd.evaluation.privacy import without_paths
from edgekd.report.bench.texts import capital, cause, seconds, timed


class Piece(TypedDict, total=False):
    """A piece of the sentence at the top; `figure` is shown large, `small` beside it."""

    text: str
    figure: str
    small: str


def headline(result: BenchResult, names: Sequence[str]) -> list[Piece]:
    """Return the verdict as a sentence."""
    compared = list(zip(result.rows, names, strict=True))[1:]
    if not compared:
        return _alone(result.rows[0], names[0])
    if len(compared) == 1:
        return _verdict(*compared[0], names[0])
    faster = [pair for pair in compared if pair[0].verdict == "faster"]
    if not faster:
        return [{"text": "None of the others is proven faster than "}, {"text": f"{names[0]}."}]
    best = max(faster, key=lambda pair: pair[0].speedup.value if pair[0].speedup else 0.0)
    return _verdict(*best, names[0])


def _alone(row: Row, name: str) -> list[Piece]:
    value, _, rest = timed(row.latency_s).partition(" [")
    figure: list[Piece] = [{"figure": value, "small": f"[{rest}"}, {"text": " a call."}]
    if row.steady:
        return [{"text": f"{name} takes "}, *figure]
    word = "Throttled" if row.steadiness.throttled else "No steady state"
    return [{"figure": word}, {"text": f": {cause(row)}. {name} took about "}, *figure]


def _verdict(row: Row, name: str, reference: str) -> list[Piece]:
    if row.speedup is None or row.pair is None:
        why = f": {row.unlike}" if row.unlike else ""
        return [{"text": f"{name} was not compared{why}."}]
    value, _, rest = times(row.speedup).partition(" [")
    small = f"[{rest}" if rest else ""
    if row.verdict == "throttled":
        return [
            {"figure": "Throttled"},
            {"text": f": the processor slowed itself down, so {name} against {reference} "},
            {"text": "proves nothing. Found was "},
            {"figure": value, "small": small},
        ]
    if row.verdict == "no steady state":
        events = [without_paths(event.text) for event in row.pair.events]
        why = events[0] if events else "there were too few processes to judge"
        return [
            {"figure": "No steady state"},
            {"text": f": {name} against {reference} is not decided. {capital(why)}."},
        ]
    if row.verdict == "slower":
        one = row.speedup
        turned = Estimate(1 / one.value, 1 / one.high, 1 / one.low, one.n)
        value, _, rest = times(turned).partition(" [")
        small = f"[{rest}" if rest else ""
    if row.verdict == "no difference":
        return [
            {"figure": "No difference"},
            {"text": f" is proven between {name} and {reference}: "},
            {"figure": value, "small": small},
        ]
    return [
        {"text": f"{name} is "},
        {"figure": f"{value} {row.verdict}", "small": small},
        {"text": f" than {reference}."},
    ]


def counted(result: BenchResult) -> str:
    """Say how much was timed: files, or rows where files ran in several setups."""
    count, files = len(result.rows), len({row.file for row in result.rows})
    word = "file" if files == count else "row"
    return f"{count} {word}{'s' if count > 1 else ''}"


def below(result: BenchResult, names: Sequence[str]) -> str:
    """Return the text below the verdict: the other rows, the noise, how much was timed."""
    others = Counter(row.verdict for row in result.rows[1:])
    counted = ", ".join(f"{count} {verdict}" for verdict, count in others.items())
    several = f"Of {len(names) - 1} against {names[0]}: {counted}. " if len(names) > 2 else ""
    n = len(result.session.measurements[0].runs)
    most = " or less" if result.floor <= LEAST_FLOOR else ""
    return (
        f"{several}Brackets are 95 % intervals over {n} fresh processes per row, timed side by "
        f"side. Two timings of the same file differed by {100 * result.floor:.1f} %{most}."
    )


def banners(result: BenchResult, names: Sequence[str]) -> list[str]:
    """Return what must not be overlooked."""
    found = []
    hot = [n for row, n in zip(result.rows, names, strict=True) if row.steadiness.throttled]
    if hot:
        found.append(f"The machine throttled while it ran {', '.join(hot)}.")
    restless = [n for r, n in zip(result.rows, names, strict=True) if not r.steady and n not in hot]
    if restless:
        holds = [row.verdict for row in result.rows[1:]]
        unsure = {"no steady state", "throttled", "unlike inputs"}
        kept = holds and not unsure & set(holds)
        found.append(
            f"No steady state of {', '.join(restless)}: do not trust these absolute times."
            + (
                " Files that ran side by side changed alike, so the comparison is valid."
                if kept
                else ""
            )
        )
    if any(row.conditions.emulated for row in result.rows):
        found.append("This device is emulated: these times do not apply to a real one.")
    return found


def rate(result: BenchResult) -> str:
    """Say what a fixed rate means; "" where calls followed each other."""
    rate_hz = result.session.timing.rate_hz
    if rate_hz is None:
        return ""
    return (
        f"Fixed rate: a call every {seconds(1 / rate_hz)} ({rate_hz:g} per second), like a "
        "camera's frames. Latency counts from the intended start, so a stall counts for every "
        "call that had to wait."
    )
