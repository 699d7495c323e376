"""What the sections of the page show, in words and figures, from the record alone.

Everything here is plain text or mappings of it; the template escapes and arranges it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.report.run.headline import NOT_MEASURED, change, metric_title, quality, times
from edgekd.report.run.table import latency_text, seconds, size

MOST_CLASSES = 20
"""More classes than this are cut to those that changed most; the rest is folded away."""


def rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ladder: every stage's own file, and previews below it."""
    metric = content["task"]["metrics"][0]
    found = []
    for rung in content["rungs"]:
        if rung["evidence"] is None:
            found.append(_skipped_row(rung))
            continue
        for i, file in enumerate(rung["evidence"]["files"]):
            own = i == rung["evidence"]["judged"]
            if own or file["preview"]:
                found.append(_row(content, rung, file, own, metric))
    return found


def _skipped_row(rung: Mapping[str, Any]) -> dict[str, Any]:
    empty = dict.fromkeys(("label", "quality", "gain", "size", "latency", "speedup", "step"), "")
    return {
        **empty,
        "title": rung["title"],
        "own": True,
        "kept": False,
        "ships": False,
        "bytes": 0,
        "compared": "",
        "state": rung["outcome"],
        "reasons": rung["reasons"],
    }


def _row(
    content: Mapping[str, Any],
    rung: Mapping[str, Any],
    file: Mapping[str, Any],
    own: bool,
    metric: Mapping[str, Any],
) -> dict[str, Any]:
    first = rung is content["rungs"][0]
    evidence = rung["evidence"]
    step = evidence["findings"]["speedup"]
    untimed = file["latency_s"] is None
    return {
        "title": rung["title"],
        "label": file["label"],
        "own": own,
        "kept": rung["kept"],
        "ships": own and content["shipped"] == {"title": rung["title"], "variant": file["variant"]},
        "quality": quality(file["metrics"][metric["name"]]),
        "gain": "" if first and own else change(file["gain"]),
        "size": size(file["facts"]["size_bytes"]),
        "bytes": file["facts"]["size_bytes"],
        "latency": latency_text(file["latency_s"]),
        "speedup": NOT_MEASURED if untimed else times(file["speedup"]) if file["speedup"] else "",
        "step": "" if first or not own else times(step),
        "compared": "" if step is None else _pair(evidence["compared"]),
        "state": _state(rung, first) if own else "preview",
        "reasons": rung["reasons"] if own else [],
    }


def _pair(compared: Sequence[str]) -> str:
    """Return which file was timed against which: like with like, or a variant against FP32."""
    after, before = compared
    return f"both {after}" if after == before else f"{after} against {before}"


