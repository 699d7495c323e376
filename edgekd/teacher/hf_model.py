"""What a folder of transformers states, whether it is exported as it is or trained here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from edgekd.data.input_forms import InputForm
from edgekd.data.input_options import InputSpec
from edgekd.errors import ModelError
from edgekd.options import Options
from edgekd.tasks import REFERENCE

LONGEST = 512
"""Tokens of a text where the tokenizer states no limit, or a greater one."""
_PROBLEMS: Mapping[str, str] = {
    "regression": "regression",
    "multi_label_classification": "multilabel",
}
"""`problem_type` in config.json -> task of edgekd."""


class HfModel(Options):
    """The options that every model of transformers has."""

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
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"max_length": 128}],
        description="model input, where it differs from the dataset",
    )
    licence: str | None = Field(
        None, exclude=True, description="licence of the model, for the bundle's manifest"
    )

    def content(self, root: Path) -> Mapping[str, str]:
        """Return the hashes of the folder's files, and of those that `input` names."""
        from edgekd.exporters.hf_export import hash_folder

        return {"hf": hash_folder(self.folder(root)), **self.input.content(root)}

    def input_forms(self, root: Path) -> tuple[InputForm, ...]:
        """Return nothing: its arrays are read by their own form."""
        return ()

    def class_names(self, root: Path) -> tuple[str, ...]:
        """Return the names of its classes, where config.json has others than LABEL_0."""
        from edgekd.exporters.hf_export import label_names

        return label_names(self.config(root))

    def natural_task(self, root: Path) -> str | None:
        """Return the task of edgekd that its outputs are for; None: classification, by labels."""
        if self.task_of(root) not in (
            *("text-classification", "image-classification", "audio-classification"),
        ):
            return REFERENCE
        return problem_of(self.config(root))

    def task_of(self, root: Path) -> str:
        """Return the task of optimum: that of the recipe, or by the architecture."""
        from edgekd.exporters.hf_export import infer_task

        return self.task or infer_task(self.config(root))

    def folder(self, root: Path) -> Path:
        """Return the folder that `hf` stands for."""
        from edgekd.exporters.hf_export import find_folder

        return find_folder(self.hf, root=root)

    def config(self, root: Path) -> dict[str, Any]:
        """Return its settings."""
        from edgekd.exporters.hf_export import read_config

        return read_config(self.folder(root))


def problem_of(config: Mapping[str, Any]) -> str | None:
    """Return the task that the settings of a head state; None: classification."""
    labels = config.get("id2label")
    is_single = isinstance(labels, Mapping) and len(labels) == 1
    stated = _PROBLEMS.get(str(config.get("problem_type")))
    return stated or ("regression" if is_single else None)


def stated_input(folder: Path, asked: InputSpec) -> dict[str, object]:
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
