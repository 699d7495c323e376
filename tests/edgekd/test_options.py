"""The options that recipe lines share."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.budget import describe_latency, over_budget
from edgekd.evaluation.results import Finalist
from edgekd.options import Budget, Cache, parse_bytes, parse_latency


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("8 ms", 8e-3, "8 ms"),
        ("8ms", 8e-3, "8 ms"),
        ("250us", 250e-6, "250 us"),
        (" 2.5 µs ", 2.5e-6, "2.5 µs"),
        ("2.5 μs", 2.5e-6, "2.5 µs"),  # the Greek letter, as some keyboards write it
        ("0.5 s", 0.5, "0.5 s"),
        (".5S", 0.5, "0.5 s"),
        ("1e-3 s", 1e-3, "0.001 s"),
    ],
)
def test_a_latency_keeps_the_unit_that_it_was_given_in(
    text: str, seconds: float, shown: str
) -> None:
    found = Budget.model_validate({"max_latency": text})
    assert found.max_latency_s == pytest.approx(seconds)
    assert found.max_latency == str(parse_latency(text)) == shown
    assert Budget.model_validate(found.model_dump()) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2", "2 has no unit; write '2 ms' or '2 s'"),
        (2, "2 has no unit; write '2 ms' or '2 s'"),
        (0.002, "0.002 has no unit; write '0.002 ms' or '0.002 s'"),
        ("8 minutes", "'8 minutes' is not a time; write for instance '8 ms', '250 us' or '0.5 s'"),
        ("1,5 ms", "'1,5 ms' is not a time"),
        ("ms", "'ms' is not a time"),
        ("-1 ms", "'-1 ms' is not a time"),
        ("0 ms", "'0 ms' is not above 0"),
        ("1e999 s", "'1e999 s' is not above 0"),
        (True, "has no unit"),
    ],
)
def test_a_time_that_is_not_clear_is_refused_with_its_forms(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=r"max_latency") as refused:
        Budget.model_validate({"max_latency": value})
    assert words in str(refused.value)


def timed(low: float, value: float, high: float) -> Finalist:
    return Finalist(
        title="prune",
        label="int8",
        variant="int8",
        sha256="",
        size_bytes=1,
        latency_s=Estimate(value, low, high, 6),
        p90_s=None,
        speedup=None,
        level=True,
    )


@pytest.mark.parametrize(
    ("took_s", "words"),
    [
        ((1.8e-3, 1.9e-3, 1.95e-3), "2 ms: met, it takes 1.9 ms [1.8, 1.95]"),
        (
            (1.8e-3, 1.95e-3, 2.1e-3),
            "2 ms: met, it takes 1.95 ms [1.8, 2.1], whose interval reaches beyond it",
        ),
        (
            (2.2e-3, 2.31e-3, 2.4e-3),
            "2 ms: missed by 0.31 ms, it takes 2.31 ms [2.2, 2.4]",
        ),
        (
            (1.9e-3, 2.1e-3, 2.4e-3),
            "2 ms: missed by 0.1 ms, it takes 2.1 ms [1.9, 2.4]; the interval includes the budget",
        ),
    ],
)
def test_a_budget_is_met_or_missed_in_its_own_unit(
    took_s: tuple[float, float, float], words: str
) -> None:
    budget, ships = Budget(max_latency="2ms"), timed(*took_s)
    assert describe_latency(ships, budget, device="local") == words
    missed = over_budget(ships, budget, device="local")
    assert (missed is None) == (took_s[1] <= 2e-3)
    assert missed is None or missed.startswith(words)


def test_a_budget_of_microseconds_is_answered_in_microseconds() -> None:
    budget = Budget(max_latency="250 us")
    found = describe_latency(timed(2.9e-4, 3e-4, 3.1e-4), budget, device="local")
    assert found == "250 us: missed by 50 us, it takes 300 us [290, 310]"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2 GB", 2_000_000_000),
        ("500MB", 500_000_000),
        (" 1.5 kb", 1500),
        ("7 B", 7),
        (".5 TB", 5e11),
    ],
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_bytes(text) == size
    assert Cache(max_bytes=text).bytes == size


@pytest.mark.parametrize("value", ["2", 2_000, "", "-1 GB", "0 GB", "0.1 B", "1 GiB", "two", None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="is not a size; write for instance '2 GB'"):
        Cache.model_validate({"max_bytes": value})
