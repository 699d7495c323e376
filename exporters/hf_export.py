"""Export a folder of transformers by optimum-onnx, which knows its architectures and tasks.

Names of inputs and outputs, settings and tokenizer stay as optimum wants them, so that its
`ORTModelFor...` classes load what edgekd makes of the file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.errors import ModelError, one_line, require
from edgekd.store import cache_folder, digest, file_sha256, locate, replacing

MODEL, CONFIG = "model.onnx", "config.json"
_KEPT = (".json", ".txt", ".model")
"""What is kept beside the file: settings, tokenizer, preprocessor."""
_WEIGHTS = (".safetensors", ".bin")
_TASKS: Mapping[str, str] = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForImageClassification": "image-classification",
    "ForSemanticSegmentation": "semantic-segmentation",
    "ForObjectDetection": "object-detection",
    "ForAudioClassification": "audio-classification",
    "Model": "feature-extraction",
}
"""End of the architecture in config.json -> task of optimum. The last one fits nearly all."""
_CLASSES: Mapping[str, str] = {
    "text-classification": "ORTModelForSequenceClassification",
    "token-classification": "ORTModelForTokenClassification",
    "question-answering": "ORTModelForQuestionAnswering",
    "multiple-choice": "ORTModelForMultipleChoice",
    "fill-mask": "ORTModelForMaskedLM",
    "image-classification": "ORTModelForImageClassification",
    "semantic-segmentation": "ORTModelForSemanticSegmentation",
    "audio-classification": "ORTModelForAudioClassification",
    "feature-extraction": "ORTModelForFeatureExtraction",
}
_OF_MAKER = ("_name_or_path", "name_or_path")
"""Keys of settings that often are a path of the developer's machine."""


def find_folder(name: str, *, root: Path) -> Path:
    """Return the folder that `name` stands for; nothing is downloaded.

    Args:
        name: a folder, 'cache:NAME' of `edgekd data`, or a model of the Hugging Face hub that was
            downloaded to this machine before.
        root: relative paths start here.

    Raises:
        ModelError: it is not there, or has no config.json or no weights.
    """
    path = locate(name, root=root)
    if name.startswith("cache:"):
        path = cache_folder() / "data" / name.removeprefix("cache:")
    if not path.is_dir():
        path = _from_hub(name, path)
    if not (path / CONFIG).is_file():
        raise ModelError(
            f"{path} contains no {CONFIG}, so it is not a model of transformers; give the folder "
            "that model.save_pretrained(FOLDER) and tokenizer.save_pretrained(FOLDER) wrote"
        )
    if not any(file.suffix in _WEIGHTS for file in path.iterdir()):
        raise ModelError(
            f"{path} contains no weights (.safetensors or .bin); save the model there: "
            "model.save_pretrained(FOLDER)"
        )
    return path


def _from_hub(name: str, path: Path) -> Path:
    if not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", name):
        raise ModelError(f"there is no folder {path}; give one that save_pretrained wrote")
    with _quiet():
        hub = require("huggingface_hub", extra="hf")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except Exception as error:  # of many kinds, by its version
        raise ModelError(
            f"{name} is neither a folder ({path}) nor a model that was downloaded to this machine "
            f"before; edgekd downloads no models: huggingface-cli download {name}, or give a folder"
        ) from error


def hash_folder(folder: Path) -> str:
    """Return a hash of all that the export reads."""
    read = (*_KEPT, *_WEIGHTS)
    files = sorted(file for file in folder.iterdir() if file.suffix in read)
    return digest({file.name: file_sha256(file) for file in files})


