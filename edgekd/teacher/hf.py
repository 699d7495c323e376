"""A folder of transformers as the model: exported by optimum-onnx, then treated as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from edgekd.artifact import FP32, Artifact
from edgekd.data.preprocess import read_preprocess
from edgekd.step import Context, Need, OnnxStep, Opened, Preview
from edgekd.store import write_json
from edgekd.teacher.hf_model import HfModel, stated_input
from edgekd.teacher.step import OnnxTeacher

SETTINGS = "hf"
"""Folder of a stage with config.json and the tokenizer's files, as `from_pretrained` reads them."""
TASK = "hf.json"
"""Of a stage: the task, and the class of optimum that loads the file."""
PREFIX = "hf:"
"""Before a folder that is given as the model by a flag."""
_SAMPLES = 8


class HfTeacher(HfModel, OnnxStep):
    """A model of transformers: it can be quantized, measured and bundled, but not trained."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    trainable: Literal[False] = Field(
        False,
        description="whether it is a network of PyTorch, which can be trained and cut and teaches "
        "by its layers, or a file that optimum exports; default: as the steps need it",
    )
    export_opset: int | None = Field(
        None,
        ge=13,
        le=20,
        description="ONNX operator set version; default: what optimum takes for the architecture",
    )

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        from importlib.metadata import version

        return {name: version(name) for name in ("optimum-onnx", "transformers", "torch")}

    def input_size(self, root: Path) -> tuple[int, int] | None:
        """Return (height, width) of the images that it takes; None: any, or it takes no images."""
        return self._file(root)[0].input_size(root)

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        file, _ = self._file(context.root)
        length = file.input.max_length
        if length is not None and self.input.max_length is None:
            context.progress.say(f"{self.hf}: texts are cut after {length} tokens")
        context.progress.say(f"{self.hf} is exported by optimum for {self.task_of(context.root)}")
        return file.look(context)

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        from edgekd.evaluation.fidelity import write_parity
        from edgekd.exporters.hf_export import class_for, copy_settings

        file, exported = self._file(context.root)
        file.apply(source, context, folder)
        copy_settings(exported, folder / SETTINGS)
        task = self.task_of(context.root)
        write_json(folder / TASK, {"task": task, "loads": class_for(task)})
        write_parity(folder, self._compare(folder, context))

    def _compare(self, folder: Path, context: Context) -> tuple[Any, ...]:
        """Hold the file against the network in PyTorch, on real samples and at the edges."""
        from edgekd.evaluation.parity_check import check_export
        from edgekd.exporters.hf_export import open_network
        from edgekd.exporters.model_stats import facts

        path, preprocess = folder / f"model.{FP32}.onnx", read_preprocess(folder)
        batch = next(context.data.batches("train", preprocess, size=_SAMPLES))
        outputs = [entry.name for entry in facts(path).outputs]
        network = open_network(
            self.folder(context.root),
            task=self.task_of(context.root),
            inputs=tuple(batch.inputs[0]),
            outputs=outputs,
        )
        return check_export(network, path, batch.inputs[0], outputs=outputs, preprocess=preprocess)

    def _file(self, root: Path) -> tuple[OnnxTeacher, Path]:
        """Return the exported file as a model, and the folder in which it lies."""
        from edgekd.exporters.hf_export import MODEL, export_hf

        exported = export_hf(self.folder(root), task=self.task_of(root), opset=self.export_opset)
        spec = self.input.model_copy(update=stated_input(exported, self.input))
        return OnnxTeacher(onnx=str(exported / MODEL), input=spec), exported
