"""The teacher as the first stage of a run: trained, loaded, or a bare ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgekd.artifact import FP32, Artifact
from edgekd.benchmarks.model_content import model_content
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import ImagePreprocess, Preprocess, write_preprocess
from edgekd.errors import ModelError
from edgekd.networks.spec import NetworkSpec, user_files
from edgekd.options import Training, UserFunction
from edgekd.step import (
    Context,
    Need,
    OnnxModel,
    OnnxStep,
    Opened,
    Preview,
    TorchStep,
)
from edgekd.store import locate

if TYPE_CHECKING:
    from edgekd.exporters.model_stats import Entry
    from edgekd.networks.trainable import Model


class Teacher(TorchStep):
    """The trained model that everything is compared with: `[model]` in a recipe."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data", "seed"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    build: UserFunction = Field(
        description="'package.module:function' or 'path/to/file.py:function'"
    )
    options: dict[str, object] = Field(
        {}, examples=[{"classes": 10}], description="keyword arguments of that function"
    )
    weights: str | None = Field(
        None, examples=["weights.pt"], description="a state_dict, or 'cache:NAME'"
    )
    replace_head: bool = Field(
        False, examples=[False], description="the last layer may differ from the weights"
    )
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"size": 224}],
        description="what it eats, where it differs from the data",
    )
    train: Training | None = Field(None, description="train it in the run; else weights are needed")
    licence: str | None = Field(
        None, exclude=True, description="of the model; it goes into the bundle's manifest"
    )

    @model_validator(mode="after")
    def _knows_something(self) -> Self:
        if self.train is None and self.weights is None:
            raise ValueError(
                "the model needs weights = 'file.pt', or [model.train] to train it in the run"
            )
        return self

    @property
    def spec(self) -> NetworkSpec:
        """How to build it."""
        return NetworkSpec(
            build=self.build,
            options=self.options,
            weights=self.weights,
            replace_head=self.replace_head,
        )

    def content(self, root: Path) -> Mapping[str, str]:
        return {**user_files(self.spec, root), **self.input.content(root)}

    def environment(self) -> Mapping[str, str]:
        from edgekd.training.environment import describe_environment

        return describe_environment(self.train.precision) if self.train is not None else {}

    def scaled(self, effort: float) -> Self:
        if self.train is None:
            return self
        return self.model_copy(update={"train": self.train.scaled(effort)})

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        from edgekd.networks.trainable import new_model

        preprocess = context.data.preprocess_for(self.input, root=context.root)
        model: Model = new_model(self.spec, preprocess, root=context.root)
        return model

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        if self.train is None:
            return
        from edgekd.training.transfer import transfer

        transfer(
            model,
            None,
            context,
            self.train,
            hard_weight=1.0,
            terms=(),
            work=work,
            title=self.name,
        )


class OnnxTeacher(OnnxStep):
    """A bare ONNX file: it can be quantized, measured and bundled, but no longer trained."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    onnx: str = Field(description="path of the file, relative to the recipe")
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"mean": 127.5, "std": 127.5}],
        description="what it eats, where it differs from the data",
    )
    licence: str | None = Field(
        None, exclude=True, description="of the model; it goes into the bundle's manifest"
    )

    def file(self, root: Path) -> Path:
        """Return the file that `onnx` names."""
        return locate(self.onnx, root=root)

    def content(self, root: Path) -> Mapping[str, str]:
        path = self.file(root)
        if not path.is_file():
            raise ModelError(f"the model {path} does not exist; give the path of an .onnx file")
        model = model_content(path).key  # with its external data
        return {"onnx": model, **self.input.content(root)}

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        from edgekd.exporters.onnx_files import load_onnx

        path = self.file(context.root)
        load_onnx(path)  # a file that cannot be read is refused here
        return OnnxModel(path, self._preprocess(path, context))

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        from edgekd.exporters.onnx_files import load_onnx, save_onnx, strip

        fp32 = folder / f"model.{FP32}.onnx"
        save_onnx(strip(load_onnx(self.file(context.root))), fp32)
        write_preprocess(folder, self._preprocess(fp32, context))

    def _preprocess(self, path: Path, context: Context) -> Preprocess:
        from edgekd.exporters.model_stats import facts

        found = facts(path)
        preprocess = context.data.preprocess_for(self.input, root=context.root)
        if isinstance(preprocess, ImagePreprocess) and len(found.inputs) == 1:
            preprocess = _as_the_file_has_it(preprocess, self.input, found.inputs[0])
        wanted = {entry.name for entry in found.inputs}
        if wanted != set(preprocess.input_names):
            raise ModelError(
                f"{self.onnx} takes the inputs {sorted(wanted)} and the data gives "
                f"{sorted(preprocess.input_names)}; give arrays of these names (an .npz or a "
                "callable) or another model"
            )
        return preprocess


def _as_the_file_has_it(
    preprocess: ImagePreprocess, asked: InputSpec, entry: Entry
) -> ImagePreprocess:
    """Take the input's name, layout and fixed size from the file, where the recipe says nothing."""
    pixels = entry.dtype == "uint8"
    height, width = entry.shape[1:3] if pixels else entry.shape[2:4]
    update: dict[str, object] = {"name": entry.name, "in_graph": pixels}
    if asked.size is None and isinstance(height, int) and isinstance(width, int):
        update |= {"height": height, "width": width}
    return preprocess.model_copy(update=update)
