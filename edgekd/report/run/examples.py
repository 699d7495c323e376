"""What samples show, as the page draws it: masks side by side, queries with their neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.evaluation.examples import Masks, Retrieval, Thing


@dataclass(frozen=True, kw_only=True)
class MaskCard:
    """The panels of one sample: what it is, a PNG as a data URI, and a note."""

    index: int
    panels: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A sample; its image is a PNG in the page or none."""

    of: Thing
    image: str


@dataclass(frozen=True, kw_only=True)
class QueryCard:
    """A query, and the neighbours that teacher and shipped file find."""

    query: Shown
    answers: tuple[tuple[str, tuple[Shown, ...]], ...]


def safe_image(uri: str | None) -> str:
    """Return a PNG in a data URI; "" for anything else, which a damaged record may contain."""
    found = uri or ""
    return found if re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", found) else ""


def mask_cards(masks: Masks) -> list[MaskCard]:
    """Return the panels of each sample, in the order in which they are read."""
    cards = []
    for sample in masks.samples:
        right = f"{sample.teacher_right:.1f} %"
        panels = [
            ("picture", safe_image(sample.image), ""),
            ("true mask", safe_image(sample.true), ""),
            ("teacher", safe_image(sample.teacher), right),
        ]
        if sample.shipped is not None:
            panels.append(("shipped", safe_image(sample.shipped), f"{sample.shipped_right:.1f} %"))
        panels.append(("difference", safe_image(sample.difference), ""))
        cards.append(MaskCard(index=sample.index, panels=tuple(p for p in panels if p[1])))
    return cards


def colours(masks: Masks) -> list[tuple[str, str]]:
    """Return name and colour of each class."""
    return [(n, c) for n, c in masks.colours if re.fullmatch(r"#[0-9a-f]{6}", c)]


def queries(retrieval: Retrieval) -> list[QueryCard]:
    """Return the queries as they are shown."""
    return [
        QueryCard(
            query=_shown([one.query])[0],
            answers=tuple(
                (who, _shown(found))
                for who, found in (("teacher", one.teacher), ("shipped", one.shipped))
                if found
            ),
        )
        for one in retrieval.shown
    ]


def _shown(things: Sequence[Thing]) -> tuple[Shown, ...]:
    return tuple(Shown(of=thing, image=safe_image(thing.image)) for thing in things)