def read_config(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """Return a file of settings; nothing where it is not there.

    Raises:
        ModelError: it is damaged.
    """
    path = folder / name
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({one_line(error)[:200]})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a table of settings; save the model again")
    return content


def infer_task(config: Mapping[str, Any]) -> str:
    """Return the task of optimum for the architecture in config.json.

    Raises:
        ModelError: it names none, or one whose task is not known here.
    """
    named = config.get("architectures") or []
    found = next((t for end, t in _TASKS.items() if named and str(named[0]).endswith(end)), None)
    if found is None:
        raise ModelError(
            f"{CONFIG} names the architecture {named[0] if named else '(none)'}, whose task is not "
            f"known here; state it: task = 'text-classification' (others: {', '.join(_CLASSES)})"
        )
    return found


def class_for(task: str) -> str:
    """Return the class of optimum that loads a file of this task."""
    return _CLASSES.get(task, "ORTModelForCustomTasks")


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes in the order of the outputs; none where they are made up."""
    table = config.get("id2label")
    if not isinstance(table, Mapping) or len(table) < 2:
        return ()
    numbers = {str(i): f"LABEL_{i}" for i in range(len(table))}
    names = {str(number): str(name) for number, name in table.items()}
    if set(names) != set(numbers) or names == numbers:
        return ()
    return tuple(names[number] for number in numbers)


def export_hf(folder: Path, *, task: str, opset: int | None) -> Path:
    """Export a folder of transformers into the cache; return the folder with `MODEL` and settings.

    Args:
        folder: see `find_folder`.
        task: of optimum.
        opset: None: what optimum takes for the architecture.

    Raises:
        MissingExtra: optimum is not installed.
        ModelError: it does not know the architecture or the task, or makes several files of it.
    """
    with _quiet():
        require("optimum", extra="hf")
        exporter = require("optimum.exporters.onnx", extra="hf")
    key = digest(hash_folder(folder), task, opset, _versions())[:24]
    done = cache_folder() / "hf" / key
    if done.is_dir():
        return done
    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        try:
            with _quiet():
                exporter.main_export(
                    str(folder),
                    output=scratch,
                    task=task,
                    opset=opset,
                    device="cpu",
                    dtype="fp32",
                    do_validation=False,  # compared on real samples afterwards
                    local_files_only=True,
                )
        except Exception as error:  # optimum, transformers and torch raise what they like
            raise ModelError(
                f"optimum cannot export {folder.name} for the task {task} "
                f"({type(error).__name__}: {one_line(error)[:400]}); give a task that fits the "
                "architecture, or export it yourself and give the .onnx file"
            ) from error
        _keep(Path(scratch), folder, done, task)
    return done


def _keep(made: Path, folder: Path, done: Path, task: str) -> None:
    files = sorted(file.name for file in made.glob("*.onnx"))
    if files != [MODEL]:
        raise ModelError(
            f"optimum makes {len(files)} files of {folder.name} for the task {task} "
            f"({', '.join(files)}), and edgekd takes a network that is one file; give another "
            "task, or one of these files"
        )
    with replacing(done) as partial:
        partial.mkdir(exist_ok=True)
        for file in made.iterdir():
            shutil.copyfile(file, partial / file.name)
        for file in folder.iterdir():  # what optimum leaves out, such as a slow tokenizer's files
            if file.suffix in _KEPT and file.is_file() and not (partial / file.name).exists():
                shutil.copyfile(file, partial / file.name)


def settings_files(folder: Path) -> list[Path]:
    """Return the files beside the model that `from_pretrained` reads."""
    plain = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix in _KEPT
        and plain.fullmatch(file.name)
        and not file.name.endswith(".index.json")
    )


def copy_settings(source: Path, target: Path) -> None:
    """Copy settings and tokenizer, without what tells where they lay."""
    target.mkdir(parents=True, exist_ok=True)
    for file in settings_files(source):
        content = read_config(source, file.name) if file.suffix == ".json" else {}
        if any(key in content for key in _OF_MAKER):
            kept = {key: value for key, value in content.items() if key not in _OF_MAKER}
            (target / file.name).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf8")
        else:
            shutil.copyfile(file, target / file.name)


def open_network(folder: Path, *, task: str, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Return the network in PyTorch as a module that takes and returns what the file does.

    Raises:
        ModelError: an output of the file is not one of the network's.
    """
    from torch import Tensor, nn

    with _quiet():
        tasks = require("optimum.exporters.tasks", extra="hf").TasksManager
        model = tasks.get_model_from_task(task, str(folder), local_files_only=True).eval()

    class Called(nn.Module):
        """Calls the network by the names of its inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
            found = self.model(**dict(zip(inputs, arrays, strict=True)))
            lacking = [name for name in outputs if name not in found]
            if lacking:
                raise ModelError(
                    f"the exported file has the output {lacking[0]!r}, and the network "
                    f"gives {', '.join(found)}"
                )
            return tuple(found[name] for name in outputs)

    return Called().eval()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("optimum", "optimum-onnx", "transformers", "torch")}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what the three packages print; errors are still raised."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            logging.disable(logging.WARNING)  # single loggers of theirs have levels of their own
            yield
        finally:
            logging.disable(before)
