"""A bare ONNX file in a recipe: its path and its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from edgekd.benchmarks.model_content import model_content
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import ArrayPreprocess, Preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.data.tokenizer_files import describe_lost
from edgekd.errors import ModelError
from edgekd.options import Options
from edgekd.step import Context, OnnxModel
from edgekd.store import digest, locate
from edgekd.teacher.file_inputs import check_words, image_spec, match_arrays, text_spec
from edgekd.teacher.file_lengths import fit_lengths

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgekd.exporters.file_facts import Entry


class OnnxFile(Options):
    """An untrusted ONNX file."""

    onnx: str = Field(description="path of the ONNX file, relative to the recipe")
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"mean": 127.5, "std": 127.5}],
        description="model input, where it differs from the dataset",
    )

    def file(self, root: Path) -> Path:
        """Return the file that `onnx` names."""
        return locate(self.onnx, root=root)

    def hashes(self, root: Path) -> dict[str, str]:
        """Return the hashes of the files that the options name.

        Raises:
            ModelError: the file does not exist.
        """
        path = self.file(root)
        if not path.is_file():
            raise ModelError(f"the model {path} does not exist; give the path of an .onnx file")
        model = model_content(path).key  # with its external data
        return {"onnx": model, **self.input.content(root)}

    def input_size(self, root: Path) -> tuple[int, int] | None:
        """Return (height, width) of the images that it takes; None: any, or it takes no images."""
        from edgekd.exporters.model_stats import facts

        entries = facts(self.file(root)).inputs
        try:
            spec, _ = image_spec(self.input, entries[0], 3, file=self.onnx)
        except (ModelError, IndexError):
            return None
        return spec.height_width

    def input_forms(self, root: Path) -> tuple[Entry, ...]:
        """Return the inputs that the file states."""
        from edgekd.exporters.model_stats import facts

        return facts(self.file(root)).inputs

    def class_names(self, root: Path) -> tuple[str, ...]:
        """Return the names of its classes, where metadata of the file states all of them."""
        from edgekd.exporters.model_stats import facts
        from edgekd.exporters.onnx_files import load_onnx
        from edgekd.exporters.onnx_metadata import stated_classes

        path = self.file(root)
        names = stated_classes({p.key: p.value for p in load_onnx(path).metadata_props})
        outputs = facts(path).outputs if names else ()
        classes = [entry.shape[1:] for entry in outputs]
        fits = len(classes) == 1 and len(names) in classes[0]
        return names if fits else ()

    def look(self, context: Context) -> OnnxModel:
        """Return the file with its inputs.

        Raises:
            ModelError: it cannot be read, or does not take the data.
        """
        from edgekd.exporters.onnx_files import load_onnx

        path = self.file(context.root)
        model = load_onnx(path)  # a file that cannot be read is refused here
        preprocess, notes = self._preprocess(path, context)
        for note in [*notes, *_precision_notes(model, path.name), *_origin_notes(model)]:
            context.progress.say(note)
        return OnnxModel(path, preprocess)

    def preprocess(self, path: Path, context: Context) -> Preprocess:
        """Return how samples become the inputs of the file, which now is at `path`.

        Raises:
            ModelError: it takes other inputs than the data gives.
        """
        return self._preprocess(path, context)[0]

    def _preprocess(self, path: Path, context: Context) -> tuple[Preprocess, list[str]]:
        from edgekd.exporters.model_stats import facts

        entries, data = facts(path).inputs, context.data
        sample, _ = data.raw("train", np.arange(1))
        if data.kind == "image" and len(entries) == 1:
            channels = sample["image"].shape[3]
            spec, notes = image_spec(self.input, entries[0], channels, file=self.onnx)
            preprocess, note = self._normalised(spec, path, context, in_colour=channels == 3)
            return preprocess, [*notes, *note]
        spec, inputs, notes = self.input, dict[str, str | None](), list[str]()
        if data.kind == "text":
            check_words(spec, self.onnx)
            spec, inputs, notes = text_spec(spec, entries, file=self.onnx)
        preprocess = data.choose_preprocess(spec, root=context.root)
        if isinstance(preprocess, TextInputs):
            lost = describe_lost(preprocess)
            notes += [lost] if lost else []
            preprocess = preprocess.changed(**inputs)
            if any(isinstance(side, int) for entry in entries for side in entry.shape[1:]):
                return preprocess, notes  # the file fixes the length
            asked = spec.max_length is not None
            preprocess, found = fit_lengths(path, preprocess, asked=asked, file=self.onnx)
            return preprocess, [*notes, *found]
        if isinstance(preprocess, ArrayPreprocess):
            arrays, notes = match_arrays(entries, sample, file=self.onnx)
            names = tuple(entry.name for entry in entries)
            have = tuple(sample[array].dtype.name for array in arrays)
            dtypes = tuple(
                own if entry.dtype == "?" else entry.dtype
                for entry, own in zip(entries, have, strict=True)
            )
            preprocess = ArrayPreprocess(
                names=names,
                arrays=() if arrays == names else arrays,
                dtypes=() if dtypes == have else dtypes,
                facts=tuple(one for one in preprocess.facts if one.array in arrays),
                targets=preprocess.targets,
            )
            return preprocess, notes
        wanted = {entry.name for entry in entries}
        if wanted != set(preprocess.input_names):
            raise ModelError(
                f"{self.onnx} takes the inputs {sorted(wanted)} and the data gives "
                f"{sorted(preprocess.input_names)}; give arrays of these names (an .npz or a "
                "callable) or another model"
            )
        return preprocess, []

    def _normalised(
        self, spec: InputSpec, path: Path, context: Context, *, in_colour: bool
    ) -> tuple[Preprocess, list[str]]:
        """Return how pixels are scaled: as the recipe or the file states it, else as is tried."""
        from edgekd.exporters.ort_session import predictor
        from edgekd.teacher.conventions import choose_convention, conventions

        def made(one: InputSpec) -> Preprocess:
            return context.data.choose_preprocess(one, root=context.root)

        if spec.mean is not None:
            return made(spec), []
        if spec.in_graph:  # uint8: the file scales by itself
            return made(spec.model_copy(update={"mean": 0.0, "std": 1.0})), []
        known = _known_scale(path)
        if known is not None:
            scale, where = known
            stated: dict[str, object] = {"mean": scale.mean, "std": scale.std}
            stated |= {} if spec.colours or not scale.colours else {"colours": scale.colours}
            return made(spec.model_copy(update=stated)), [where]
        channels = made(spec)
        count = channels.channels if channels.kind == "image" else 3
        tried = {t: made(s) for t, s in conventions(spec, count, in_colour=in_colour).items()}
        run = predictor(path)
        identity = digest(dict(self.hashes(context.root)))
        found, note = choose_convention(
            tried, lambda _: run, context.data, name=self.onnx, identity=identity
        )
        return found, [note]


def _known_scale(path: Path) -> tuple[InputSpec, str] | None:
    """Return the normalisation that the file's metadata states, and where it stands."""
    from edgekd.exporters.onnx_files import load_onnx
    from edgekd.exporters.onnx_metadata import stated_colours, stated_scale

    metadata = {p.key: p.value for p in load_onnx(path).metadata_props}
    found = stated_scale(metadata)
    if found is None:
        return None
    mean, std, where = found
    return InputSpec(mean=mean, std=std, colours=stated_colours(metadata)), where


def _precision_notes(model: ModelProto, name: str) -> list[str]:
    """Return a warning of a file whose weights are no float32: before anything is timed."""
    from edgekd.exporters.model_stats import find_float_type

    kind = find_float_type(model)
    if kind in ("", "float32"):
        return []
    return [
        f"warning: the weights of {name} are {kind}, and only float32 ones can be quantized: "
        "export the network in float32 (network.float() before torch.onnx.export). Its own file "
        f"is measured as it is, {kind}, whatever a file name says"
    ]


def _origin_notes(model: ModelProto) -> Iterator[str]:
    from edgekd.exporters.onnx_metadata import list_left_out, split_metadata

    carried, _ = split_metadata(model)
    if carried:
        yield f"metadata that ships as it is: {', '.join(carried)}"
    left_out = list_left_out(model)
    if left_out:
        yield (
            "removed from the file that ships, because it may identify the developer's machine: "
            f"{'; '.join(left_out)}"
        )
