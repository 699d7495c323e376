"""Judge the graphs that repairs make as the files that they would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto

from edgekd.artifact import FP32, WORK, Artifact, Variant
from edgekd.evaluation.quality_gate import Judged, QualityGate
from edgekd.exporters.onnx_files import save_onnx
from edgekd.store import file_sha256

JudgeGraph = Callable[[ModelProto, Variant], Judged]
"""Returns the quality of a graph of a variant; `within` is true where no repair can help."""


def judge_graphs(quality: QualityGate, source: Artifact, folder: Path) -> JudgeGraph:
    """Return what judges quantized forms of a float file.

    Where the float file itself exceeds the budget, no repair can meet it: then every form is
    enough, and its text says why.

    Args:
        quality: what the budget allows.
        source: with the float file.
        folder: of the stage that is made, with its preprocessing.
    """
    known: dict[str, Judged] = {}

    def judge(graph: ModelProto, variant: Variant) -> Judged:
        # The name says how the file is run, as it does of a file that ships.
        path = folder / WORK / f"judged.{variant}.onnx"
        path.parent.mkdir(exist_ok=True)
        save_onnx(graph, path)
        sha256 = file_sha256(path)
        if sha256 not in known:
            judged = quality.judge(Artifact(folder, {path.name: sha256}), path)
            if not judged.within:
                of_float = quality.judge(source, source.onnx(FP32))
                if not of_float.within:
                    text = f"{judged.text}; the float file itself exceeds the budget"
                    judged = replace(judged, within=True, text=f"{text}: {of_float.text}")
            known[sha256] = judged
        return known[sha256]

    return judge
