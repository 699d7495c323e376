"""The automatic ONNX export after every torch step. It is not a step of a recipe."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny

from edgekd.artifact import FP32, Artifact
from edgekd.data.preprocess import copy_preprocess
from edgekd.errors import ModelError, NothingToDo
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import parity
from edgekd.networks.channel_notes import read_left, write_left
from edgekd.step import Context, Need, OnnxStep, Step

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model


class Export(OnnxStep):
    """Write the FP32 file, prove that it computes the same, build the previews."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "calibration data"})
    name: Literal["export"] = "export"
    opset: int = Field(
        20, ge=18, le=20, description="ONNX operator set; 20 is what JetPack 6 reads"
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
        with torch.no_grad():
            answers = deployed(*(torch.as_tensor(array) for array in inputs.values()))
        reference = {n: np.asarray(t.numpy()) for n, t in zip(names, answers, strict=True)}
        found = parity(reference, predictor(path)(inputs), rtol=1e-4)
        if not found.ok:
            raise ModelError(
                f"the outputs of the exported file differ from those of the network: {found}. "
                "Look for code in forward that depends on values or on the batch size, which the "
                "exporter cannot translate"
            )
