"""The top of the page: what was achieved in one sentence, and what must not be overlooked.

Figures carry their 95 % interval, and no more digits than it deserves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgekd.report.run.table import interval, latency_text, seconds, size

NOT_MEASURED = "not measured"


def decimals(width: float) -> int:
    """Return how many decimals an interval of this width deserves: 1 to 4."""
    return 1 if width <= 0 else min(4, max(1, -math.floor(math.log10(width))))


def quality(estimate: Mapping[str, Any]) -> str:
    """Return a metric with its interval."""
    digits = decimals(estimate["high"] - estimate["low"])
    return interval(estimate, of=f"{{:.{digits}f}}".format)


def change(estimate: Mapping[str, Any]) -> str:
    """Return a gain with its sign and its interval; negative is a loss."""
    digits = max(2, decimals(estimate["high"] - estimate["low"]))
    return interval(estimate, of=f"{{:+.{digits}f}}".format)


def times(estimate: Mapping[str, Any] | None) -> str:
    """Return a speed-up with its interval; equal by definition has none."""
    if estimate is None:
        return NOT_MEASURED
    value, low, high = (f"{estimate[k]:.2f}" for k in ("value", "low", "high"))
    return f"{value}x" if low == high else f"{value}x [{low}, {high}]"


def ratio(value: float) -> str:
    """Return a ratio of sizes, no more digits than one takes in."""
    return f"{value:.0f}x" if value >= 10 else f"{value:.1f}x" if value >= 1.05 else f"{value:.2f}x"


def points_word(metric: Mapping[str, Any], count: float = 0) -> str:
    """Return what so great a difference of this metric is counted in."""
    if metric["is_percentage"]:
        return "point" if count == 1 else "points"
    return str(metric["unit"] or metric["name"])


def metric_title(metric: Mapping[str, Any]) -> str:
    """Return a metric with its unit."""
    return f"{metric['name']}, {metric['unit']}" if metric["unit"] else str(metric["name"])


def tested(content: Mapping[str, Any], title: str, label: str) -> Mapping[str, Any] | None:
    """Return one file on the test split."""
    files = content["test"]["files"]
    return next((t for t in files if (t["title"], t["label"]) == (title, label)), None)


def headline(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the sentence at the top in pieces; a piece with `figure` is shown large."""
    final, shipped = content["final"], content["shipped"]
    if shipped["title"] == content["rungs"][0]["title"]:
        return [{"text": _nothing_paid(content)}]
    base, ships = final["files"][0], final["files"][final["chosen"]]
    smaller = base["size_bytes"] / ships["size_bytes"]
    pieces = [
        {"text": f"{shipped['title']} ({shipped['variant']}) is "},
        {"figure": f"{ratio(max(smaller, 1 / smaller))} {'smaller' if smaller >= 1 else 'larger'}"},
        *_speed_pieces(ships["speedup"]),
    ]
    said = tested(content, shipped["title"], shipped["variant"])
    if said is not None:
        pieces += _quality_pieces(content, said["gain"])
    return [*pieces, {"text": "."}]


def _nothing_paid(content: Mapping[str, Any]) -> str:
    stages = content["rungs"][1:]
    if not stages:
        return "No stage was asked for: the teacher ships as it is."
    kept = [r["title"] for r in stages if r["kept"]]
    if not kept:
        return "No stage paid on this device: the teacher ships as it is."
    return (
        f"The teacher ships as it is: of the files that were kept ({', '.join(kept)}) none is "
        "proven faster than it, and none is smaller."
    )


def _speed_pieces(speed: Mapping[str, Any] | None) -> list[dict[str, str]]:
    if speed is None:
        return [{"text": " than the teacher, its speed was not measured"}]
    if speed["low"] > 1:
        return [{"text": " and "}, _figure(times(speed), " faster"), {"text": " than the teacher"}]
    if speed["high"] < 1:
        turned = {"value": 1 / speed["value"], "low": 1 / speed["high"], "high": 1 / speed["low"]}
        return [{"text": " and "}, _figure(times(turned), " slower"), {"text": " than the teacher"}]
    return [{"text": " than the teacher, not proven faster ", "small": f"({times(speed)})"}]


def _figure(text: str, word: str) -> dict[str, str]:
    value, _, low_high = text.partition(" [")
    return {"figure": value + word, "small": f"[{low_high}" if low_high else ""}


