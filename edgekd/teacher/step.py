"""The teacher as the first stage of a run: trained, loaded, or a bare ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from edgekd.artifact import FP32, Artifact
from edgekd.data.input_forms import InputForm
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import ImagePreprocess, write_preprocess
from edgekd.errors import ModelError, RecipeError
from edgekd.evaluation.results import Origin
from edgekd.networks.spec import NetworkSpec, find_weights, list_user_files
from edgekd.options import Training, UserFunction
from edgekd.step import (
    Context,
    Need,
    OnnxStep,
    Opened,
    Preview,
    TorchStep,
)
from edgekd.store import digest, write_json
from edgekd.teacher.file_inputs import check_words
from edgekd.teacher.onnx_file import OnnxFile
from edgekd.user_code import MODULE, title
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model


ORIGIN = "origin.json"
"""Of a bare file: the metadata that is carried along, and what of it does not ship."""


class Teacher(TorchStep):
    """The trained model that all stages are compared with: `[model]` in a recipe."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data", "seed"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    build: UserFunction = Field(
        description="function that builds the network: 'package.module:function' or "
        "'path/to/file.py:function'"
    )
    options: dict[str, object] = Field(
        {}, examples=[{"classes": 10}], description="keyword arguments of that function"
    )
    weights: str | None = Field(
        None,
        examples=["weights.pt"],
        description="file with a state_dict (.pt, .pth, "
        ".safetensors), or 'cache:NAME' after `edgekd data NAME`",
    )
    replace_head: bool = Field(
        False,
        examples=[False],
        description="the last layer may differ in shape from the "
        "weights; it is then initialised anew",
    )
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"size": 224}],
        description="model input, where it differs from the dataset",
    )
    train: Training | None = Field(
        None,
        description="options of its training, if the run has to train it; otherwise give weights",
    )
    licence: str | None = Field(
        None, exclude=True, description="licence of the model, for the bundle's manifest"
    )

    @model_validator(mode="after")
    def _knows_something(self) -> Self:
        has_weights = self.weights is not None or self.build.startswith(f"{MODULE}:")
        if self.train is None and not has_weights:
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
        return {**list_user_files(self.spec, root), **self.input.content(root)}

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        from edgekd.training.environment import describe_environment

        return describe_environment(self.train.precision) if self.train is not None else {}

    def scaled(self, effort: float) -> Self:
        if self.train is None:
            return self
        return self.model_copy(update={"train": self.train.scaled(effort)})

    def check_early(self, root: Path) -> None:
        from edgekd.networks.trainable import build_early

        build_early(self.spec, root=root)

    def input_size(self, root: Path) -> tuple[int, int] | None:
        """Return (height, width) of the images that it takes, where recipe, weights or net say."""
        if self.input.size is not None:
            return self.input.height_width
        from edgekd.networks.input_hints import find_size
        from edgekd.networks.trainable import build_early

        weights = None if self.weights is None else find_weights(self.weights, root)
        return find_size(build_early(self.spec, root=root), weights)

    def input_forms(self, root: Path) -> tuple[InputForm, ...]:
        """Return nothing: its arrays are read by their own form."""
        return ()

    def class_names(self, root: Path) -> tuple[str, ...]:
        """Return nothing: a network states no names."""
        return ()

    def without_labels(self) -> Self:
        if self.train is not None:
            raise RecipeError(
                "the model is trained in the run, which needs labels, and the data has none; give "
                f"its weights ({option('model.weights', 'file.pt')}), or data with labels"
            )
        return self

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        from edgekd.networks.trainable import create_model

        preprocess = context.data.choose_preprocess(self.input, root=context.root)
        if preprocess.reads == "text" and self.weights is not None and self.train is None:
            check_words(self.input, self.weights)
        model: Model = create_model(
            self.spec, preprocess, root=context.root, data=context.data, given=self.input
        )
        is_given = self.train is None and self.input.mean is None
        if not isinstance(preprocess, ImagePreprocess) or not is_given:
            return model
        return self._normalised(model, preprocess, context)

    def _normalised(self, model: Model, preprocess: ImagePreprocess, context: Context) -> Model:
        """Return the given network with the normalisation that fits it."""
        from edgekd.networks.trainable import predictor_of
        from edgekd.teacher.conventions import choose_convention, conventions

        sample, _ = context.data.raw("train", np.arange(1))
        listed = conventions(
            self.input, preprocess.channels, in_colour=sample["image"].shape[3] == 3
        )
        tried = {
            title: context.data.choose_preprocess(spec, root=context.root)
            for title, spec in listed.items()
        }
        try:
            found, note = choose_convention(
                tried,
                lambda one: predictor_of(replace(model, preprocess=one), context.task),
                context.data,
                name=title(self.build),
                identity=digest(self.model_dump(mode="json"), dict(self.content(context.root))),
            )
        except ModelError:
            for told in model.notes:  # where its weights were found may be what is wrong
                context.progress.say(told)
            raise
        return replace(model, preprocess=found, notes=(*model.notes, note))

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        if self.train is None:
            return
        from edgekd.training.transfer import Lesson, transfer

        transfer(model, Lesson(), context, self.train, work=work, title=self.name)


class OnnxTeacher(OnnxFile, OnnxStep):
    """A bare ONNX file as the model: it can be quantized, measured and bundled, but not trained."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    licence: str | None = Field(
        None, exclude=True, description="licence of the model, for the bundle's manifest"
    )

    def content(self, root: Path) -> Mapping[str, str]:
        return self.hashes(root)

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        return self.look(context)

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        from edgekd.exporters.onnx_files import load_onnx, save_onnx
        from edgekd.exporters.onnx_metadata import list_left_out, split_metadata, state_pixels
        from edgekd.exporters.strip import strip

        source_file = self.file(context.root)
        model = load_onnx(source_file)
        ships, preprocess = strip(model), self.preprocess(source_file, context)
        if isinstance(preprocess, ImagePreprocess) and not preprocess.in_graph:
            state_pixels(
                ships,
                mean=preprocess.mean,
                std=preprocess.std,
                colours=preprocess.colours,
                layout=preprocess.axes,
                resize=preprocess.form.resize,
            )
        save_onnx(ships, folder / f"model.{FP32}.onnx")
        origin = Origin(metadata=split_metadata(ships)[0], left_out=tuple(list_left_out(model)))
        write_json(folder / ORIGIN, asdict(origin))
        write_preprocess(folder, preprocess)
