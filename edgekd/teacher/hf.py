"""A folder of transformers as the model: exported by optimum-onnx, then treated as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from edgekd.artifact import FP32, Artifact
from edgekd.data.input_forms import InputForm
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import read_preprocess
from edgekd.errors import ModelError
from edgekd.step import Context, Need, OnnxStep, Opened, Preview
from edgekd.store import write_json
from edgekd.tasks import REFERENCE
from edgekd.teacher.step import OnnxTeacher

SETTINGS = "hf"
"""Folder of a stage with config.json and the tokenizer's files, as `from_pretrained` reads them."""
TASK = "hf.json"
"""Of a stage: the task, and the class of optimum that loads the file."""
PREFIX = "hf:"
"""Before a folder that is given as the model by a flag."""
LONGEST = 512
"""Tokens of a text where the tokenizer states no limit, or a greater one."""
_SAMPLES = 8


class HfTeacher(OnnxStep):
    """A model of transformers: it can be quantized, measured and bundled, but not trained."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    hf: str = Field(
        description="folder that save_pretrained of transformers wrote, 'cache:NAME' after "
        "`edgekd data NAME`, or the name of a model in the cache of Hugging Face on this machine"
    )
    task: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+$",
        examples=["text-classification"],
        description="task of optimum: text-classification, feature-extraction, ...; default: by "
        "the architecture in config.json",
    )
    export_opset: int | None = Field(
        None,
        ge=13,
        le=20,
        description="ONNX operator set version; default: what optimum takes for the architecture",
    )
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"max_length": 128}],
        description="model input, where it differs from the dataset",
    )
    licence: str | None = Field(
        None, exclude=True, description="licence of the model, for the bundle's manifest"
    )

    def content(self, root: Path) -> Mapping[str, str]:
        from edgekd.exporters.hf_export import find_folder, hash_folder

        return {"hf": hash_folder(find_folder(self.hf, root=root)), **self.input.content(root)}

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        from importlib.metadata import version

        return {name: version(name) for name in ("optimum-onnx", "transformers", "torch")}

    def input_size(self, root: Path) -> tuple[int, int] | None:
        """Return (height, width) of the images that it takes; None: any, or it takes no images."""
        return self._file(root)[0].input_size(root)

    def input_forms(self, root: Path) -> tuple[InputForm, ...]:
        """Return nothing: its arrays are read by their own form."""
        return ()

    def class_names(self, root: Path) -> tuple[str, ...]:
        """Return the names of its classes, where config.json has others than LABEL_0."""
        from edgekd.exporters.hf_export import find_folder, label_names, read_config

        return label_names(read_config(find_folder(self.hf, root=root)))

    def natural_task(self, root: Path) -> str | None:
        """Return the task of edgekd that its outputs are for; None: classification, by labels."""
        from edgekd.exporters.hf_export import find_folder, read_config

        folder = find_folder(self.hf, root=root)
        config, task = read_config(folder), self._task(folder)
        if task not in ("text-classification", "image-classification", "audio-classification"):
            return REFERENCE
        labels = config.get("id2label")
        is_single = isinstance(labels, Mapping) and len(labels) == 1
        problems = {
            "regression": "regression",
            "multi_label_classification": "multilabel",
        }
        return problems.get(str(config.get("problem_type")), "regression" if is_single else None)

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        file, folder = self._file(context.root)
        length = file.input.max_length
        if length is not None and self.input.max_length is None:
            context.progress.say(f"{self.hf}: texts are cut after {length} tokens")
        context.progress.say(f"{self.hf} is exported by optimum for {self._task(folder)}")
        return file.look(context)

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        from edgekd.evaluation.fidelity import write_parity
        from edgekd.exporters.hf_export import class_for, copy_settings

        file, exported = self._file(context.root)
        file.apply(source, context, folder)
        copy_settings(exported, folder / SETTINGS)
        task = self._task(exported)
        write_json(folder / TASK, {"task": task, "loads": class_for(task)})
        write_parity(folder, self._compare(folder, context))

    def _compare(self, folder: Path, context: Context) -> tuple[Any, ...]:
        """Hold the file against the network in PyTorch, on real samples and at the edges."""
        from edgekd.evaluation.parity_check import check_export
        from edgekd.exporters.hf_export import find_folder, open_network
        from edgekd.exporters.model_stats import facts

        path, preprocess = folder / f"model.{FP32}.onnx", read_preprocess(folder)
        batch = next(context.data.batches("train", preprocess, size=_SAMPLES))
        outputs = [entry.name for entry in facts(path).outputs]
        found = find_folder(self.hf, root=context.root)
        network = open_network(
            found, task=self._task(found), inputs=tuple(batch.inputs[0]), outputs=outputs
        )
        return check_export(network, path, batch.inputs[0], outputs=outputs, preprocess=preprocess)

    def _task(self, folder: Path) -> str:
        from edgekd.exporters.hf_export import infer_task, read_config

        return self.task or infer_task(read_config(folder))

    def _file(self, root: Path) -> tuple[OnnxTeacher, Path]:
        """Return the exported file as a model, and the folder in which it lies."""
        from edgekd.exporters.hf_export import MODEL, export_hf, find_folder

        folder = find_folder(self.hf, root=root)
        exported = export_hf(folder, task=self._task(folder), opset=self.export_opset)
        spec = self.input.model_copy(update=_stated(exported, self.input))
        return OnnxTeacher(onnx=str(exported / MODEL), input=spec), exported


def _stated(folder: Path, asked: InputSpec) -> dict[str, object]:
    """Return what the settings state of the input, where the recipe leaves it open."""
    from edgekd.exporters.hf_export import read_config

    if (folder / "preprocessor_config.json").is_file():
        return _of_images(read_config(folder, "preprocessor_config.json"), asked)
    if asked.tokenizer is not None:
        return {}
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        if (folder / "vocab.txt").is_file():
            tokenizer = folder / "vocab.txt"
        else:
            raise ModelError(
                f"{folder.name}: there is no tokenizer.json beside the model; save a fast "
                "tokenizer there, AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER), or "
                "give input.tokenizer"
            )
    found: dict[str, object] = {"tokenizer": str(tokenizer)}
    if asked.max_length is None:
        found["max_length"] = _longest(folder)
    return found


def _longest(folder: Path) -> int:
    """Return the greatest length of a text that tokenizer and positions allow, 512 at most."""
    from edgekd.exporters.hf_export import read_config

    config = read_config(folder)
    limits = [read_config(folder, "tokenizer_config.json").get("model_max_length")]
    limits.append(read_config(folder, "sentence_bert_config.json").get("max_seq_length"))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in ("roberta", "xlm-roberta"):
        positions -= 2  # its numbers begin after that of padding
    known = [n for n in (*limits, positions) if isinstance(n, (int, float)) and n >= 1]
    return int(min([*known, LONGEST]))


def _of_images(settings: Mapping[str, Any], asked: InputSpec) -> dict[str, object]:
    """Return size, mean and std as a preprocessor of transformers states them, in pixel units."""
    found: dict[str, object] = {}
    size = settings.get("crop_size") if settings.get("do_center_crop") else settings.get("size")
    if isinstance(size, Mapping):
        height = size.get("height", size.get("shortest_edge"))
        size = (height, size.get("width", height))
    if asked.size is None and size is not None:
        found["size"] = size
    if asked.mean is None:
        unit = 255.0 if settings.get("do_rescale", True) else 1.0
        mean, std = settings.get("image_mean"), settings.get("image_std")
        if not settings.get("do_normalize", True) or mean is None or std is None:
            mean, std = (0.0,), (1.0,)
        scaled = [tuple(round(unit * float(v), 4) for v in part) for part in (mean, std)]
        found["mean"], found["std"] = (part[0] if len(part) == 1 else part for part in scaled)
    return found
