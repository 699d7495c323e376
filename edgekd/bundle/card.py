"""MODEL_CARD.md: the bundle for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekd.bundle.snippet import snippet
from edgekd.data.preprocess import Preprocess
from edgekd.report.run.headline import change, quality, times
from edgekd.report.run.table import latency_text, size


def card(manifest: Mapping[str, Any], preprocess: Preprocess) -> str:
    """Return the model card as Markdown."""
    shipped = manifest["shipped"]
    parts = [
        f"# {_cell(manifest['name'])}",
        f"Ships `{shipped['file']}` ({shipped['variant']}, stage {_cell(shipped['title'])}). "
        "`manifest.json` holds every number below and more; `edgekd verify .` checks the files "
        "and that they still compute what is promised here.",
        *_budget(manifest),
        "## Run it",
        f"```python\n{snippet(manifest, preprocess)}```",
        "## Inputs and outputs",
        *_interface(manifest),
        "## Quality",
        *_quality(manifest),
        "## Size and speed",
        *_speed(manifest),
        "## Which file for which runtime",
        *_runtimes(manifest),
        "## How it was made",
        *_stages(manifest),
        "## Data and licences",
        *_data(manifest),
        "## Limits",
        _bullets(list(_limits(manifest))),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(value: object) -> str:
    """Return text that neither ends a table's cell nor a line."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _budget(manifest: Mapping[str, Any]) -> list[str]:
    text = manifest["over_budget"]
    return [f"**Over budget:** {_cell(text)}."] if text else []


def _interface(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (side, e["name"], e["dtype"], f"[{', '.join(map(str, e['shape']))}]", e.get("kind", ""))
        for side in ("input", "output")
        for e in manifest[f"{side}s"]
    ]
    yield _table(["", "name", "type", "shape", "kind"], rows)
    golden = manifest["golden"]
    origin = "made up" if golden["synthetic"] else "from the validation split"
    preprocess = manifest["preprocess"]
    files = "".join(f", with `{name}`," for name in preprocess["files"])
    yield (
        f"`{preprocess['file']}`{files} says how a raw sample becomes the inputs"
        f"{', `labels.json` names the classes' if manifest['labels'] else ''}. "
        f"`golden/` holds {len(golden['samples'])} raw samples ({origin}: {golden['reason']}), the "
        "tensors they become and what each variant must answer: let your app's own preprocessing "
        "run over them and compare."
    )
    limits = [
        (variant, output, f"{limit['absolute']:.3g}", "yes" if limit["same_winner"] else "")
        for variant, outputs in golden["output_tolerance"].items()
        for output, limit in outputs.items()
    ]
    yield _table(["variant", "output", "may differ by", "same winner"], limits)


def _quality(manifest: Mapping[str, Any]) -> Iterator[str]:
    splits = manifest["data"]["splits"]
    yield (
        f"Validation ({splits['validation']:,} samples) decided; the test split "
        f"({splits['test']:,} samples) was judged once, at the end. In brackets: 95 % intervals."
    )
    rows = []
    for model in _measured_models(manifest):
        found = model["measured"]
        for metric in manifest["metrics"]:
            values = [
                quality(found[split][metric["name"]]) if split in found else "not measured"
                for split in ("validation", "test")
            ]
            rows.append((model["file"], f"{metric['name']} {metric['unit']}".strip(), *values))
    yield _table(["file", "metric", "validation", "test"], rows)
    first = manifest["metrics"][0]["name"]
    for model in _measured_models(manifest):
        if "test_gain" in model["measured"]:
            yield (
                f"`{model['file']}` since the teacher, {first} on the test split: "
                f"{change(model['measured']['test_gain'])}."
            )


