"""Every refusal that flags can reach names what the same flags can do, and doing it gets past it.

A row has a call, the message with what it offers as groups, the heading of its section in
docs/troubleshooting.md, and the call with the offer taken. The second call must come past every
check: it ends where the work would begin.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgekd.cli.main import main
from edgekd.errors import JobFailed
from edgekd.pipeline import compress as pipeline
from edgekd.pipeline import preflight

NETS = """
from torch import nn

def small(classes=3, channels=1):
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, classes),
    )

def colour():
    return small(channels=3)

def rows(outputs=3):
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, outputs))

def one():
    return rows(1)

def pixels():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1))
"""
Weights = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def _write_onnx(
    path: Path,
    shape: list[str | int | None],
    weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    """Write one MatMul of the flattened input."""
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, photographs of many sizes, arrays, texts."""
    place = tmp_path_factory.mktemp("refusals")
    rng = np.random.default_rng(0)
    (place / "net.py").write_text(NETS)
    _write_photos(place, rng)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    y = x[:, :3].argmax(axis=1)
    np.savez(place / "rows.npz", x=x, y=y)
    np.savez(place / "four.npz", x=x, y=np.arange(120) % 4)
    np.savez(place / "floats.npz", x=x, y=(x @ np.ones((4, 1), np.float32))[:, 0])
    np.savez(place / "tags.npz", x=x, y=(x[:, :3] > 0).astype(np.int64))
    np.savez(place / "bare.npz", x=x)
    np.savez(place / "pictures.npz", x=rng.integers(0, 256, (60, 4, 4, 1), np.uint8))
    (place / "words.csv").write_text(
        "body,kind\n" + "".join(f"a b{i},{'pn'[i % 2]}\n" for i in range(40))
    )
    (place / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    (place / "thousands.tsv").write_text("x\ty\n" + "1,234\t7\n" * 40)
    _write_texts(place / "words.onnx", "token_type_ids")
    _write_texts(place / "captions.onnx", "pixel_values")
    _write_weights(place, x, y)
    eye = np.zeros((4, 3), np.float32)
    eye[:3] = np.eye(3)
    _write_onnx(place / "rows.onnx", ["batch", 4], eye)
    _write_onnx(
        place / "pictures.onnx", ["batch", 1, 4, 4], rng.normal(size=(16, 5)).astype(np.float32)
    )
    # its classes are in the order of texts: 10, 8, 9
    means = (np.array([232, 22, 122])[:, None] / 255 * np.ones((1, 16))).astype(np.float32)
    _write_numbers(place / "numbers.onnx", means)
    return place


def _write_texts(path: Path, further: str) -> None:
    """Write the mean of a table's rows for numbers of words, with a further input of the name."""
    names = ("input_ids", "attention_mask", further)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["w", "input_ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows"], ["y"], axes=[1], keepdims=0),
        ],
        "texts",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "seq"]) for n in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.eye(3, 2, dtype=np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def _write_photos(place: Path, rng: np.random.Generator) -> None:
    for i in range(36):
        for name in ("photos", "holes"):
            path = place / name / "abc"[i % 3] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8 + i % 2, 8), np.uint8)).save(path)
        for name in ("images", "masks"):
            path = place / "scenes" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            top = 255 if name == "images" else 2
            Image.fromarray(rng.integers(0, top, (8, 8), np.uint8)).save(path)
    (place / "holes/a/0.png").write_bytes(b"\x89PNG no more")
    for name in ("8", "9", "10"):
        for i in range(40):
            path = place / "numbers" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            level = {"8": 20, "9": 120, "10": 230}[name] + i % 5
            Image.new("L", (4, 4), level).save(path)


def _write_weights(
    place: Path, x: Weights, y: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> None:
    net: dict[str, Callable[..., torch.nn.Module]] = {}
    exec(NETS, net)
    torch.manual_seed(0)
    rows = net["rows"]()
    optimizer = torch.optim.Adam(rows.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(rows(torch.as_tensor(x)), torch.as_tensor(y)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.save(rows.state_dict(), place / "rows.pt")
    torch.save(torch.nn.Linear(6, 3), place / "whole.pt")
    torch.save(net["rows"](2).state_dict(), place / "two.pt")
    torch.manual_seed(1)
    torch.save(net["rows"]().state_dict(), place / "fresh.pt")


def _write_numbers(path: Path, means: Weights) -> None:
    """Write a classifier by the nearest mean: x @ (2 m) - |m|^2, for pixels of 0..1."""
    weight, bias = 2 * means.T, -(means**2).sum(axis=1)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
        ],
        "numbers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.ascontiguousarray(weight), "w"),
            numpy_helper.from_array(bias.astype(np.float32), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


Call = Callable[[str], str]
PAST = "past every check"


@pytest.fixture
def call(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """Run `edgekd` with these words; return its error, or PAST where the work would begin."""

    def stop(*_: object) -> None:
        raise JobFailed(PAST)

    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "run_steps", stop)
    monkeypatch.setattr(preflight, "_try_exports", lambda *_: None)

    def made(words: str) -> str:
        out = [] if "--out" in words or words.startswith("init") else ["--out", str(tmp_path / "r")]
        monkeypatch.setattr(sys, "argv", ["edgekd", *shlex.split(words), *out])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = " ".join(capsys.readouterr().err.split())
        assert "Traceback" not in said
        assert left.value.code == (1 if PAST in said else 2), said
        return said[max(said.rfind(" error: "), said.rfind(" Error: Invalid"), 0) :]

    return made


PAGE = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text("utf8")
SECTIONS = {
    part.partition("`\n")[0]: part.partition("`\n")[2].partition("\n#")[0]
    for part in PAGE.split("\n### `")[1:]
}
"""Fixed words of a message -> what to do."""
TABLE = tomllib.loads((Path(__file__).parent / "refusals.toml").read_text("utf8"))["refusal"]


@pytest.mark.parametrize("row", TABLE, ids=[row["call"] for row in TABLE])
def test_the_offer_gets_past_the_message(call: Call, row: dict[str, str]) -> None:
    said = call(row["call"])
    found = re.search(row["says"], said)
    assert found, said
    strange = re.search(r"pydantic|Input should|\bin \[\w+\]", said.partition("belongs")[0])
    assert not strange, said
    fixed = ".*".join(map(re.escape, row["page"].split("…")))
    assert re.search(fixed, said), f"{said} is {row['page']} in docs/troubleshooting.md"
    offers = [flag for words in found.groups() if words for flag in re.findall(r"--[a-z-]+", words)]
    assert all(flag in SECTIONS[row["page"]] for flag in offers), offers
    if "then" in row:
        again = call(found.expand(row["then"]))
        assert PAST in again, again


def test_every_section_of_the_page_is_about_a_refusal() -> None:
    assert SECTIONS.keys() == {row["page"] for row in TABLE}


def test_the_table_is_not_empty() -> None:
    assert len(TABLE) > 40
