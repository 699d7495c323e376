"""Read manifest.json as untrusted input: file names stay inside the folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edgekd.bundle.sums import NAME
from edgekd.errors import ModelError

MANIFEST = "manifest.json"
FORMAT = 2
_LIMIT_BYTES = 64 << 20


def _stays(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is not a file name that a bundle may contain")
    return name


Name = Annotated[str, AfterValidator(_stays)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    """Keys that it does not know are for people and later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Interval(_Part):
    """A value with its 95 % interval."""

    value: Number
    low: Number
    high: Number
    n: int


class Measured(_Part):
    """The measurements of one file, as far as `verify` shows them."""

    latency_s: Interval | None = None


class Model(_Part):
    """One ONNX file."""

    file: Name
    variant: str
    batch: int | None
    """The batch that is fixed in it, or None."""
    sha256: str
    measured: Measured | None = None


class Tolerance(_Part):
    """How far an output may be from the golden one."""

    absolute: Number
    same_winner: bool = False
    """[1, classes]: a winner that leads by more than `absolute` must stay the winner."""


class Golden(_Part):
    """Raw inputs, the tensors they become, and what every variant answers."""

    synthetic: bool
    reason: str = ""
    """Why they are made up, or may ship."""
    samples: tuple[Annotated[dict[str, Name], Field(min_length=1)], ...] = Field(min_length=1)
    inputs: Name
    outputs: dict[str, Name]
    input_tolerance: tuple[dict[str, Number], ...]
    """For each sample: input -> how far it may be off."""
    output_tolerance: dict[str, dict[str, Tolerance]]
    rule: str = ""
    """How the tolerances were chosen, as text."""


class PreprocessFiles(_Part):
    """The file that describes how a raw sample becomes the inputs."""

    file: Name = "preprocess.json"
    files: tuple[Name, ...] = ()
    """Those that belong to it."""


class Shipped(_Part):
    """The file that was chosen."""

    file: Name
    variant: str


class Port(_Part):
    """An input or output of the files."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    kind: str = ""
    """Of an output: classes, labels, values, ..."""
    signal: str = ""


class Timing(_Part):
    """How it was timed."""

    threads: int = Field(1, ge=1, le=256)


class Manifest(_Part):
    """The content of a bundle's manifest."""

    format: int
    name: str
    models: tuple[Model, ...] = Field(min_length=1)
    golden: Golden
    preprocess: PreprocessFiles = PreprocessFiles()
    timing: Timing = Timing()
    shipped: Shipped
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    labels: Name | None = None
    recipe: Mapping[str, Any] = {}
    conditions: Mapping[str, Any] = {}

    @property
    def files(self) -> set[str]:
        """Every file that it names."""
        golden = self.golden
        raw = {name for sample in golden.samples for name in sample.values()}
        how = {self.preprocess.file, *self.preprocess.files}
        models = {model.file for model in self.models}
        found = {golden.inputs, *golden.outputs.values(), *raw, *models, *how, self.shipped.file}
        return found | ({self.labels} if self.labels else set())


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle.

    Raises:
        ModelError: it is damaged, of another version, or names what no bundle may contain.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise ModelError(f"{path} is larger than {_LIMIT_BYTES:,} bytes; this is not a bundle")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}); copy the bundle again") from error
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise ModelError(
            f"{path} has the format {content['format']} and this edgekd reads {FORMAT}; "
            "use the edgekd that wrote it, or a newer one"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}"
            for one in error.errors()[:5]
        )
        raise ModelError(
            f"{path} is not the manifest of a bundle ({faults}); copy the bundle again"
        ) from error
