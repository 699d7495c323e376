"""Read a recipe from TOML into one frozen value. The union of all steps is here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.measurement import Timing
from edgekd.benchmarks.stats.looks import plan_looks
from edgekd.data.source import Source
from edgekd.devices.options import DeviceOptions
from edgekd.distill.step import Distill
from edgekd.errors import RecipeError
from edgekd.options import Budget, Options, UserFunction
from edgekd.prune.step import Prune
from edgekd.quantization.step import Quantize
from edgekd.recipe.faults import faults
from edgekd.recipe.overrides import changed
from edgekd.step import Step
from edgekd.teacher.hf import HfTeacher
from edgekd.teacher.hf_network import HfNetwork
from edgekd.teacher.step import OnnxTeacher, Teacher

QUICK_EPOCHS = 2
QUICK_TIMING = Timing(rounds=3, blocks=10, warmup_s=0.05)
QUICK_SAMPLES: Mapping[str, int] = {
    "train": 2048,
    "calibration": 128,
    "validation": 512,
    "test": 512,
}
"""At most so many of each split."""

AnyStep = Annotated[Distill | Prune | Quantize, Field(discriminator="name")]
"""Every step that a recipe may name. A new one is added here."""


_NEED_NETWORK = ("distill", "prune")


def _which(model: object) -> str:
    if not isinstance(model, Mapping):
        return type(model).__name__
    if "hf" in model:
        return HfNetwork.__name__ if model.get("trainable") else HfTeacher.__name__
    return OnnxTeacher.__name__ if "onnx" in model else Teacher.__name__


AnyTeacher = Annotated[
    Annotated[Teacher, Tag(Teacher.__name__)]
    | Annotated[OnnxTeacher, Tag(OnnxTeacher.__name__)]
    | Annotated[HfTeacher, Tag(HfTeacher.__name__)]
    | Annotated[HfNetwork, Tag(HfNetwork.__name__)],
    Discriminator(_which),
]
"""What `[model]` may be: the keys `onnx`, `hf` and `trainable` distinguish them."""


class Measure(Options):
    """How speed is measured."""

    rounds: int = Field(
        8, ge=3, le=100, examples=[8], description="largest number of fresh processes per file"
    )
    stop_when_decided: bool = Field(
        True,
        description="end a session earlier, after 3 rounds or more, where its interval decides or "
        "rules out a gain of 3 %; the rate of false claims stays below 5 %",
    )
    blocks: int = Field(
        20, ge=2, le=1000, description="number of interleaved blocks of calls per process"
    )
    block_s: float = Field(0.004, gt=0, le=10, description="length of a block in seconds")
    time_limit_s: float = Field(
        120.0, gt=0, description="stop after the round in which this many seconds have passed"
    )
    precision: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="after `rounds`, add rounds until all intervals are within +- this share",
    )

    def timing(self) -> Timing:
        """Return it as the timing core takes it."""
        options = self.model_dump(exclude={"stop_when_decided"})
        early = self.stop_when_decided and self.precision is None
        return Timing(**options, looks=plan_looks(self.rounds) if early else ())


def _listed(value: object) -> object:
    """Return 'int8,fp32' as a list of variants; a word for a rule stays one."""
    if isinstance(value, str) and value not in ("fastest", "smallest"):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class ExportOptions(Options):
    """How every network leaves PyTorch."""

    opset: int = Field(
        20,
        ge=13,
        le=20,
        examples=[20],
        description="ONNX operator set version: 20 for TensorRT 10.3 (JetPack 6) and ONNX Runtime, "
        "17 for TensorRT 8.5 and 8.6 (JetPack 5), 13 for 8.2; below 18 torch's older exporter "
        "writes the file",
    )
    fixed_shape: bool = Field(
        True,
        examples=[True],
        description="also write files with the batch size fixed to 1, for phones",
    )
    ship: Annotated[
        Literal["fastest", "smallest"] | tuple[Variant, ...], BeforeValidator(_listed)
    ] = Field(
        "fastest",
        examples=["fastest"],
        description="the file to ship, of those kept: 'fastest' on the first device (the smallest "
        "of those not proven slower), 'smallest', or variants in order of preference such as "
        "['int8']; the bundle has every kept variant of that network, or of a list those named",
    )


class Recipe(Options):
    """A recipe: data, model, devices, budget and steps of a run."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="name of the run; its folder is runs/NAME",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        examples=[0],
        description="seed of all random choices; equal seeds give equal runs",
    )
    effort: float = Field(
        1.0,
        gt=0,
        le=10,
        examples=[1.0],
        description="multiplies the epochs of every training; 0.1 gives a quick trial",
    )
    quick: bool = Field(
        False,
        description="only a look at the ladder: short trainings on few samples, three rounds of "
        "timing, every stage is kept, no bundle; it decides nothing",
    )
    allow_poor_teacher: bool = Field(
        False,
        description="continue with a given model that is not better than a guess on validation",
    )
    tensorboard: bool = Field(
        False,
        description="also write the curves of every training for TensorBoard, to tensorboard/ in "
        "the run folder; the page training.html there shows them in any case",
    )
    task: UserFunction | None = Field(
        None,
        examples=["classification"],
        description="'classification', 'multilabel', 'regression', 'segmentation', 'embedding', "
        "'reference' (compares with the model's own outputs, reads no labels), or "
        "'path/to/file.py:function' that returns a task; default: "
        "classification if the data has labels; without labels any of these is reference",
    )
    data: Source = Field(description="the data and its splits")
    model: AnyTeacher = Field(description="the model to compress; every stage is compared with it")
    devices: tuple[DeviceOptions, ...] = Field(
        (DeviceOptions(name="local"),),
        max_length=8,
        json_schema_extra={"minItems": 1},
        description="devices to measure on: names, or tables with runtime and threads; the first "
        "decides what is kept, the kept files are measured on all",
    )

    @field_validator("devices")
    @classmethod
    def _differ(cls, devices: tuple[DeviceOptions, ...]) -> tuple[DeviceOptions, ...]:
        if not devices:
            raise ValueError("give at least one, for instance 'local'")
        setups = [(device.name, device.setup()) for device in devices]
        if len(set(setups)) < len(setups):
            raise ValueError("duplicate device; the devices or their setups must differ")
        return devices

    budget: Budget = Field(Budget(), description="largest loss of quality and largest latency")
    measure: Measure = Field(Measure(), description="how speed is measured")
    export: ExportOptions = Field(ExportOptions(), description="options of the ONNX export")
    steps: tuple[AnyStep, ...] = Field(
        (), description="the steps, in their order; a step that does not pay is rolled back"
    )

    @model_validator(mode="before")
    @classmethod
    def _file_or_network(cls, table: Any) -> Any:
        """Let a model of transformers be a network where a step or its training needs one."""
        model = table.get("model") if isinstance(table, Mapping) else None
        if not isinstance(model, Mapping) or "hf" not in model or "trainable" in model:
            return table
        steps = table.get("steps")
        listed = steps if isinstance(steps, (list, tuple)) else ()
        names = {step.get("name") for step in listed if isinstance(step, Mapping)}
        needs = "train" in model or not names.isdisjoint(_NEED_NETWORK)
        return {**table, "model": {**model, "trainable": needs}}

    @model_validator(mode="after")
    def _order(self) -> Self:
        line: list[Step] = [self.model, *self.steps]
        for i, step in enumerate(self.steps):
            reason = step.check_order(line[: i + 1])
            if reason is not None:
                raise ValueError(f"steps[{i}] ({step.name}) {reason}")
        return self

    @model_validator(mode="after")
    def _made(self) -> Self:
        ship = self.export.ship
        absent = [] if isinstance(ship, str) else [v for v in ship if v not in self.permitted]
        if absent or not ship:
            named = f"names {', '.join(absent)}, which no step makes" if absent else "names nothing"
            raise ValueError(
                f"export.ship {named}; here it may name {' and '.join(self.permitted)}, or be "
                "fastest or smallest"
            )
        return self

    @property
    def trains(self) -> bool:
        """Whether it has a network, so that torch is needed."""
        return any(step.makes_network for step in (self.model, *self.steps))

    @property
    def permitted(self) -> tuple[Variant, ...]:
        """The variants that may ship."""
        made = {variant for step in self.steps for variant in step.makes}
        return (FP32, *sorted(made - {FP32}))

    @property
    def early(self) -> tuple[Step, ...]:
        """The steps that write previews of their variants for every network before them."""
        return tuple(step for step in self.working_steps if step.previews)

    @property
    def working_steps(self) -> tuple[Step, ...]:
        """The steps as they are done: trainings scaled by `effort`, or cut for a quick look."""
        return tuple(map(self._scaled, self.steps))

    @property
    def working_teacher(self) -> Step:
        """The teacher's step, likewise."""
        return self._scaled(self.model)

    def _scaled(self, step: Step) -> Step:
        effort = self.effort
        if self.quick and step.training is None:
            return step.shorten(QUICK_SAMPLES["calibration"])
        if self.quick and step.training is not None:
            effort = min(effort, QUICK_EPOCHS / step.training.epochs)
        return step if effort == 1.0 else step.scaled(effort)

    @property
    def timing(self) -> Timing:
        """How long a session takes."""
        return QUICK_TIMING if self.quick else self.measure.timing()


