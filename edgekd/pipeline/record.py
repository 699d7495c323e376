"""The record of a run: all that report, bundle and terminal show, as one JSON value."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from edgekd.evaluation.evidence import Evidence
from edgekd.pipeline.final import Final, Rung, Tested, reduced_test
from edgekd.pipeline.setup import Bench
from edgekd.recipe.recipe import Recipe

SHOWN_SAMPLES = 24
PACKAGES = ("edgekd", "torch", "onnx", "onnxruntime", "onnxscript", "torch-pruning", "numpy")


@dataclass(frozen=True)
class Record:
    """What a run came to. `content` is plain JSON; see `record` for its keys."""

    content: Mapping[str, Any]

    @property
    def over_budget(self) -> str | None:
        """Why what ships misses the latency asked for; None where it meets it."""
        text: str | None = self.content["over_budget"]
        return text


def record(
    bench: Bench,
    rungs: Sequence[Rung],
    final: Final,
    tested: Sequence[Tested],
    *,
    command: str,
) -> Record:
    """Gather a run into one JSON value."""
    recipe = bench.recipe
    shipped = next(r for r in rungs if r.title == final.ships.title)
    return Record(
        {
            "name": recipe.name,
            "command": command,
            "recipe": _recipe(recipe),
            "versions": _versions(),
            "task": {
                "metrics": [
                    {
                        "name": m.name,
                        "unit": m.unit,
                        "better": m.better,
                        "is_percentage": m.is_percentage,
                    }
                    for m in bench.task.metrics
                ],
                "labels": list(bench.dataset.labels),
            },
            "data": {
                "kind": bench.dataset.kind,
                "licence": bench.dataset.licence,
                "fingerprint": bench.dataset.fingerprint,
                "skipped": list(bench.dataset.skipped),
                "splits": {
                    name: len(getattr(bench.splits, name))
                    for name in ("train", "calibration", "validation", "test")
                },
            },
            "device": bench.device.name,
            "timing": asdict(bench.timing),
            "rungs": [_rung(r) for r in rungs],
            "final": TypeAdapter(Final).dump_python(final, mode="json"),
            "shipped": {"title": final.ships.title, "variant": final.ships.variant},
            "test": {
                "samples": len(bench.splits.test),
                "files": [TypeAdapter(Tested).dump_python(t, mode="json") for t in tested],
            },
            "changes": _changes(bench, rungs[0], shipped),
            "latencies_s": _latencies(bench, final),
            "over_budget": over_budget(bench, final),
        }
    )


def _recipe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe with what changes no result, and so is in no key, put back."""
    table = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    if recipe.model.licence is not None:
        table["model"]["licence"] = recipe.model.licence
    for line, step in zip(table["steps"], recipe.steps, strict=True):
        line["gate"] = step.gate
    return table


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _rung(rung: Rung) -> dict[str, Any]:
    return {
        "title": rung.title,
        "kept": rung.verdict.kept,
        "outcome": rung.verdict.outcome,
        "reasons": list(rung.verdict.reasons),
        "verdict": rung.verdict.text,
        "stage": rung.artifact.folder.name,
        "left": _left(rung),
        "history": [dict(entry) for entry in rung.artifact.history],
        "evidence": rung.evidence and TypeAdapter(Evidence).dump_python(rung.evidence, mode="json"),
    }


def _left(rung: Rung) -> dict[str, str]:
    """Return the layers that quantization left in float, each with the reason."""
    path = rung.artifact.folder / "quantized.json"
    if path.name not in rung.artifact.files:
        return {}
    left: dict[str, str] = json.loads(path.read_text(encoding="utf8"))["left"]
    return left


def over_budget(bench: Bench, final: Final) -> str | None:
    """Return why the file that ships misses the latency asked for, or None."""
    asked, ships = bench.recipe.budget.max_latency_s, final.ships
    if asked is None:
        return None
    found = ships.latency_s
    if found is None:
        return f"{asked * 1e3:g} ms were asked for and {bench.device.name} gives no speed"
    if found.value <= asked:
        return None
    return (
        f"{asked * 1e3:g} ms were asked for; what ships, {ships.title} ({ships.label}), takes "
        f"{found.value * 1e3:.3g} ms [{found.low * 1e3:.3g}, {found.high * 1e3:.3g}]. "
        "Prune more, take a smaller student, or allow more with max_latency"
    )


def _changes(bench: Bench, teacher: Rung, shipped: Rung) -> dict[str, Any] | None:
    """Return per-class change and the samples that changed their answer, on the test split."""
    if next(iter(bench.task.signals.values())) != "classes" or teacher is shipped:
        return None
    old, new = reduced_test(bench, teacher, teacher), reduced_test(bench, teacher, shipped)
    if not {"answer", "label"} <= set(old.arrays):  # a task of one's own may keep something else
        return None
    before, after, truth = old.arrays["answer"], new.arrays["answer"], old.arrays["label"]
    changed = np.flatnonzero(before != after)
    return {
        "classes": _per_class(bench, before, after, truth),
        "changed": len(changed),
        "samples": _samples(bench, changed[:SHOWN_SAMPLES], old.index, (before, after, truth)),
    }


def _label(bench: Bench, value: int) -> str:
    labels = bench.dataset.labels
    return labels[value] if value < len(labels) else str(value)


def _per_class(bench: Bench, before: Any, after: Any, truth: Any) -> list[dict[str, Any]]:
    rows = []
    for value in np.unique(truth):
        mine = truth == value
        rows.append(
            {
                "label": _label(bench, int(value)),
                "samples": int(mine.sum()),
                "teacher": float(100 * (before[mine] == value).mean()),
                "shipped": float(100 * (after[mine] == value).mean()),
            }
        )
    return rows


def _samples(bench: Bench, rows: Any, index: Any, answers: Any) -> list[dict[str, Any]]:
    before, after, truth = answers
    raw, _ = bench.dataset.take(index[rows])
    shown = []
    for i, row in enumerate(rows):
        entry: dict[str, Any] = {
            "index": int(index[row]),
            "label": _label(bench, int(truth[row])),
            "teacher": _label(bench, int(before[row])),
            "shipped": _label(bench, int(after[row])),
        }
        if bench.dataset.kind == "image":
            entry["image"] = png_uri(next(iter(raw.values()))[i])
        elif bench.dataset.kind == "text":
            entry["text"] = str(next(iter(raw.values()))[i])[:200]
        shown.append(entry)
    return shown


def png_uri(pixels: Any) -> str:
    """Return uint8 pixels, shape [height, width, channels], as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _latencies(bench: Bench, final: Final) -> list[dict[str, Any]]:
    """Return up to 400 calls of each finalist, drawn evenly over its processes, for the plot."""
    if final.session is None or final.ships.latency_s is None:
        return []
    session = json.loads((bench.folder / "evidence" / final.session).read_text(encoding="utf8"))
    drawn = []
    for file, m in zip(final.files, session["measurements"], strict=True):
        calls = [s for run in m["runs"] for block in run["blocks_s"] for s in block]
        step = max(1, len(calls) // 400)
        drawn.append({"title": file.title, "label": file.label, "seconds": calls[::step]})
    return drawn
