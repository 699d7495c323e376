"""The last part of a bundle's loader: run the model, name the answer, check the golden files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from edgekd.bundle.app_files import HERE, LABELS, MANIFEST
from edgekd.bundle.app_pictures import read_golden, read_inputs


def open_model(file: str = MANIFEST["shipped"]["file"]) -> Any:
    """Open a model of the bundle: the one that ships, or another by its file's name."""
    options = ort.SessionOptions()
    if "int8-tensorrt" in file.split("."):  # its sums need 32 bits, which old processors lack
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(str(HERE / file), options, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return output name -> array [1, ...] for the inputs of one sample."""
    feeds = {}
    for entry in session.get_inputs():
        batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1  # fixed in the file
        feeds[entry.name] = np.repeat(inputs[entry.name], batch, axis=0)
    names = [output.name for output in session.get_outputs()]
    values = (np.asarray(value) for value in session.run(names, feeds))
    return {name: value[:1] for name, value in zip(names, values, strict=True)}


def explain(outputs: Mapping[str, Any]) -> str:
    """Name the answer: the class and its score, or the labels that are there, or the numbers."""
    words = []
    for entry in MANIFEST["outputs"]:
        row = np.asarray(outputs[entry["name"]][0], np.float64)
        if entry["kind"] == "classes" and row.size > 1:
            row = row.ravel()
            if row.min() < 0 or abs(row.sum() - 1) > 1e-3:  # scores, not yet shares of 1
                row = np.exp(row - row.max())
            best = int(row.argmax())
            words.append(f"{label(best)} {row[best] / row.sum():.3f}")
        elif entry["kind"] == "labels":
            score = 1 / (1 + np.exp(-row.ravel()))
            there = [f"{label(i)} {score[i]:.3f}" for i in range(len(score)) if score[i] > 0.5]
            words.append(", ".join(there) or "no label")
        else:
            words.append(f"{entry['signal']} {np.array2string(row, precision=4, threshold=12)}")
    return "; ".join(words)


def label(number: int) -> str:
    """Return the name of a class: line `number` of the labels, counted from 0."""
    return str(LABELS[number]) if LABELS else f"class {number}"


def check(session: Any, variant: str) -> None:
    """Go from the golden files to the answers; print how far both are from the stored ones."""
    golden = MANIFEST["golden"]
    tensors = np.load(HERE / golden["inputs"])
    expected = np.load(HERE / golden["outputs"][variant])
    for i, files in enumerate(golden["samples"]):
        inputs = read_golden({name: HERE / file for name, file in files.items()})
        outputs = run(session, inputs)
        off = max(furthest(value, tensors[f"{i}/{name}"]) for name, value in inputs.items())
        error = max(furthest(value, expected[f"{i}/{name}"]) for name, value in outputs.items())
        print(f"{', '.join(files.values())}: {explain(outputs)}; off by {off:g} and {error:g}")


def furthest(value: Any, stored: Any) -> float:
    """Return the greatest difference of two arrays; infinite where only one lacks a number."""
    a, b = np.asarray(value, np.float64), np.asarray(stored[:1], np.float64)
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    return float(np.nan_to_num(np.abs(a[differ] - b[differ]), nan=np.inf).max(initial=0.0))


def main(arguments: list[str]) -> None:
    """Print the answer for each file; without files, check the golden ones."""
    files = [name for name in arguments if not name.endswith(".onnx")]
    model = next((n for n in arguments if n not in files), MANIFEST["shipped"]["file"])
    session = open_model(model)
    if not files:
        check(session, next(m["variant"] for m in MANIFEST["models"] if m["file"] == model))
    for file in files:
        try:
            inputs = read_inputs(file)
        except (OSError, ValueError) as error:
            sys.exit(f"{file}: {error}")
        print(f"{file}: {explain(run(session, inputs))}")


if __name__ == "__main__":
    main(sys.argv[1:])
