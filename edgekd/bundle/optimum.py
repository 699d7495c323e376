"""A bundle that `ORTModelFor...from_pretrained` of optimum loads: settings and tokenizer beside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import Variant


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """The settings of a model of transformers, as they lie in its stage."""

    folder: Path
    loads: str
    """The class of optimum that loads its files, such as ORTModelForSequenceClassification."""


def copy_pretrained(settings: Pretrained, folder: Path) -> tuple[str, ...]:
    """Copy the settings to the top of a bundle, where `from_pretrained` looks; return the names.

    A name that the bundle itself uses is left out.
    """
    names = []
    for file in sorted(settings.folder.iterdir()):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
            names.append(file.name)
    return tuple(names)


def describe_loading(
    loads: str, settings: Sequence[str], files: Mapping[Variant, str], variant: Variant
) -> Iterator[str]:
    """Yield how optimum loads the files of a bundle, in Markdown."""
    listed = ", ".join(f"`{name}`" for name in settings)
    lines = [
        f"from optimum.onnxruntime import {loads}",
        *(
            ["from transformers import AutoTokenizer"]
            if "tokenizer_config.json" in settings
            else []
        ),
        "",
        f'model = {loads}.from_pretrained("bundle", file_name="{files[variant]}")',
        *(
            ['tokenizer = AutoTokenizer.from_pretrained("bundle")']
            if "tokenizer_config.json" in settings
            else []
        ),
    ]
    code = "\n".join(lines)
    yield (
        f"optimum loads each of the files with a free batch; {listed} are those of the model that "
        f"was exported. `bundle` is the folder of this card:\n\n```python\n{code}\n```"
    )