def _measured_models(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [model for model in manifest["models"] if model["measured"]]


def _speed(manifest: Mapping[str, Any]) -> Iterator[str]:
    where = manifest["conditions"]
    if where:
        governor = f", governor {where['governor']}" if where.get("governor") else ""
        yield (
            f"On the device `{manifest['device']}`: {_cell(where['cpu'])}, {where['runtime']} with "
            f"{where['provider']}, {where['threads']} thread(s), {_cell(where['os'])}{governor}; "
            "batch 1, all files in one interleaved session."
        )
    rows = []
    for model in manifest["models"]:
        found, facts = model["measured"] or {}, model["facts"]
        share = facts["int8_share"]
        rows.append(
            (
                f"`{model['file']}`",
                size(facts["size_bytes"]),
                "" if share is None else f"{100 * share:.0f} %",
                latency_text(found.get("latency_s")),
                latency_text(found.get("p90_s")),
                times(found["speedup"]) if found.get("speedup") else "",
            )
        )
    head = ["file", "size", "in INT8", "latency, median", "90th percentile", "against the teacher"]
    yield _table(head, rows)
    if any(model["batch"] for model in manifest["models"]):
        yield (
            "Files with `batch1` in their name are the same networks with every axis fixed, for "
            "runtimes that refuse symbolic ones; they were checked against the golden samples and "
            "not timed."
        )


def _runtimes(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (
            f"{row['runtime']} {row['provider']}".strip(),
            row["file"] if row["in_bundle"] else f"{row['file']} ({row['best_variant']} not here)",
            row["known"],
            row["reason"],
        )
        for row in manifest["runtimes"]
    ]
    yield _table(["runtime", "load", "known", "why"], rows)
    yield (
        "*run here*: edgekd's own tests run it. *from documentation*: its maker says so. "
        "*unverified*: neither. None of these is a measurement on your device."
    )


def _stages(manifest: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for i, rung in enumerate(manifest["measured"]["rungs"]):
        state = "reference" if i == 0 else rung["outcome"]
        rows.append((rung["title"], state, "" if i == 0 else rung["verdict"]))
    yield _table(["stage", "", "because"], rows)
    if manifest["command"]:
        yield f"Made by:\n\n```\n{manifest['command']}\n```"
    versions = ", ".join(f"{name} {v}" for name, v in manifest["versions"].items())
    yield f"Versions: {versions}."


def _data(manifest: Mapping[str, Any]) -> Iterator[str]:
    data = manifest["data"]
    names = ("train", "calibration", "validation", "test")
    splits = ", ".join(f"{name} {data['splits'][name]:,}" for name in names)
    lines = [
        f"Data: {data['kind']}, samples: {splits} (calibration is drawn from train).",
        f"Fingerprint of the data: `{data['fingerprint']}`.",
        f"Licence of the data: {_cell(data['licence'])}.",
        f"Licence of the teacher: {_cell(manifest['licences']['teacher'])}.",
    ]
    if data["skipped"]:
        lines.append(f"{data['skipped']} broken files or rows were left out.")
    calibration = manifest["calibration"]
    if calibration:
        lines.append(
            f"INT8 ranges: {calibration['samples']} samples of the calibration split, "
            f"{calibration['activations']} activations."
        )
    yield _bullets(lines)


def _limits(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "Quality holds for data like the splits above; nothing else was tried."
    where = manifest["conditions"]
    if not where or where.get("emulated"):
        yield "Speed: not measured."
    else:
        yield (
            f"Speed was measured on `{manifest['device']}` alone, at batch 1; on any other device, "
            "runtime or number of threads it is not measured."
        )
    missing = [device["name"] for device in manifest["recipe"].get("devices", [])[1:]]
    if missing:
        yield f"Asked for and not measured: {_cell(', '.join(missing))}."
    yield "Energy, heat and long runs: not measured."
    for name, reason in manifest["left_out"].items():
        yield f"`{name}` was left out: {_cell(reason)}."
    if manifest["golden"]["synthetic"]:
        yield "The golden samples are made up: they test the plumbing, not the quality."
    yield "SHA256SUMS finds damage; it is no signature."
