"""The lengths of texts that a network or a file takes: found by trial, and told in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def find_edge(runs: Callable[[int], bool], good: int, bad: int) -> int:
    """Return the last length from `good` towards `bad` on which it runs; `bad` is excluded."""
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if runs(middle) else (good, middle)
    return good


def describe_lengths(low: int, high: int, most: int) -> Iterator[str]:
    """Return what happens to texts outside `low` to `high` tokens, where `most` were wanted."""
    if low == high and (high != most or low > 1):
        yield f"takes texts of {low} tokens; shorter ones are padded, longer ones cut"
        return
    if high < most:
        yield f"takes at most {high} tokens; longer texts are cut there"
    if low > 1:
        yield f"takes at least {low} tokens; shorter texts are padded to that"
