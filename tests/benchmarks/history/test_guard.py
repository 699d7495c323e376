"""Limits on size, memory and quality beside a stored file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.history.guard import Guard, check_memory, check_quality, check_size
from edgekd.benchmarks.history.store import History
from edgekd.benchmarks.result import BenchResult
from edgekd.devices import open_device
from edgekd.errors import RecipeError

Timed = Callable[..., BenchResult]
MS = [1.0e-3, 1.01e-3, 0.99e-3]


def linear(path: Path, weight: NDArray[np.float32]) -> Path:
    """A classifier whose scores are x @ weight."""
    rows, classes = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """Verdicts on the quality of a file that confuses the last class with the first."""
    old = linear(tmp_path / "old.onnx", np.eye(4, dtype=np.float32))
    weight = np.eye(4, dtype=np.float32)
    weight[3] = [1, 0, 0, 0.5]
    new = linear(tmp_path / "new.onnx", weight)
    samples = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    feeds = tmp_path / "feeds.npz"
    save_feeds(feeds, {"x": samples[:, None]})
    labels = tmp_path / "labels.npy"
    np.save(labels, np.arange(40) % 4)

    def judge(guard: Guard, *, labelled: bool = True) -> list[tuple[str, str]]:
        given = replace(guard, labels=labels) if labelled else guard
        run = open_device("local").run
        found = check_quality(given, "new.onnx", (old, new), feeds, run)
        return [(limit.verdict, f"{limit.before} {limit.now}") for limit in found]

    return judge


def test_accuracy_and_agreement(judged: Callable[..., list[tuple[str, str]]]) -> None:
    assert judged(Guard(drop=24.9)) == [("failed", "100.00 % 75.00 %")]
    assert judged(Guard(drop=25)) == [("passed", "100.00 % 75.00 %")]
    assert judged(Guard(agreement=75), labelled=False) == [("passed", "100 % 75.0 %")]
    assert judged(Guard(agreement=76), labelled=False) == [("failed", "100 % 75.0 %")]
    assert judged(Guard()) == []


def test_calls_that_cannot_be_judged_are_refused(tmp_path: Path) -> None:
    file, feeds = linear(tmp_path / "m.onnx", np.eye(4, dtype=np.float32)), tmp_path / "f.npz"
    save_feeds(feeds, {"x": np.ones((6, 1, 4), np.float32)})
    wrong = {"few": np.arange(3), "float": np.ones(6), "text": np.array(["a"] * 6)}
    for name, values in wrong.items():
        np.save(tmp_path / f"{name}.npy", values)
    (tmp_path / "junk.npy").write_bytes(b"junk")
    cases = {
        "few.npy": "has 3 labels, and the feeds have 6 samples",
        "float.npy": "one array of whole numbers",
        "text.npy": "one array of whole numbers",
        "junk.npy": "cannot be read as an .npy",
        "absent.npy": "cannot be read as an .npy",
    }
    run = open_device("local").run
    for name, message in cases.items():
        guard = Guard(drop=1.0, labels=tmp_path / name)
        with pytest.raises(RecipeError, match=message):
            list(check_quality(guard, "m", (file, file), feeds, run))
    with pytest.raises(RecipeError, match=r"--feeds FILE\.npz"):
        list(check_quality(Guard(agreement=99), "m", (file, file), None, run))
    one = linear(tmp_path / "one.onnx", np.ones((4, 1), np.float32))
    with pytest.raises(RecipeError, match="contains no class scores"):
        list(check_quality(Guard(agreement=99), "m", (one, one), feeds, run))


@pytest.mark.parametrize(
    ("shape", "samples"),
    [
        ((6, 4), 6),  # without a batch axis
        ((3, 2, 4), 6),
        ((6, 1, 4, 1, 1), 6),
        ((6, 1, 1, 4), 6),
        ((6, 1, 1), None),
        ((6, 1, 4, 8, 8), None),  # pixels: the last axis is their width
        ((6, 1, 7, 4), None),  # words
    ],
)
def test_only_scores_of_whole_samples_are_classes(
    shape: tuple[int, ...], samples: int | None
) -> None:
    scores = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    guard = Guard(agreement=100.0)
    files = (Path("a"), Path("b"))
    found = check_quality(guard, "m", files, Path("f"), lambda *_: {"out": scores})
    if samples is None:
        with pytest.raises(RecipeError, match="contains no class scores of whole samples"):
            list(found)
    else:
        (limit,) = found
        assert limit.what == f"same class, {samples} samples"


def test_size_and_memory(timed: Timed, tmp_path: Path) -> None:
    file = linear(tmp_path / "m.onnx", np.ones((64, 4), np.float32))
    more = linear(tmp_path / "n.onnx", np.ones((70, 4), np.float32))
    history = History(tmp_path / "h.sqlite")
    history.store(timed((file, MS)), name="main")
    (stored,) = history.latest("main").rows
    for share, verdict in ((0.0, "failed"), (1.0, "passed")):
        (limit,) = check_size(Guard(larger=share), "n.onnx", stored, more.stat().st_size)
        assert limit.verdict == verdict
    assert list(check_size(Guard(), "n.onnx", stored, 1)) == []
    both = timed((more, MS), (file, MS))
    (limit,) = check_memory(Guard(memory=0.0), "n.onnx", file, both)
    assert limit.verdict == "passed"  # equal peaks
    (limit,) = check_memory(Guard(memory=0.0), "n.onnx", None, both)
    assert limit.verdict == "could not tell"
    (limit,) = check_memory(Guard(memory=0.0), "n.onnx", None, None)
    assert limit.verdict == "passed"  # nothing changed
