"""The `[data]` table of a recipe, and the Dataset it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator

from edgekd.data.array_facts import ArrayOptions, check_meaning
from edgekd.data.arrays import dataset_from_parts, open_npy, open_npz
from edgekd.data.augment import Augment
from edgekd.data.dataset import Dataset
from edgekd.data.downloads import KnownData, open_known
from edgekd.data.form_options import FormOptions
from edgekd.data.images import SizesDiffer, open_folder
from edgekd.data.input_forms import InputForm
from edgekd.data.mask_files import find_folders
from edgekd.data.masks import open_masks, picture_root, refuse_masks
from edgekd.data.mixture import Extra, mix_sources
from edgekd.data.mnist_and_cifar import is_idx, open_cifar10, open_idx, refuse_pickle
from edgekd.data.model_classes import read_class_list
from edgekd.data.objects import NoSize, collect, resize_pictures
from edgekd.data.stored_splits import SplitOptions
from edgekd.data.table_pictures import Decoding
from edgekd.data.tables import SUFFIXES as TABLES
from edgekd.data.tables import open_table
from edgekd.data.written_numbers import find_decimal, parse_number
from edgekd.errors import DataError
from edgekd.options import UserFunction
from edgekd.progress import Progress, Silent
from edgekd.store import locate
from edgekd.tasks.task import Target
from edgekd.user_code import blame, is_given, resolve
from edgekd.wording import describe_root, option

KNOWN_DATA: tuple[str, ...] = get_args(KnownData)
Format = Literal["folder", "npz", "npy", "table", "idx", "cifar10"]
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


class Origin(ArrayOptions):
    """Where samples come from: exactly one of path, name and call."""

    path: str | None = Field(
        default=None,
        description="a folder of images (for segmentation images/ and masks/), an .npz or .npy, "
        "a table of texts or numbers, MNIST or CIFAR-10",
    )
    name: KnownData | None = Field(
        default=None, description="a public data set that `edgekd data NAME` has fetched"
    )
    call: UserFunction | None = Field(
        default=None,
        description="'package.module:function' or 'file.py:function', called without arguments, "
        "returning (inputs, targets), {'train': (inputs, targets), 'test': ...}, a torch Dataset "
        "or DataLoader; inputs alone where there are no labels",
    )
    format: Format | None = Field(
        default=None, description="format of `path`; set it if auto-detection fails"
    )
    text_column: str = Field(default="text", description="column of a table that contains the text")
    label_column: str | tuple[str, ...] = Field(
        default="label",
        description="column of a table that contains the label; several for numbers to predict, or "
        "for labels of 0 and 1",
    )
    size: int | tuple[int, int] | None = Field(
        default=None,
        examples=[224],
        description="size in pixels to which images are decoded: one side, or [height, width]",
    )
    licence: str | None = Field(
        default=None,
        description="licence of the data; default: the licence of a public data set, else unknown",
    )
    labels: tuple[str, ...] | None = Field(
        default=None,
        examples=[["cat", "dog"]],
        description="names of the classes, in the order of the model's outputs",
    )
    classes: str | None = Field(
        default=None,
        description="text file with the names of the model's classes in order, one per line, in "
        "place of `labels`; the data may have a part of them",
    )
    skip_broken: bool = Field(
        default=False,
        examples=[False],
        description="leave out samples that cannot be read, and list them",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(value is not None for value in (self.path, self.name, self.call)) != 1:
            raise ValueError("give exactly one of path, name and call")
        if self.labels is not None and self.classes is not None:
            raise ValueError("give labels or classes (a file with the names), not both")
        return self

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("duplicate class name")
        return value

    @property
    def decode_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def title(self) -> str:
        """The name of the source, for messages."""
        return str(self.path or self.name or self.call)


class FurtherSource(Origin):
    """A further source of training samples."""

    weight: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="samples drawn from this source per sample of the main source; default: each "
        "sample once per epoch",
    )


class Source(Origin, FormOptions):
    """The data of a run: its source and its splits."""

    validation: int | float = Field(
        default=0.1,
        examples=[0.1],
        description="validation split: share of the samples (below 1), or their number",
    )
    test: int | float = Field(
        default=0.1,
        examples=[0.1],
        description="test split: share of the samples (below 1), or their number, if the data has "
        "no test split",
    )
    calibration: int | None = Field(
        default=None,
        ge=1,
        examples=[512],
        description="number of training samples for calibration; default: 512, or all if there "
        "are fewer",
    )
    augment: Augment = Field(
        default=Augment(),
        examples=[{"flip": True, "crop": 4}],
        description="augmentation of training samples; teacher and student see the same view",
    )
    mix: tuple[FurtherSource, ...] = Field(
        default=(),
        description="further sources of training samples; validation, test and calibration use "
        "the main source only",
    )

    @field_validator("validation", "test")
    @classmethod
    def _share_or_count(cls, value: int | float) -> int | float:
        if value <= 0 or (isinstance(value, float) and value >= 1):
            raise ValueError(f"{value} is neither a share (0.1) nor a count (500) of samples")
        return value

    def split_options(self, seed: int) -> SplitOptions:
        """Return what decides the splits of the data."""
        return SplitOptions(
            validation=self.validation, test=self.test, calibration=self.calibration, seed=seed
        )


def open_source(
    spec: Source,
    *,
    root: Path,
    labelled: bool = True,
    wanted: Target | None = None,
    inputs: Sequence[InputForm] = (),
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open what `spec` names.

    Args:
        spec: which data, and which of its splits the data itself does not fix.
        root: relative paths start here.
        labelled: False leaves labels out, where there are any.
        wanted: how targets are read; None: by their form.
        inputs: of the file that gets the samples: an array of such a form is no image.
        skip_broken: adds to the recipe's.
        progress: reports while data is decoded.

    Raises:
        DataError: it is not there, not readable, or nothing that can be learned from.
    """
    listener = progress or Silent()
    read = _Reading(labelled=labelled, wanted=wanted, pictures=spec, inputs=inputs)
    main = _open_origin(spec, root, skip_broken, listener, read)
    if not spec.mix:
        return main
    extras = []
    for further in spec.mix:
        inherited: dict[str, object] = {"skip_broken": spec.skip_broken or further.skip_broken}
        if further.size is None and main.kind == "image":
            inherited["size"] = main.samples["image"].shape[1:3]
        alike = further.model_copy(update=inherited)
        dataset = _open_origin(alike, root, skip_broken, listener, read)
        name = f"the mixed source {further.title!r}"
        extras.append(Extra(name=name, dataset=dataset, weight=further.weight))
    return mix_sources(main, extras, progress=listener)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """How pictures and targets are read, of every source alike."""

    labelled: bool
    wanted: Target | None
    pictures: FormOptions
    inputs: Sequence[InputForm]


