"""Numbers as tables write them: decimal commas, thousands, and columns of measured numbers.

"1,234" alone may be 1234 or 1.234, so a column is looked at as a whole before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError

MOST_LEVELS = 20
"""A column with more unlike numbers than this, of which one is not whole, is measured."""
Decimal = Literal["point", "comma", "either"]
"""The decimal sign of a column; "either": 1,5 as well as 2.5."""
_COMMA = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:[.   ]\d{3})+),\d+")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_UNCLEAR = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_POINTS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")
"""1.234 or 1.234.567, where the comma is the decimal sign."""
WAY_OUT = "write numbers with a decimal point and no thousands separators: 1234 or 1.234"


def parse_number(text: str, decimal: Decimal = "either") -> float:
    """Return a number, with the decimal sign of its column.

    Args:
        text: 1234.5 or 1,234.5; with a comma 1234,5 or 1.234,5.
        decimal: with "either", one comma alone is the decimal sign.

    Raises:
        ValueError: it is none.
    """
    found = text.strip()
    if decimal != "point" and _COMMA.fullmatch(found):
        return float(re.sub(r"[.   ]", "", found).replace(",", "."))
    if decimal == "comma" and _POINTS.fullmatch(found):
        return float(found.replace(".", ""))
    return float(found.replace(",", "") if _THOUSANDS.fullmatch(found) else found)


@dataclass
class Written:
    """What the numbers of a column show of its decimal sign: an example of each, or ""."""

    comma: str = ""
    thousands: str = ""
    point: str = ""
    unclear: str = ""

    @property
    def alone(self) -> bool:
        """Whether it has only numbers that may be either."""
        return bool(self.unclear) and not (self.comma or self.thousands or self.point)

    def see(self, text: str) -> None:
        """Take a cell into account."""
        found = text.strip()
        if "," not in found:
            if "." in found and not _POINTS.fullmatch(found):
                self.point = found
        elif _UNCLEAR.fullmatch(found):
            self.unclear = found
        elif _THOUSANDS.fullmatch(found):
            self.thousands = found
        elif _COMMA.fullmatch(found):
            self.comma = found

    def decide(self, beside: Iterable[Written] = (), *, separator: str = "") -> Decimal:
        """Return the decimal sign.

        Args:
            beside: the other columns of the file, which count where this one is unclear.
            separator: of the file's columns, which counts where these are too: no decimal comma
                stands in a file with commas, and a semicolon is used because the comma is taken.

        Raises:
            ValueError: it has both, or it may be either.
        """
        if self.comma and self.thousands:
            raise ValueError(
                f"{self.comma!r} with a decimal comma and {self.thousands!r} with commas between "
                f"thousands; {WAY_OUT}"
            )
        if self.comma:
            return "either" if self.point else "comma"
        if not self.alone:
            return "point"
        others = list(beside)
        if any(other.comma for other in others):
            return "comma"
        if separator == "," or any(other.thousands or other.point for other in others):
            return "point"
        if separator == ";":
            return "comma"
        whole, part = self.unclear.split(",")
        raise ValueError(
            f"{self.unclear!r}, which may be {whole}{part} or {whole}.{part}; {WAY_OUT}"
        )


def read_numbers(names: Sequence[str], where: str) -> NDArray[np.float32]:
    """Return a column of texts as numbers.

    Raises:
        DataError: one is none, or its commas may mean two things.
    """
    found = np.empty(len(names), np.float32)
    decimal = find_decimal(names, where)
    for i, name in enumerate(names):
        try:
            found[i] = parse_number(name, decimal)
        except ValueError as error:
            raise DataError(
                f"{where}: a target is not a number ({name!r}, sample {i}); regression needs one "
                "for each sample"
            ) from error
    return found


def find_decimal(names: Iterable[str], where: str) -> Decimal:
    """Return the decimal sign of texts that are numbers.

    Raises:
        DataError: their commas may mean two things.
    """
    written = Written()
    for name in names:
        written.see(name)
    try:
        return written.decide()
    except ValueError as error:
        raise DataError(f"{where}: there is {error}") from error


def is_measured(names: Sequence[str]) -> bool:
    """Tell whether these are measured numbers: too many unlike ones to be classes."""
    unlike = set(names)
    if len(unlike) <= MOST_LEVELS:
        return False
    try:
        return any(not parse_number(name).is_integer() for name in unlike)
    except (ValueError, OverflowError):
        return False