def titled(steps: Sequence[Step]) -> list[tuple[str, Step]]:
    """Number the steps that come more than once: prune, prune 2."""
    seen: dict[str, int] = {}
    named = []
    for step in steps:
        seen[step.name] = seen.get(step.name, 0) + 1
        named.append(
            (step.name if seen[step.name] == 1 else f"{step.name} {seen[step.name]}", step)
        )
    return named


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with edgekd, by name."""
    folder = Path(__file__).parent / "shipped"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the raw table of a recipe file, or of a shipped recipe's name.

    Raises:
        RecipeError: no such file, or not TOML.
    """
    shipped = shipped_recipes()
    if not path.is_file() and str(path) in shipped:
        path = shipped[str(path)]
    if not path.is_file():
        raise RecipeError(
            f"the recipe {path} does not exist; write one with `edgekd init`, or name a shipped "
            f"recipe: {', '.join(shipped)}"
        )
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from error


def load_recipe(path: Path, *, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `changes` are 'dotted.key=value' texts that win over the file.

    Raises:
        RecipeError: every fault found, in one paragraph.
    """
    return parse_recipe(changed(read_toml(path), changes), origin=str(path))


def parse_recipe(table: Mapping[str, Any], *, origin: str) -> Recipe:
    """Validate a raw table; `origin` is named in the error.

    Raises:
        RecipeError: every fault found, in one paragraph.
    """
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{origin}: {faults(error, Recipe)}") from error


def build_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, for editors."""
    return {
        **TypeAdapter(Recipe).json_schema(),
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edgekd recipe",
    }


def find_root(path: Path) -> Path:
    """Return the folder that a recipe's relative paths start from: its own."""
    if not path.is_file() and str(path) in shipped_recipes():
        return Path.cwd()
    return path.resolve().parent
