"""One pass collects the same statistics from the same samples, however they come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.exporters.onnx_files import load_onnx
from edgekd.quantization.calibration import collect
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import ONNX_RUNTIME, XNNPACK
from edgekd.quantization.plan import Activations
from edgekd.quantization.planning import make_plan
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.range_choice import WAYS, choose_ranges
from edgekd.quantization.ranges import RangeOption
from edgekd.quantization.sample_calls import cut_calls
from edgekd.quantization.static import calibrate, quantize_int8

Arrays = Mapping[str, NDArray[Any]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


HEAD = """(float[batch, 3, 8, 8] x) => (float[batch, 4] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    r = Relu(a)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    h = MatMul(f, w2)
    y = MatMul(h, w3)
}"""


@pytest.fixture(scope="module")
def delicate(build: Callable[..., Path]) -> Path:
    """A network of which layers must stay in float, as some of its samples show."""
    rng = np.random.default_rng(3)
    w2 = rng.standard_normal((16, 8)).astype("f")
    w2[:, 1:] = w2[:, :1] + 0.01 * w2[:, 1:]
    w3 = rng.standard_normal((8, 4)).astype("f")
    w3 -= w3.mean(axis=0)
    weights = {"w1": rng.standard_normal((16, 3, 3, 3)).astype("f"), "w2": w2, "w3": w3}
    return build(HEAD, weights)


@pytest.mark.parametrize("ranges", ["minmax", "auto"])
def test_no_byte_depends_on_batches_order_or_threads(
    ranges: RangeOption, delicate: Path, batched: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    arrays = {"x": rng.laplace(0, 1, (40, 3, 8, 8)).astype(np.float32)}
    orders = [np.random.default_rng(i).permutation(40) for i in range(2)]
    for i, (feeds, threads) in enumerate(
        (
            (batched(arrays, 1), 1),
            (batched(arrays, 7), 1),
            (batched(arrays, 40), 2),
            (batched(arrays, 3, orders[0]), 2),
            (batched(arrays, 1, orders[1]), 1),
        )
    ):
        facts = quantize_int8(
            delicate, tmp_path / f"{i}.onnx", feeds, ranges=ranges, threads=threads
        )
        assert facts.left  # chosen by the samples that files are tried on
        assert set(facts.ranges.values()) <= {"minmax", "percentile", "entropy", "mse"}
    assert len({sha256(path) for path in tmp_path.iterdir()}) == 1


TEXTS = """(int64[batch, length] tokens, int64[batch, length] attention_mask)
    => (float[batch, length, 4] y, float[batch, length] m) {
    x = Gather(table, tokens)
    m = Cast<to = 1>(attention_mask)
    y = MatMul(x, w)
}"""


def test_padding_that_the_mask_names_changes_nothing(build: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((20, 8)).astype(np.float32)
    table[0] = 1000  # of padding
    path = build(TEXTS, {"table": table, "w": rng.standard_normal((8, 4)).astype(np.float32)})
    texts = [rng.integers(1, 20, length) for length in (3, 9, 5, 1, 9, 2)]
    padded = np.zeros((6, 12), np.int64)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    whole = {"tokens": padded, "attention_mask": (padded > 0).astype(np.int64)}
    one = [{"tokens": t[None], "attention_mask": np.ones((1, len(t)), np.int64)} for t in texts]
    want = calibrate(path, lambda: iter(one)).ranges("uint8")
    assert calibrate(path, lambda: iter([whole])).ranges("uint8") == want
    renamed = build(
        TEXTS.replace("attention_mask", "pad"), {"table": table, "w": table[:8, :4].copy()}
    )
    wrong = {"tokens": padded, "pad": whole["attention_mask"]}
    assert calibrate(renamed, lambda: iter([wrong])).ranges("uint8")["x"][1] == 1000


def test_a_text_of_padding_alone_and_a_fixed_length_are_left_as_they_are(
    build: Callable[..., Path],
) -> None:
    weights = {"table": np.ones((4, 8), np.float32), "w": np.ones((8, 4), np.float32)}
    free = load_onnx(build(TEXTS, weights))
    fixed = load_onnx(build(TEXTS.replace("length", "5"), weights))
    nothing = {name: np.zeros((2, 5), np.int64) for name in ("tokens", "attention_mask")}
    added = {**nothing, "attention_mask": np.array([[-9, 0, 0, 0, 0], [0, 0, 0, -9, -9]])}
    some = {**nothing, "attention_mask": np.array([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0]])}

    def lengths(model: Any, batch: Arrays) -> list[int]:
        calls = cut_calls(model, batch, mask="attention_mask")
        return [call.arrays["tokens"].shape[1] for call in calls]

    assert lengths(free, nothing) == [5, 5]
    assert lengths(free, added) == [5, 5]
    assert lengths(free, some) == [2, 3]  # a hole is no padding
    assert lengths(fixed, some) == [5, 5]


def test_further_tensors_give_their_greatest_magnitude(cnn: Path, pictures: Any) -> None:
    model = load_onnx(cnn)
    found = collect(model, ["r"], iter([pictures]), magnitudes=["r", "x", "logits"])
    assert list(found.statistics) == ["r"]
    (low, high), _ = found.statistics["r"].find_range("mse", "uint8")
    assert found.magnitude("r") >= max(-low, high)
    x = (pictures["image"] - np.array([120, 110, 100])) / np.array([60, 61, 62])
    assert found.magnitude("x") == pytest.approx(np.abs(x).max(), rel=1e-5)
    assert found.magnitude("logits") > 0
    with pytest.raises(KeyError):
        found.magnitude("u")


def test_samples_are_kept_by_content_and_counted_once(cnn: Path, pictures: Any) -> None:
    model = load_onnx(cnn)
    twice = [pictures, {"image": pictures["image"][::-1]}]
    once, both = (collect(model, [], iter(batches)) for batches in (twice[:1], twice))
    assert (once.samples, both.samples) == (24, 48)
    for mine, other in zip(once.kept.samples(), both.kept.samples(), strict=True):
        np.testing.assert_array_equal(mine["image"], other["image"])


def test_every_option_writes_a_file(cnn: Path, pictures: Any, batched: Any, tmp_path: Path) -> None:
    options: tuple[RangeOption, ...] = get_args(RangeOption)
    for option in options:
        facts = quantize_int8(cnn, tmp_path / option, batched(pictures, 8), ranges=option)
        assert facts.layers == 3
        assert option == "auto" or set(facts.ranges.values()) == {option}
    assert len({sha256(tmp_path / option) for option in options}) >= 4


def test_auto_follows_as_well_as_the_best_way(delicate: Path, batched: Any) -> None:
    arrays = {"x": np.random.default_rng(6).laplace(0, 1, (40, 3, 8, 8)).astype(np.float32)}
    calibrated = calibrate(delicate, batched(arrays, 8), ranges="auto")
    answers = FloatAnswers(calibrated.model, calibrated.judged, name="it")
    for layout in (ONNX_RUNTIME, XNNPACK):
        noise = {}
        for way in ("minmax", *WAYS):
            ranges = replace(calibrated, option=way).ranges(layout.activations)
            plan = make_plan(calibrated.model, calibrated.choice, ranges, layout)
            noise[way] = max(answers.compare(insert(calibrated.model, plan)).values())
        chosen = choose_ranges(calibrated, answers, layout)
        least = min(noise.values())
        assert least / noise[chosen.option] > 0.79
        assert chosen.option == "minmax" or noise[chosen.option] == least
        assert choose_ranges(replace(calibrated, option="mse"), answers, layout).option == "mse"


def test_the_two_grids_have_ranges_of_their_own(build: Callable[..., Path]) -> None:
    """A symmetric grid spends half of its steps on values below zero, of which there are few."""
    rng = np.random.default_rng(5)
    values = (rng.gamma(1, 1, (150, 400)) - 0.3).astype(np.float32)

    def feeds() -> Iterator[Arrays]:
        yield {"x": values}

    text = "(float[batch, 400] x) => (float[batch, 5] y) { y = MatMul(x, w) }"
    path = build(text, {"w": rng.standard_normal((400, 5)).astype(np.float32)})
    calibrated = calibrate(path, feeds, ranges="mse")
    grids: tuple[Activations, ...] = get_args(Activations)
    ends = {grid: calibrated.ranges(grid)["x"] for grid in grids}
    # Coarser steps: more is clipped.
    assert ends["int8"][1] < ends["uint8"][1] < values.max()
    assert calibrated.ranges("int8") == calibrated.ranges("int8")