def _open_origin(
    spec: Origin, root: Path, skip_broken: bool, progress: Progress, read: _Reading
) -> Dataset:
    """Open one source, which may be one of several."""
    spec = spec.model_copy(update={"skip_broken": spec.skip_broken or skip_broken})
    if spec.classes is not None:
        spec = spec.model_copy(update={"labels": read_class_list(locate(spec.classes, root=root))})
    if spec.name is not None:
        dataset = open_known(spec.name, progress=progress)
    elif spec.call is not None:
        dataset = _called(spec, spec.call, root, read)
    else:
        dataset = _opened(spec, locate(str(spec.path), root=root), progress, read)
    dataset = _described(dataset, spec, read)
    if read.wanted == "identity":
        dataset = replace(dataset, identities="label" in dataset.targets)
    return dataset if read.labelled else replace(dataset, targets={}, labels=())


def _opened(spec: Origin, path: Path, progress: Progress, read: _Reading) -> Dataset:
    if not path.exists():
        raise DataError(f"the data {path} does not exist; {describe_root()}")
    way = read.pictures.form()
    match spec.format or _format(path):
        case "npz":
            return open_npz(
                path,
                labels=spec.labels,
                wanted=read.wanted,
                inputs=read.inputs,
                skip_broken=spec.skip_broken,
            )
        case "npy":
            return open_npy(path, inputs=read.inputs)
        case "table":
            return open_table(
                path,
                text_column=spec.text_column,
                label_column=spec.label_column,
                labels=spec.labels,
                wanted=read.wanted,
                labelled=read.labelled,
                skip_broken=spec.skip_broken,
                decoding=Decoding(size=spec.decode_size, way=way, progress=progress),
            )
        case "idx":
            return open_idx(path, labels=spec.labels)
        case "cifar10":
            return open_cifar10(path, labels=spec.labels)
    if read.wanted == "mask" and read.labelled:
        return open_masks(
            path,
            size=spec.decode_size,
            way=way,
            labels=spec.labels,
            skip_broken=spec.skip_broken,
            progress=progress,
        )
    if read.wanted == "label" and read.labelled:
        refuse_masks(path)
    pairs = [] if read.labelled else find_folders(path)
    root, without = picture_root(pairs) if pairs else (path, frozenset[str]())
    found = open_folder(
        root,
        size=spec.decode_size,
        way=way,
        labels=spec.labels,
        labelled=read.labelled,
        leave_out=without,
        skip_broken=spec.skip_broken,
        progress=progress,
    )
    return _with_values(found) if read.wanted == "value" else found


