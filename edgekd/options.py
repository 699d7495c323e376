"""Groups of options that several tables of a recipe share. Without torch, to load fast."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Options(BaseModel):
    """Base of all tables of a recipe: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


USER_FUNCTION = "a function of the user"
UserFunction = Annotated[str, USER_FUNCTION]
"""An option that names code: 'package.module:function' or 'path/to/file.py:function'."""


class Training(Options):
    """Options of a training: length, learning rate, precision."""

    epochs: int = Field(10, ge=1, le=10_000, description="number of passes over the training split")
    batch_size: int = Field(128, ge=1, le=65_536, description="number of samples per step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd uses Nesterov momentum 0.9")
    learning_rate: float = Field(
        0.1, gt=0, le=10, description="peak learning rate; decays to zero along a cosine"
    )
    weight_decay: float = Field(
        5e-4, ge=0, le=1, description="weight decay of tensors with two dimensions or more"
    )
    warmup_epochs: float = Field(
        1.0, ge=0, examples=[1.0], description="epochs of linear rise to the peak learning rate"
    )
    clip_norm: float | None = Field(
        None, gt=0, examples=[1.0], description="clip the norm of the gradient to this"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        examples=[0.999],
        description="average the weights over the steps, keeping this share of the average in each "
        "(exponential moving average); the average is evaluated and ships; default: the last "
        "weights",
    )
    patience: int | None = Field(
        None,
        ge=1,
        examples=[10],
        description="evaluate on validation after every epoch and stop when the first metric has "
        "not improved for this many; the weights of the best epoch ship; default: all epochs are "
        "trained and the last one ships",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        examples=["auto"],
        description="auto: bf16 autocast if the processor supports it, otherwise fp32",
    )

    def scaled(self, effort: float) -> Self:
        """Return the same training with `effort` times the epochs, at least one."""
        epochs = max(1, math.ceil(self.epochs * effort))
        return self.model_copy(
            update={"epochs": epochs, "warmup_epochs": min(self.warmup_epochs, epochs / 2)}
        )


_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_TIME = re.compile(r"\s*(\d+(?:\.\d*)?(?:e-?\d+)?|\.\d+)\s*(s|ms|us|µs|μs)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Latency:
    """A time in the unit that it was given in."""

    value: float
    unit: str

    @property
    def seconds(self) -> float:
        """It in seconds."""
        return self.value * _UNITS[self.unit]

    def __str__(self) -> str:
        """Write it as it was asked: '2 ms'."""
        return f"{self.value:g} {self.unit}"

    def in_unit(self, seconds: float) -> str:
        """Return another time in this unit, in three digits."""
        return f"{seconds / _UNITS[self.unit]:.3g}"


def parse_latency(value: object) -> Latency:
    """Return a time from '8 ms', '250us' or '0.5s'.

    Raises:
        ValueError: it is something else, such as a number without a unit, or not above 0.
    """
    text = f"{value:g}" if isinstance(value, (int, float)) else str(value).strip()
    match = _TIME.fullmatch(text)
    if match is None:
        if re.fullmatch(r"[\d.]+(?:e-?\d+)?", text):
            raise ValueError(f"{text} has no unit; write '{text} ms' or '{text} s'")
        raise ValueError(f"{text!r} is not a time; write for instance '8 ms', '250 us' or '0.5 s'")
    found = Latency(float(match[1]), match[2].lower().replace("μ", "µ"))
    if not 0 < found.seconds < math.inf:
        raise ValueError(f"{text!r} is not above 0; write for instance '8 ms'")
    return found


_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?b)\s*", re.IGNORECASE)


def parse_bytes(value: object) -> int:
    """Return a number of bytes from '2 GB' or '500MB'.

    Raises:
        ValueError: it is something else, such as a number without a unit, or below 1 byte.
    """
    match = _SIZE.fullmatch(str(value))
    units = {name.lower(): factor for name, factor in _BYTES.items()}
    size = int(float(match[1]) * units[match[2].lower()]) if match else 0
    if size < 1:
        raise ValueError(f"{value!r} is not a size; write for instance '2 GB' or '500 MB'")
    return size


def _as_size(value: object) -> object:
    parse_bytes(value)
    return str(value).strip()


class Cache(Options):
    """A store for the teacher's outputs, so that a long training runs the teacher only once."""

    views: int = Field(
        4,
        ge=1,
        le=10_000,
        examples=[4],
        description="augmented views of each sample; they come again after as many epochs",
    )
    max_bytes: Annotated[str, BeforeValidator(_as_size)] = Field(
        "2 GB",
        examples=["2 GB"],
        description="largest size of all teacher caches on disk; fewer views are stored if they "
        "do not fit",
    )
    top: int | None = Field(
        None,
        ge=1,
        examples=[10],
        description="store only so many of the greatest class scores; the others become equal",
    )

    @property
    def bytes(self) -> int:
        """`max_bytes` as a number."""
        return parse_bytes(self.max_bytes)


def _as_asked(value: object) -> object:
    return None if value is None else str(parse_latency(value))


class Budget(Options):
    """Largest loss of quality against the teacher, and largest latency."""

    max_drop: float = Field(
        1.0,
        ge=0,
        examples=[1.0],
        description="largest loss of quality against the teacher, in the unit of the first metric",
    )
    min_snr: float | None = Field(
        None,
        ge=-100,
        le=150,
        examples=[20.0],
        description="without labels, instead of max_drop: least signal-to-noise ratio of each "
        "output against the teacher's, in dB; default 20: a difference of a tenth of the output, "
        "root mean square",
    )
    min_agreement: float | None = Field(
        None,
        ge=0,
        le=100,
        examples=[99.0],
        description="without labels, instead of max_drop: least share of samples, in percent, "
        "whose greatest value of each output is that of the teacher; default 95 for a classifier "
        "that is trained in the run, whose outputs cannot reach an SNR of 20",
    )
    max_latency: Annotated[str | None, BeforeValidator(_as_asked)] = Field(
        None,
        examples=["8 ms"],
        description="largest latency of the file that ships, with its unit: '8 ms', '250 us', "
        "'0.5 s'",
    )
    strict: bool = Field(
        False,
        examples=[False],
        description="compare the upper end of the 95 % interval with max_drop, not the estimate",
    )

    @property
    def latency(self) -> Latency | None:
        """Return the largest latency, if one was asked for."""
        return None if self.max_latency is None else parse_latency(self.max_latency)

    @property
    def max_latency_s(self) -> float | None:
        """Return it in seconds."""
        return None if self.latency is None else self.latency.seconds

    @property
    def floors(self) -> dict[Literal["min_snr", "min_agreement"], float]:
        """Return the least values asked for, by key."""
        found: dict[Literal["min_snr", "min_agreement"], float] = {}
        if self.min_snr is not None:
            found["min_snr"] = self.min_snr
        if self.min_agreement is not None:
            found["min_agreement"] = self.min_agreement
        return found
