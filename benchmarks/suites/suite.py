"""A suite: models, setups and timing in one TOML file, to repeat a measurement."""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from edgekd.benchmarks.bench import Inputs
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.benchmarks.runtimes import RUNTIMES
from edgekd.benchmarks.runtimes.providers import provider_name
from edgekd.benchmarks.suites.models import fill_weights, find_file, quantize_at_random
from edgekd.errors import RecipeError


@dataclass(frozen=True)
class Found:
    """A file that a suite names, and where it is."""

    text: str
    path: Path


def _found(value: object, info: ValidationInfo) -> Found:
    if not isinstance(value, str):
        raise ValueError("expected a path, or package:NAME/path/inside/it")
    return Found(value, find_file(value, info.context["folder"] if info.context else Path()))


File = Annotated[
    Found, PlainValidator(_found), PlainSerializer(lambda found: found.text, return_type=str)
]
Count = Annotated[int, Field(ge=1, le=256)]


class Section(BaseModel):
    """Base of all tables of a suite: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Setups(Section):
    """How every file is run: each runtime with each provider, threads, streams and batch."""

    runtimes: tuple[str, ...] = Field(
        ("onnxruntime",), min_length=1, description=f"runtimes: {', '.join(RUNTIMES)}"
    )
    providers: tuple[str, ...] = Field(
        ("",),
        min_length=1,
        description="execution providers of ONNX Runtime (cpu, cuda, ...), or devices of OpenVINO",
    )
    threads: tuple[Count, ...] = Field(
        (1,), min_length=1, description="threads that one inference uses"
    )
    streams: tuple[Count, ...] = Field(
        (1,), min_length=1, description="inferences that run at the same time"
    )
    batches: tuple[Count, ...] = Field((1,), min_length=1, description="samples per call")
    options: dict[str, str] = Field(
        {}, description="session options of the runtime, by its own names"
    )

    @field_validator("runtimes")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in RUNTIMES]
        if unknown:
            raise ValueError(f"the runtime {unknown[0]!r} is unknown; known: {', '.join(RUNTIMES)}")
        return names

    def each(self) -> list[Setup]:
        """Return every combination but that of batches, the reference's first."""
        axes = itertools.product(self.runtimes, self.providers, self.threads, self.streams)
        return [
            Setup(name, provider_name(name, place), inner, outer, tuple(self.options.items()))
            for name, place, inner, outer in axes
        ]


class SuiteTiming(Section):
    """How long each model is timed; see `edgekd.benchmarks.measurement.Timing`."""

    rounds: int = Field(6, ge=3, le=100, description="number of fresh processes per file and setup")
    blocks: int = Field(
        40, ge=2, le=1000, description="number of interleaved blocks of calls per process"
    )
    block_s: float = Field(0.004, gt=0, le=10, description="length of a block in seconds")
    warmup_s: float = Field(
        0.1, gt=0, le=60, description="warm-up before the first block, in seconds"
    )
    time_limit_s: float = Field(
        120.0,
        gt=0,
        le=86_400,
        description="time limit per model, in seconds; no round is "
        "started after it, once there are three",
    )
    precision: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="add rounds until all 95 % intervals are within +- this share",
    )
    rate_hz: float | None = Field(
        None,
        ge=0.01,
        le=1e6,
        description="calls per second at a fixed rate, like the frames of a camera",
    )

    def timing(self) -> Timing:
        """Return it as the timing core takes it."""
        return Timing(**self.model_dump())


class SuiteModel(Section):
    """One network; `file` in the first setup is the reference of its session."""

    name: str = Field(min_length=1, max_length=80, description="title of the model's table")
    file: File = Field(
        description="the reference file: a path, or package:NAME/path/inside/it.onnx"
    )
    variants: tuple[File, ...] = Field((), description="files to compare with it")
    random_weights: bool = Field(
        False,
        description="fill weights of which `file` contains only the shapes, like the light "
        "models of the onnx package",
    )
    int8: bool = Field(False, description="also time an INT8 version, calibrated on random inputs")
    feeds: File | None = Field(None, description="an .npz of real inputs; default: random inputs")
    shapes: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(
        {}, description="shapes of random inputs by name, or [length] of a free axis by its symbol"
    )

    def inputs(self, batches: tuple[int, ...]) -> Inputs:
        """Return what all files are fed with."""
        feeds = None if self.feeds is None else self.feeds.path
        return Inputs(feeds, self.shapes or None, batches)

    @property
    def note(self) -> str:
        """A note on files that were made only for timing; "" if there are none."""
        made = ["random weights"] * self.random_weights + ["INT8 with random ranges"] * self.int8
        if not made:
            return ""
        return f"{' and '.join(made)}: its outputs mean nothing, only its speed is shown"

    def files(self, folder: Path) -> list[Path]:
        """Write what has to be made to `folder` and return all files, the reference first.

        Raises:
            ModelError: a file cannot be made.
        """
        first = self.file.path
        stem = first.stem
        if self.random_weights:
            first = folder / f"{stem}.fp32.onnx"
            fill_weights(self.file.path, first)
        made = []
        if self.int8:
            made.append(folder / f"{stem}.int8.onnx")
            quantize_at_random(first, made[0], shapes=self.shapes)
        return [first, *made, *(variant.path for variant in self.variants)]


class Suite(Section):
    """A suite: the models and settings of `edgekd bench --suite`."""

    title: str = Field(min_length=1, max_length=200, description="title of the suite")
    device: str = Field("local", description="device to measure on, unless --device names another")
    setups: Setups = Field(Setups(), description="how every file is run: runtimes, threads, ...")
    timing: SuiteTiming = Field(SuiteTiming(), description="how long each model is measured")
    models: tuple[SuiteModel, ...] = Field(
        min_length=1, description="the models; each is measured in its own session"
    )

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: tuple[SuiteModel, ...]) -> tuple[SuiteModel, ...]:
        names = [model.name for model in models]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two models are called {twice[0]!r}")
        return models


def shipped_suites() -> dict[str, Path]:
    """Return the suites that come with edgekd, by name."""
    folder = Path(__file__).parent
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_suite(name_or_path: str) -> Suite:
    """Read a suite that ships, by its name, or a file.

    Raises:
        RecipeError: no such suite; or every fault found, in one paragraph.
    """
    shipped = shipped_suites()
    path = shipped.get(name_or_path) or Path(name_or_path)
    if not path.is_file():
        raise RecipeError(
            f"the suite {name_or_path} does not exist; name one that ships "
            f"({', '.join(shipped)}), or give the path of a .toml file"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"the suite {path} cannot be read as TOML: {error}") from error
    try:
        return Suite.model_validate(table, context={"folder": path.resolve().parent})
    except ValidationError as error:
        faults = "; ".join(_faults(error))
        raise RecipeError(f"the suite {path} cannot be used: {faults}") from error


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]
        ).removeprefix(".")
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(fault["loc"][-1]), _keys(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{where} is not a known key{hint}"
        else:
            plain = fault["type"] in ("missing", "value_error")
            got = "" if plain else f" (got {fault['input']!r:.60})"
            yield f"{where}: {fault['msg'].removeprefix('Value error, ')}{got}"


def _keys() -> list[str]:
    tables: list[type[BaseModel]] = [Suite, Setups, SuiteTiming, SuiteModel]
    return sorted({key for table in tables for key in table.model_fields})
