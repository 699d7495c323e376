"""The automatic ONNX export after every torch step. It is not a step of a recipe."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny

from edgekd.artifact import FP32, Artifact
from edgekd.data.preprocess import copy_preprocess
from edgekd.errors import NothingToDo
from edgekd.evaluation.fidelity import write_parity
from edgekd.networks.channel_notes import read_left, write_left
from edgekd.step import Context, Need, OnnxStep, Step

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model


class Export(OnnxStep):
    """Write the FP32 file, prove that it computes the same, build the previews."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "calibration data"})
    revision: ClassVar[int] = 2
    name: Literal["export"] = "export"
    opset: int = Field(
        20, ge=13, le=20, description="ONNX operator set; 20 is what JetPack 6 reads"
    )
    early: tuple[SerializeAsAny[Step], ...] = Field(
        (), description="the steps that write previews of their variants"
    )

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        packages = {name: importlib.metadata.version(name) for name in ("torch", "onnxscript")}
        for step in self.early:
            packages |= step.environment(source, context)
        return packages

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        from edgekd.networks.trainable import open_model

        shutil.copyfile(source.folder / "model.pt", folder / "model.pt")
        copy_preprocess(source.folder, folder)
        write_left(folder, read_left(source.folder))
        model = open_model(source.folder, root=context.root)
        fp32 = folder / f"model.{FP32}.onnx"
        batch = next(context.data.batches("calibration", model.preprocess, size=8))
        self._export(model, context, batch.inputs[0], fp32)
        for step in self.early:
            with suppress(NothingToDo):  # that step will be skipped
                step.write_previews(fp32, folder, model.preprocess, context.data)

    def _export(
        self, model: Model, context: Context, inputs: Mapping[str, NDArray[Any]], path: Path
    ) -> None:
        import torch

        from edgekd.evaluation.parity_check import check_export
        from edgekd.exporters.torch_to_onnx import export_onnx

        deployed = model.deployed(context.task).eval()
        names = tuple(context.task.signals)
        export_onnx(
            deployed,
            [torch.as_tensor(array[:2]) for array in inputs.values()],
            path,
            input_names=tuple(inputs),
            output_names=names,
            dynamic_axes=model.preprocess.dynamic_axes,
            opset=self.opset,
        )
        rows = check_export(deployed, path, inputs, outputs=names, preprocess=model.preprocess)
        write_parity(path.parent, rows)