def _judged(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rungs without those that were skipped."""
    return [rung for rung in content["rungs"] if rung["evidence"] is not None]


def _state(rung: Mapping[str, Any], first: bool) -> str:
    if first:
        return "reference"
    return "kept, gate off" if rung["kept"] and rung["reasons"] else str(rung["outcome"])


def figures(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of everything known of each file of each stage."""
    metrics = content["task"]["metrics"]
    head = ["stage and file", *map(metric_title, metrics), "since the teacher"]
    head += ["since the stage before", "size", "parameters", "multiply-accumulates", "in INT8"]
    head += ["layers that run in INT8", "layers left in float"]
    head += ["opset", "median latency", "p90", "load", "first call", "peak memory"]
    head += ["against the teacher", "sha256", "verdict on the stage"]
    found = []
    for rung in _judged(content):
        for file in rung["evidence"]["files"]:
            cells = [f"{rung['title']} {file['label']}"]
            cells += [quality(file["metrics"][m["name"]]) for m in metrics]
            cells += [change(file["gain"]), change(file["step_gain"])]
            cells += [*_facts(file["facts"], rung), *_speed(file), file["sha256"][:16]]
            found.append([*cells, rung["verdict"]])
    return head, found


def _facts(facts: Mapping[str, Any], rung: Mapping[str, Any]) -> list[str]:
    share = facts.get("int8_share")
    return [
        f"{facts['size_bytes']:,} bytes",
        _count(facts.get("parameters")),
        _count(facts.get("macs")),
        "not known" if share is None else f"{100 * share:.0f} %",
        _kernels(facts.get("kernels")),
        "; ".join(f"{layer}: {why}" for layer, why in rung.get("left", {}).items()) or "none",
        str(facts.get("opset", "not known")),
    ]


def _kernels(found: Mapping[str, Any] | None) -> str:
    """Return what ONNX Runtime made of a file: a Q/DQ that did not fuse costs time."""
    if found is None:
        return "none"
    layers = found["int8_layers"] + found["fp32_layers"]
    left = found["quantize_left"] + found["dequantize_left"]
    return f"{found['int8_layers']} of {layers}, {left} Q/DQ left"


def _speed(file: Mapping[str, Any]) -> list[str]:
    if file["latency_s"] is None:
        return [NOT_MEASURED] * 6
    return [
        latency_text(file["latency_s"]),
        latency_text(file["p90_s"]),
        seconds(file["load_s"]),
        seconds(file["first_s"]),
        size(file["peak_memory_bytes"]),
        times(file["speedup"]) if file["speedup"] else "reference",
    ]


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def conditions(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return where and how speed was measured, as name and value."""
    final, timing = content["final"], content["timing"]
    found, floor = final["conditions"], final["floor"]
    load = found.get("load_average")
    return [
        ("device", found["device"]),
        ("CPU", found["cpu"]),
        ("runtime", f"{found['runtime']}, {found['provider']}"),
        ("threads", str(found["threads"])),
        ("governor", found["governor"] or "not readable"),
        ("system", f"{found['os']}, Python {found['python']}"),
        ("emulated", "yes: speed is not measured" if found["emulated"] else "no"),
        ("load before", "not readable" if load is None else f"{load:.2f} in the last minute"),
        ("A/A floor", NOT_MEASURED if floor is None else f"{100 * floor:.1f} %"),
        ("processes", f"{timing['rounds']} fresh ones per file, interleaved"),
        ("blocks", f"{timing['blocks']} per process, each {timing['block_s']:g} s or longer"),
        ("warm-up", f"{timing['warmup_s']:g} s per process, untimed"),
    ]


def rolled(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every stage that was rolled back or skipped, with its reasons and what was found."""
    metric, before, found = content["task"]["metrics"][0], "", []
    for rung in content["rungs"]:
        if rung["evidence"] is None:
            found.append({"title": rung["title"], "reasons": rung["reasons"], "facts": []})
            continue
        if rung["kept"]:
            before = rung["title"]
            continue
        findings = rung["evidence"]["findings"]
        pair = _pair(rung["evidence"]["compared"])
        speed = times(findings["speedup"])
        facts = [
            (f"speed against {before}", f"{speed}, {pair}" if findings["speedup"] else speed),
            (f"{metric['name']} since the teacher", change(findings["gain"])),
            (f"{metric['name']} since the stage before", change(findings["step_gain"])),
            (f"bytes of {before} / bytes now", f"{findings['shrink']:.2f}"),
            ("steady while timed", "yes" if findings["steady"] else "no"),
        ]
        found.append({"title": rung["title"], "reasons": rung["reasons"], "facts": facts})
    return found


def classes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return per-class change: those to show, and those to fold away."""
    every = content["changes"]["classes"]
    low = min(min(c["teacher"], c["shipped"]) for c in every)
    floor = 10 * math.floor(min(low, 90) / 10)
    drawn = [
        {
            **c,
            "change": c["shipped"] - c["teacher"],
            "from": 100 * (c["teacher"] - floor) / (100 - floor),
            "to": 100 * (c["shipped"] - floor) / (100 - floor),
        }
        for c in every
    ]
    if len(drawn) <= MOST_CLASSES:
        return {"shown": drawn, "folded": [], "floor": floor}
    order = sorted(drawn, key=lambda c: c["change"])
    half = MOST_CLASSES // 2
    return {"shown": order[:half] + order[-half:], "folded": drawn, "floor": floor}


def samples(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the changed samples, lost answers first; an image is a PNG in the page or none."""
    found = []
    for s in content["changes"]["samples"]:
        before, after = s["teacher"] == s["label"], s["shipped"] == s["label"]
        outcome = "lost" if before else "won" if after else "both wrong"
        image = str(s.get("image", ""))
        safe = re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", image) is not None
        found.append({**s, "image": image if safe else "", "outcome": outcome})
    return sorted(found, key=lambda s: ("lost", "won", "both wrong").index(s["outcome"]))
