"""Compare two bundles: what an app must change, which answers changed, speed and size.

A *regression* is what is proven or certain: quality whose 95 % interval lies below zero, a speed-up
whose interval lies below 1, NaN, an interface or preprocessing that an app must follow, a file that
is more than 5 % larger. Other changes are shown and cost nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Candidate, Setup, Timing
from edgekd.benchmarks.stats import latency, noise_floor, speedup
from edgekd.bundle.diff_answers import compare_data, compare_golden, encode_golden
from edgekd.bundle.diff_parts import Difference, Line, OnData, Side, open_side
from edgekd.bundle.golden import Arrays
from edgekd.bundle.manifest import Port
from edgekd.data.preprocess import Preprocess
from edgekd.devices import open_device
from edgekd.devices.device import Device
from edgekd.evaluation.formatting import latency_text, size, times
from edgekd.exporters.onnx_files import load_onnx, messages
from edgekd.progress import Share

LARGER = 1.05
"""A file that grew by more than this is a regression."""


def compare_interface(old: Side, new: Side) -> Iterator[Line]:
    """Yield what an app must change: inputs, outputs, preprocessing, labels; and operators."""
    for what, a, b in (
        ("inputs", old.manifest.inputs, new.manifest.inputs),
        ("outputs", old.manifest.outputs, new.manifest.outputs),
    ):
        yield _changed(what, _ports(a), _ports(b))
    first, second = (_plain(side.preprocess) for side in (old, new))
    keys = sorted(k for k in {**first, **second} if first.get(k) != second.get(k))
    yield Line(
        what="preprocessing",
        old=", ".join(f"{k} = {_short(first.get(k))}" for k in keys) or old.preprocess.kind,
        new=", ".join(f"{k} = {_short(second.get(k))}" for k in keys) or new.preprocess.kind,
        change=f"{', '.join(keys)} changed: the app must change too" if keys else "equal",
        regression=bool(keys),
    )
    if old.labels or new.labels:
        yield _changed(
            "labels", _names(old.labels), _names(new.labels), equal=old.labels == new.labels
        )
    operators = [_operators(side.file) for side in (old, new)]
    names = sorted({*operators[0], *operators[1]})
    moved = [
        f"{name} {operators[1][name] - operators[0][name]:+d}"
        for name in names
        if operators[0][name] != operators[1][name]
    ]
    yield Line(
        what="operators",
        old=f"{sum(operators[0].values())} nodes",
        new=f"{sum(operators[1].values())} nodes",
        change=", ".join(moved[:8]) + (f" and {len(moved) - 8} more" if len(moved) > 8 else "")
        or "equal",
        values={"changed": {n: operators[1][n] - operators[0][n] for n in names}},
    )


def _changed(what: str, old: str, new: str, *, equal: bool | None = None) -> Line:
    same = old == new if equal is None else equal
    note = "equal" if same else "changed: the app must change too"
    return Line(what=what, old=old, new=new, change=note, regression=not same)


def _ports(ports: Sequence[Port]) -> str:
    """Return inputs or outputs in words; how a free axis is called does not matter."""
    return "; ".join(
        f"{p.name} {p.dtype} [{', '.join('?' if isinstance(n, str) else str(n) for n in p.shape)}]"
        for p in ports
    )


def _plain(preprocess: Preprocess) -> dict[str, Any]:
    """Return what an app must follow: no ranges of the data, no scale that the graph applies."""
    content = preprocess.model_dump(mode="json")
    inside = ("mean", "std") if content.get("in_graph") else ()
    return {key: value for key, value in content.items() if key not in ("facts", *inside)}


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _names(labels: Sequence[str]) -> str:
    if not labels:
        return "none"
    shown = ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
    return f"{len(labels)}: {shown}"


def _operators(path: Path) -> Counter[str]:
    from onnx import NodeProto

    return Counter(node.op_type for node in messages(load_onnx(path), NodeProto))


def compare_size(old: Side, new: Side) -> Line:
    """Return the sizes of the two files."""
    before, after = (side.file.stat().st_size for side in (old, new))
    ratio = after / before
    return Line(
        what="size",
        old=size(before),
        new=size(after),
        change="equal" if before == after else f"{100 * (ratio - 1):+.1f} %",
        regression=ratio > LARGER,
        values={"old_bytes": before, "new_bytes": after},
    )


def compare_speed(
    old: Side,
    new: Side,
    inputs: Mapping[str, Sequence[Arrays]],
    device: Device,
    timing: Timing,
    progress: Share | None = None,
) -> Line:
    """Time both files in one interleaved session, each on its own golden inputs.

    Args:
        old: the older bundle.
        new: the newer one.
        inputs: "old" and "new" -> inputs of some calls, of one shape.
        device: where.
        timing: how long.
        progress: called with the share that is done.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        candidates = []
        for name, side in (("old", old), ("new", new)):
            feeds = Path(scratch) / f"{name}.npz"
            rows = inputs[name]
            save_feeds(feeds, {n: np.stack([row[n] for row in rows]) for n in rows[0]})
            threads = new.manifest.timing.threads
            candidates.append(Candidate(side.file, feeds, Setup(threads=threads)))
        session = device.measure(candidates, timing, progress=progress)
    first, second = session.measurements
    emulated = first.conditions.emulated
    gain = speedup(first, second, floor=noise_floor(session))
    return Line(
        what=f"speed on {device.name}",
        old=latency_text(latency(first)),
        new=latency_text(latency(second)),
        change="not measured: emulated" if emulated else times(gain),
        regression=not emulated and gain.high < 1,
        values={"speedup": asdict(gain)},
    )


def diff(
    old: Path,
    new: Path,
    *,
    device: str = "local",
    speed: bool = True,
    timing: Timing | None = None,
    on: OnData | None = None,
    progress: Share | None = None,
) -> Difference:
    """Compare two bundles.

    Args:
        old: folder of the older bundle.
        new: folder of the newer one.
        device: where both are timed.
        speed: whether they are timed.
        timing: how long; default: 8 rounds at most, until decided.
        on: samples to compare answers on; default: the golden ones of `old`.
        progress: called with the share of the timing that is done.

    Raises:
        BadInput: one is no bundle or is damaged; data or device is wrong.
    """
    target = open_device(device)
    first, second = open_side(old), open_side(new)
    lines = list(compare_interface(first, second))
    golden = encode_golden(first, second)
    lines += compare_golden(first, second, golden, judged=on is not None)
    if on is not None:
        lines += compare_data(first, second, on)
    lines.append(compare_size(first, second))
    if speed and golden.inputs is not None:
        how = timing or Timing(rounds=8, time_limit_s=60.0)
        lines.append(compare_speed(first, second, golden.inputs, target, how, progress))
    elif speed:
        why = "not measured: the two take samples of other kinds"
        lines.append(Line(what="speed", old="", new="", change=why))
    return Difference(old=str(old), new=str(new), lines=tuple(lines))