def _quality_pieces(content: Mapping[str, Any], gain: Mapping[str, Any]) -> list[dict[str, str]]:
    metric = content["task"]["metrics"][0]
    unit = points_word(metric) if metric["unit"] else ""
    of = f" of {metric['name']} on the test split"
    if gain["value"] == 0:
        lost = {"value": 0.0, "low": -gain["high"], "high": -gain["low"]}
        digits = max(2, decimals(lost["high"] - lost["low"]))
        low_high = interval(lost, of=f"{{:.{digits}f}}".format).partition(" ")[2]
        return [
            {"text": ", and loses "},
            {"figure": f"no {unit}" if unit else "nothing", "small": low_high},
            {"text": of},
        ]
    sign = -1 if gain["value"] < 0 else 1
    ends = sorted((sign * gain["low"], sign * gain["high"]))
    turned = {"value": abs(gain["value"]), "low": ends[0], "high": ends[1]}
    digits = max(2, decimals(ends[1] - ends[0]))
    text = interval(turned, of=f"{{:.{digits}f}}".format)
    verb = ", and loses " if sign < 0 else ", and gains "
    return [{"text": verb}, _figure(text, f" {unit}".rstrip()), {"text": of}]


def tiles(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return size, latency and quality as from -> to, with the intervals."""
    final, shipped = content["final"], content["shipped"]
    base, ships = final["files"][0], final["files"][final["chosen"]]
    metric = content["task"]["metrics"][0]
    found = [
        {
            "what": "Size",
            "was": size(base["size_bytes"]),
            "now": size(ships["size_bytes"]),
            "note": _parameters(content),
        },
        {
            "what": "Median latency",
            "was": latency_text(base["latency_s"]),
            "now": latency_text(ships["latency_s"]),
            "note": f"speed-up {times(ships['speedup'])}" if ships["speedup"] else "",
        },
    ]
    was = tested(content, base["title"], base["label"])
    now = tested(content, shipped["title"], shipped["variant"])
    if was is not None and now is not None:
        found.append(
            {
                "what": f"Test {metric_title(metric)}",
                "was": quality(was["metrics"][metric["name"]]),
                "now": quality(now["metrics"][metric["name"]]),
                "note": f"change {change(now['gain'])}, {content['test']['samples']:,} samples",
            }
        )
    alone = shipped["title"] == content["rungs"][0]["title"]
    for tile in found:
        if alone or tile["was"] == tile["now"] == NOT_MEASURED:
            tile.update(was="", note="")
    return found


def _parameters(content: Mapping[str, Any]) -> str:
    """Return the parameters of the teacher and of what ships, where both are known."""
    owners = (content["rungs"][0]["title"], content["shipped"]["title"])
    found = []
    for owner in owners:
        evidence = next(r["evidence"] for r in content["rungs"] if r["title"] == owner)
        found.append(evidence["files"][evidence["judged"]]["facts"].get("parameters"))
    return "" if None in found else f"{found[0]:,} → {found[1]:,} parameters"


def budget(content: Mapping[str, Any]) -> str:
    """Return what the recipe allows, as a sentence."""
    asked = content["recipe"]["budget"]
    latency = asked.get("max_latency", asked.get("max_latency_s"))
    unit = points_word(content["task"]["metrics"][0], asked["max_drop"])
    speed = "" if latency is None else f", and {seconds(latency)} a call"
    return f"The budget: {asked['max_drop']:g} {unit} lost at most{speed}."


def warnings(content: Mapping[str, Any]) -> list[str]:
    """Return what must not be overlooked: a missed budget, an emulated device."""
    found = []
    if content["over_budget"]:
        found.append(f"Latency budget missed: {content['over_budget']}.")
    shipped, allowed = content["shipped"], content["recipe"]["budget"]["max_drop"]
    said = tested(content, shipped["title"], shipped["variant"])
    unit = points_word(content["task"]["metrics"][0])
    if said is not None and -said["gain"]["value"] > allowed:
        found.append(
            f"Quality budget missed on the test split: {-said['gain']['value']:.2f} {unit} lost, "
            f"{allowed:g} allowed. Validation decided, where the loss was within the budget or the "
            "gate was off; the test split is for this report alone and changes no decision."
        )
    if content["final"]["conditions"].get("emulated"):
        found.append("This device is emulated: it proves function and numbers, never speed.")
    return found