def _with_values(dataset: Dataset) -> Dataset:
    """Return folders that are named by a number ("23", "0,5") as numbers to predict."""
    try:
        decimal = find_decimal(dataset.labels, "the names of the folders")
        values = np.array([parse_number(name, decimal) for name in dataset.labels], np.float32)
    except ValueError:
        return dataset
    if not len(values):
        return dataset
    return replace(
        dataset, targets={"value": values[dataset.targets["label"]]}, labels=(), folders=()
    )


def _format(path: Path) -> Format:
    """Return the format of a path, from its name or the names in it."""
    if path.is_dir():
        if (path / "data_batch_1.bin").is_file():
            return "cifar10"
        if (path / "data_batch_1").is_file():
            refuse_pickle(path / "data_batch_1")
        return "idx" if is_idx(path) else "folder"
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        refuse_pickle(path)
    if suffix == ".npz":
        return "npz"
    if suffix == ".npy":
        return "npy"
    if suffix in TABLES:
        return "table"
    raise DataError(
        f"{path.name!r} is not a known format; give a folder of images, an .npz with x and "
        "y, an .npy, a .csv, .tsv or .jsonl with text and label, or a .txt. Anything else: "
        f"{option('data.call', 'file.py:function')}"
    )


def _called(spec: Origin, call: str, root: Path, read: _Reading) -> Dataset:
    """Call the user's function and make a Dataset of what it returns."""
    where = "data" if is_given(call) else f"the result of {call}"
    function = resolve(call, root=root)
    try:
        value = function()
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{call} raised {type(error).__name__}: {error} ({blame(error)}); "
            "it is called without arguments and returns the data: fix it"
        ) from error
    if isinstance(value, Dataset):
        return value
    try:
        collected = collect(value, where=where)
        parts, form = resize_pictures(collected, spec.decode_size, read.pictures.form)
    except NoSize as signal:
        raise SizesDiffer(
            f"the pictures of {where} differ in size; give the size that they become, for "
            f"instance {option('data.size', 224)}"
        ) from signal
    names = spec.labels or parts.labels or None
    dataset = dataset_from_parts(
        parts,
        labels=names,
        wanted=read.wanted,
        inputs=read.inputs,
        skip_broken=spec.skip_broken,
        where=where,
    )
    columns = {
        **({"x": collected.columns} if collected.columns and dataset.kind == "array" else {}),
        **(dict.fromkeys(dataset.targets, collected.targets) if collected.targets else {}),
    }
    return replace(dataset, columns=columns, form=form or dataset.form)


def _described(dataset: Dataset, spec: Origin, read: _Reading) -> Dataset:
    """Return it with the recipe's words for labels and licence."""
    labels = spec.labels or dataset.labels
    if dataset.labels and len(labels) < len(dataset.labels):
        raise DataError(
            f"{option('data.labels')} has {len(labels)} names, but the data has "
            f"{len(dataset.labels)} classes; name "
            "each of them, in order"
        )
    form = dataset.form
    if dataset.kind == "image" and form is None:
        form = read.pictures.form(*dataset.samples["image"].shape[1:])
    check_meaning(spec, dataset.samples)
    licence = spec.licence or dataset.licence
    return replace(dataset, labels=labels, licence=licence, form=form, meaning=spec)
