from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.stats.estimate import Estimate
from edgekd.benchmarks.trials.agreement import (
    MODELS,
    Agreement,
    Model,
    Rounds,
    against_c,
    against_torch,
    compare,
    torch_sides,
)
from edgekd.benchmarks.trials.sides import compiled, library, opened, words_for_c
from edgekd.errors import MeasureError

SHORT = Rounds(rounds=3, blocks=5, block_s=0.02)
GENEROUS = 0.10  # other work on the machine is allowed; the strict version is slow
TRIES = 5
PRODUCTS = Model("products", 150, (64, 64))

needs_c = pytest.mark.skipif(
    shutil.which(os.environ.get("CC") or "cc") is None or find_spec("onnxruntime") is None,
    reason="no C compiler",
)


def one(ratio: float, *, second_s: float = 2e-3, asked: bool = True) -> Agreement:
    estimate = Estimate(ratio, ratio - 0.01, ratio + 0.01, 3)
    return Agreement(
        model="m",
        sides=("a", "b"),
        first_s=ratio * second_s,
        second_s=second_s,
        ratio=estimate,
        difference_s=estimate,
        asked=asked,
    )


def test_the_bound_is_two_per_cent_over_a_millisecond() -> None:
    assert one(1.019).within
    assert one(0.981).within
    assert not one(1.021).within
    assert one(1.021).failed
    assert not one(0.99).failed
    assert not one(1.021, second_s=0.9e-3).failed
    assert not one(1.021, asked=False).failed


def some(ratios: Callable[[], list[float]], *, near: float, within: float = GENEROUS) -> bool:
    """Say whether one of a few tries is near: noise of the machine goes, a bias would stay."""
    tries = (np.array(ratios()) for _ in range(TRIES))
    return any(bool(np.all(np.abs(found / near - 1) < within)) for found in tries)


@needs_c
@pytest.mark.timing
def test_the_runner_agrees_with_a_loop_in_c(tmp_path: Path) -> None:
    def ratios() -> list[float]:
        return [found.ratio.value for found in against_c(tmp_path, PRODUCTS, SHORT)]

    assert some(ratios, near=1.0)


@needs_c
@pytest.mark.timing
def test_a_disagreement_would_be_seen(tmp_path: Path) -> None:
    """The C loop is given two thirds of the work; what is around the work is not divided by it."""
    less = Model("less", 100, PRODUCTS.shape)

    def ratios() -> list[float]:
        return [f.ratio.value for f in against_c(tmp_path, PRODUCTS, SHORT, c_model=less)]

    assert some(ratios, near=1.5, within=0.25)


@pytest.mark.timing
def test_the_runner_agrees_with_torch(tmp_path: Path) -> None:
    sides = torch_sides(tmp_path)

    def ratios() -> list[float]:
        (medians,) = compare(sides, Rounds(rounds=1, blocks=12, block_s=0.02))
        return [float(np.median(medians[:, 0] / medians[:, 1]))]

    assert some(ratios, near=1.0)


@needs_c
@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_strictly_with_c(model: Model, tmp_path: Path) -> None:
    alone, _ = against_c(tmp_path, model, Rounds())
    assert not alone.failed, alone
    assert alone.difference_s.value < 5e-6 + 0.02 * alone.second_s


@pytest.mark.slow
@pytest.mark.timing
def test_strictly_with_torch(tmp_path: Path) -> None:
    found = against_torch(tmp_path, Rounds())
    assert not found.failed, found


@needs_c
def test_what_the_c_loop_refuses_is_told(tmp_path: Path) -> None:
    program, _ = compiled(tmp_path)
    model = PRODUCTS.write(tmp_path / "m.onnx")
    x = np.zeros((1, 3, 3), np.float32)
    words = words_for_c(program, model, ("x", "r149"), x)
    with (
        opened(words) as loop,
        pytest.raises(MeasureError, match=r"ort_loop ended with code 1: .+"),
    ):
        loop.ask()
    with opened([str(program), "few"]) as loop, pytest.raises(MeasureError, match=r"ort_loop\.c"):
        loop.ask()


def test_without_a_compiler_it_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(MeasureError, match=r"not available: .* C compiler \(no-such-compiler\)"):
        compiled(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="wheels of Linux")
def test_the_library_lies_in_the_wheel() -> None:
    assert library().name.startswith("libonnxruntime.so")
