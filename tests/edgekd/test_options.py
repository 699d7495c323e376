"""The options that recipe lines share."""

from __future__ import annotations

import pytest

from edgekd.options import parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("8 ms", 8e-3), ("250us", 250e-6), ("0.5 s", 0.5), ("2", 2.0)]
)
def test_times_as_text(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)
