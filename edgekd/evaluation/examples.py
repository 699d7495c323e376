"""What samples of the test split show, by task: numbers, masks, neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.evaluation.results import ClassChange


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How near predicted numbers are to the true ones, on all test samples."""

    r2: float
    """In percent."""
    error: float
    """The mean absolute error."""


@dataclass(frozen=True, kw_only=True)
class Scattered:
    """One number of test samples, and what teacher and shipped file predict; drawn evenly."""

    name: str
    """"" where there is one number only."""
    true: tuple[float, ...]
    teacher: tuple[float, ...]
    shipped: tuple[float, ...]
    """Empty where the teacher ships."""
    fits: tuple[Fit, ...]
    """Of the teacher, and of what ships if that is another file."""


@dataclass(frozen=True, kw_only=True)
class MaskSample:
    """A test sample with its masks, each a PNG as a data URI."""

    index: int
    image: str | None
    """None where the samples are no pictures."""
    true: str
    teacher: str
    shipped: str | None
    """None where the teacher ships."""
    difference: str
    """Of teacher and shipped file; where the teacher ships, of it and the true mask."""
    teacher_right: float
    shipped_right: float
    """Share of the pixels that count, in percent."""


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Masks side by side, and the IoU of each class on the test split."""

    classes: tuple[ClassChange, ...]
    samples: tuple[MaskSample, ...]
    colours: tuple[tuple[str, str], ...]
    """Name and colour (#rrggbb) of the classes in these masks."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A sample as it is shown: a picture as a data URI, a text, or its label alone."""

    index: int
    label: str
    image: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A query of the test split, and what is nearest to it, the nearest first."""

    query: Thing
    teacher: tuple[Thing, ...]
    shipped: tuple[Thing, ...]
    """Empty where the teacher ships."""


@dataclass(frozen=True, kw_only=True)
class RecallAt:
    """Share of queries with a sample of their label among the `k` nearest, in percent."""

    k: int
    teacher: float
    shipped: float


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Retrieval within the test split."""

    queries: int
    mates: float
    """How many others of its label a query has, on average."""
    recalls: tuple[RecallAt, ...]
    shown: tuple[Neighbours, ...]
