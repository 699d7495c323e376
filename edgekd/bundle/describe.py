"""manifest.json: what the bundle is and every number that was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekd.artifact import Artifact
from edgekd.bundle.manifest import FORMAT
from edgekd.data.preprocess import Preprocess
from edgekd.store import file_sha256


@dataclass(frozen=True)
class Shipped:
    """The ONNX files of a bundle and how they are called."""

    preprocess: Preprocess
    signals: Mapping[str, str]
    """The task's outputs with their kinds, in the order of the files' outputs."""
    variant: str
    """What was chosen to ship; the other files are the reference and forms for other runtimes."""
    dynamic: Mapping[str, str]
    """Variant -> file, any batch."""
    fixed: Mapping[str, str]
    """Variant -> file with batch 1 fixed."""
    left_out: Mapping[str, str]
    """File that was not written -> why."""


def describe(
    folder: Path, shipped: Shipped, record: Mapping[str, Any], golden: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest.

    Args:
        folder: the bundle, its ONNX files in place.
        shipped: these files.
        record: of the run, nothing private in it.
        golden: the part about golden samples.
    """
    from edgekd.exporters.model_stats import facts

    reference = facts(folder / shipped.dynamic["fp32"])
    data = {**record["data"], "skipped": len(record["data"]["skipped"])}  # their names are private
    return {
        "format": FORMAT,
        "name": record["name"],
        "shipped": {
            **record["shipped"],
            "file": shipped.dynamic[shipped.variant],
            "variant": shipped.variant,
        },
        "opset": reference.opset,
        "preprocess": {
            "file": "preprocess.json",
            "kind": shipped.preprocess.kind,
            "files": list(shipped.preprocess.files().values()),
        },
        "labels": "labels.json" if record["task"]["labels"] else None,
        "inputs": [asdict(entry) for entry in reference.inputs],
        "outputs": [
            {**asdict(entry), "signal": signal, "kind": kind}
            for entry, (signal, kind) in zip(
                reference.outputs, shipped.signals.items(), strict=True
            )
        ],
        "models": _models(folder, shipped, record),
        "left_out": dict(shipped.left_out),
        "runtimes": runtimes(shipped),
        "golden": golden,
        "calibration": _calibration(record, shipped.variant),
        "data": data,
        "licences": {"data": data["licence"], "teacher": _teacher_licence(record)},
        "device": record["device"],
        "conditions": record["final"]["conditions"],
        "timing": record["timing"],
        "metrics": record["task"]["metrics"],
        "measured": {key: record.get(key) for key in ("rungs", "final", "test", "changes")},
        "over_budget": record["over_budget"],
        "recipe": record["recipe"],
        "command": record["command"],
        "versions": record["versions"],
    }


def _teacher_licence(record: Mapping[str, Any]) -> str:
    return str(record["recipe"].get("model", {}).get("licence") or "not stated")


def _models(folder: Path, shipped: Shipped, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    from edgekd.exporters.model_stats import facts

    lengths = {"sequence": getattr(shipped.preprocess, "max_length", 1)}
    found = []
    for batch, files in ((None, shipped.dynamic), (1, shipped.fixed)):
        for variant, name in files.items():
            sha256 = file_sha256(folder / name)
            entry = {
                "file": name,
                "variant": variant,
                "batch": batch,
                "sha256": sha256,
                "facts": facts(folder / name, lengths=lengths).to_json(),
                "measured": _measured(record, sha256),
            }
            found.append(entry)
    return found


def _measured(record: Mapping[str, Any], sha256: str) -> dict[str, Any] | None:
    """Return what was measured of these very bytes, or None."""
    kept: dict[str, Any] = {}
    names = set()
    for rung in record["rungs"]:
        for file in rung["evidence"]["files"] if rung["evidence"] else ():
            if file["sha256"] == sha256 and not file["preview"]:
                names.add((rung["title"], file["label"]))
                kept |= {"validation": file["metrics"], "validation_gain": file["gain"]}
                kept |= {k: file[k] for k in ("load_s", "first_s", "peak_memory_bytes")}
    for file in record["final"]["files"]:
        if file["sha256"] == sha256:
            names.add((file["title"], file["label"]))
            kept |= {key: file[key] for key in ("latency_s", "p90_s", "speedup")}
    for file in record["test"]["files"]:
        if (file["title"], file["label"]) in names:
            kept |= {"test": file["metrics"], "test_gain": file["gain"]}
    return kept or None


def _calibration(record: Mapping[str, Any], variant: str) -> dict[str, Any] | None:
    """Return what the ranges of INT8 were taken from, or None where nothing is quantized."""
    title = record["shipped"]["title"]
    rung = next(r for r in record["rungs"] if r["title"] == title)
    steps = [entry for entry in rung["history"] if entry.get("name") == "quantize"]
    if variant == "fp32" or not steps:
        return None
    return {
        "data_fingerprint": record["data"]["fingerprint"],
        "samples": steps[-1].get("samples"),
        "activations": steps[-1].get("activations"),
        "key": steps[-1].get("key"),
    }


def runtimes(shipped: Shipped) -> list[dict[str, Any]]:
    """Return which file each runtime should load, and how well that is known.

    A runtime whose best variant is not in the bundle gets FP32, which every one of them computes.
    """
    from edgekd.exporters.variants import TABLE

    rows = []
    for row in TABLE:
        has = row.variant in shipped.dynamic
        variant = row.variant if has else "fp32"
        fixed = row.fixed_shape and variant in shipped.fixed
        rows.append(
            {
                "runtime": row.runtime,
                "provider": row.provider,
                "best_variant": row.variant,
                "file": (shipped.fixed if fixed else shipped.dynamic)[variant],
                "in_bundle": has,
                "known": row.known,
                "reason": row.reason,
            }
        )
    return rows


def variants_of(artifact: Artifact, permitted: Sequence[str], chosen: str) -> tuple[str, ...]:
    """Return what ships of an artifact: FP32, the chosen variant, and others that are permitted."""
    return tuple(v for v in artifact.variants if v in {"fp32", chosen, *permitted})
