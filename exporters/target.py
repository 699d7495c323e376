"""The files that `edgekd export` starts from, and what a target makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.trtexec.shapes import BATCH, Range
from edgekd.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one network."""

    path: Path
    """A bundle or another folder with `model.<variant>.onnx`, or one ONNX file."""
    files: Mapping[Variant | None, Path]
    """By variant; None: a file that does not say what it is."""
    batch: Range = BATCH
    """Least, usual and largest number of samples in a call."""
    lengths: Mapping[str, Range]
    """Of other free axes, by their symbol."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What a target made of a source."""

    text: str
    """To show where nothing is written: commands, or what the files would be."""
    notes: str | None = None
    """To show where files are written; None: the text."""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """To write: name -> content."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for a program, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that a network can be exported for."""

    name: str
    """As a user reads it, as in "tensorrt-VERSION"."""
    about: str
    takes: Callable[[str], bool]
    """Whether a text names it."""
    export: Callable[[Source, str], Exported]
    build: Callable[[Source, str], Exported] | None = None
    """Does on this machine what the files are for; None: there is nothing to do."""
    read: Callable[[Source, str, Path], Exported] | None = None
    """Reads the folder of results that the device wrote; None: it writes none."""


def open_source(
    path: Path, *, batch: Range = BATCH, lengths: Mapping[str, Range] | None = None
) -> Source:
    """Find the files of a network.

    Raises:
        ModelError: there are none.
    """
    if path.is_file():
        return Source(path=path, files={None: path}, batch=batch, lengths=lengths or {})
    names = {variant: path / f"model.{variant}.onnx" for variant in get_args(Variant)}
    files = {cast("Variant | None", v): file for v, file in names.items() if file.is_file()}
    if not files:
        raise ModelError(
            f"{path} is neither an ONNX file nor a folder with model.{FP32}.onnx; give the bundle "
            "of a run, or an ONNX file"
        )
    found = {**text_lengths(path), **(lengths or {})}
    return Source(path=path, files=files, batch=batch, lengths=found)


def text_lengths(folder: Path) -> dict[str, Range]:
    """Return the length of texts in a bundle, by the symbol of that axis."""
    from edgekd.benchmarks.feeds import model_inputs
    from edgekd.data.preprocess import FILE, read_preprocess
    from edgekd.data.text_preprocess import TextInputs

    if not (folder / FILE).is_file():
        return {}
    preprocess = read_preprocess(folder)
    if not isinstance(preprocess, TextInputs):
        return {}
    longest = preprocess.max_length
    shapes = [i.shape for f in folder.glob("model.*.onnx") for i in model_inputs(f)]
    symbols = {shape[1] for shape in shapes if len(shape) > 1 and isinstance(shape[1], str)}
    return {symbol: (1, longest, longest) for symbol in sorted(symbols) if symbol}
