"""Whatever is wrong with a call is one paragraph, exit code 2, and nothing is left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgekd.cli.main import main
from edgekd.store import run_lock
from edgekd.user_code import resolve

NETS = """
import torch
from torch import nn

def small(classes=3, width=32):
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes),
    )

def colour():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

def broken():
    return 1 / 0

def text():
    return "no network"

def linear():
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = small()

    def forward(self, x):
        if x.sum() > 0:
            return self.body(x)
        return -self.body(x)

class Late(nn.Module):
    "Fails from its sixth training step on: what a training that diverges late looks like."

    def __init__(self):
        super().__init__()
        self.body, self.steps = linear(), 0

    def forward(self, x):
        if not self.training:
            return self.body(x)
        self.steps += 1
        return self.body(x) * (1.0 if self.steps < 6 else float("nan"))
"""

RECIPE = """
name = "tiny"
data = { path = "photos" }
budget = { max_drop = 50.0 }
model = { build = "net.py:small", train = { epochs = 1, batch_size = 8 } }
measure = { rounds = 3, blocks = 2 }

[[steps]]
name = "distill"
student = { build = "net.py:small", options = { width = 16 } }
train = { epochs = 1, batch_size = 8 }

[[steps]]
name = "quantize"
samples = 8
"""


FEW = ("--max-drop", "50", "--samples", "8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: networks, a recipe, photos of three classes, arrays of the same."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    (folder / "net.py").write_text(NETS)
    (folder / "r.toml").write_text(RECIPE)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (36, 8, 8), np.uint8)
    label = np.arange(36) % 3
    for i in range(36):
        (folder / "photos" / "abc"[label[i]]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(folder / "photos" / "abc"[label[i]] / f"{i}.png")
    arrays = rng.normal(size=(36, 4)).astype(np.float32)
    np.savez(folder / "pixels.npz", x=pixels[..., None], y=label)
    np.savez(folder / "rows.npz", x=arrays, y=label)
    return folder


Call = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Make a call that must be refused; return its error as one line."""

    def call(*args: str, leaves: str = "") -> str:
        before = _files(Path())
        monkeypatch.setattr(sys, "argv", ["edgekd", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr().err
        assert left.value.code == 2, said
        assert "Traceback" not in said
        paragraph = said[said.rindex("error:") :]  # a long path is on the next line
        assert "\n\n" not in paragraph
        new = _files(Path()) - before
        strange = [name for name in new if not (leaves and re.match(leaves, name))]
        assert not strange, f"left behind: {strange}"
        return " ".join(paragraph.split())

    return call


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts}


def _onnx(path: Path, *, weights: TensorProto | None = None, name: str = "x") -> None:
    """Write y = x @ w, with x [batch, 4] and three outputs."""
    tensor = weights or numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [name, "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stepz=[]", "stepz is not a known key; did you mean 'steps'?"),
        ("steps.0.student.widht=3", "widht is not a known key"),
        ("model.train.epochs=0", "model.train.epochs: .*at least 1"),
        ("model.train.epochs=many", "model.train.epochs: got 'many', expected a whole number"),
        ("budget=3", "budget: got 3, expected a table"),
        ("name=../elsewhere", "name: got '../elsewhere', expected small letters"),
        ("steps.0.name=quantise", "quantise"),
        ("data.path=nowhere", "nowhere does not exist"),
        ("data.path=net.py", "'net.py' is not a known format"),
        ("data.validation=1.5", "neither a share"),
        ("data.validation=40", "needs 40 samples"),
        ("data.labels=['a','b']", "class 'c' of the data is missing from data.labels"),
        ("data.calibration=100", "the train split has"),
        ("steps.1.samples=30", "needs 30 calibration samples, but the calibration split has"),
        ("budget.max_drop=1", "the validation split has 4 samples; a budget of 1 points needs 542"),
        ("devices=['fridge']", "the device 'fridge' is unknown; known"),
        ("task=net.py:text", "a task has signals, metrics, predict, reference, reduce"),
        ("task=detection", "'detection' is not known"),
        ("model.build=net.py:smal", "did you mean small"),
        ("model.build=gone.py:small", "there is no file .*gone.py"),
        ("model.build=no.such.module:f", "there is no module"),
        ("model.build=net.py:broken", r"failed at .*net\.py:\d+ with ZeroDivisionError"),
        ("model.build=net.py:text", "returned str, expected a torch.nn.Module"),
        ("model.options={classes=2}", "labels from 0 to 2, and the model gives 2 logits"),
        ("model.build=net.py:colour", r"cannot take the data \(images, float32 \[2, 1, 8, 8\]\)"),
        ("model.build=net.py:Branching", r"cannot be exported at .*net\.py:\d+.*torch.where"),
        ("model.options={wide=3}", "do not fit net.py:small.*it takes"),
        ("model.weights=w.pt", "w.pt do not exist"),
        ("model.input={mean=0.5,std=0.25}", "multiply values for pixels in 0..1 by 255"),
        ("steps.0.student={build='net.py:broken'}", "ZeroDivisionError"),
        ("steps.0.student.options={classes=2}", "'logits' of the student, .2. for each sample"),
        ("data.path=pixels.npz.gz", "does not exist"),
    ],
)
def test_a_wrong_recipe(place: Path, refused: Call, change: str, message: str) -> None:
    assert re.search(message, refused("compress", "r.toml", "--set", change))


def test_paths_in_flags_beside_a_recipe_start_at_the_current_folder(
    place: Path, refused: Call
) -> None:
    (place / "recipes").mkdir()
    text = RECIPE.replace("net.py:", "../net.py:").replace('"photos"', '"../photos"')
    (place / "recipes" / "r.toml").write_text(text)
    said = refused("compress", "recipes/r.toml", "--task", "net.py:gone")
    assert "must name a function, but it does not exist in" in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compress"], "--model and --data are missing"),
        (["compress", "--model", "net.py:small"], "--data is missing"),
        (["compress", "r.toml", "--model", "net.py:small"], "--model cannot be given with"),
        (["compress", "r.toml", "--epochs", "3"], "--epochs cannot be given with"),
        (["compress", "r.toml", "--keep-for", "pixel-8"], "--keep-for cannot be given with"),
        (
            ["compress", "r.toml", "--no-labels", "--task", "regression"],
            "--task regression judges by labels",
        ),
        (["compress", "gone.toml"], "gone.toml does not exist"),
        (["compress", "net.py"], "not valid TOML"),
        (["compress", "r.toml", "--set", "seed"], "write it as key=value"),
        (["compress", "r.toml", "--max-latency", "soon"], "'soon' is not a time"),
        (["compress", "--model", "w.pt", "--data", "photos"], "the function that builds it"),
        (["compress", "--model", "net", "--data", "photos"], "--model net is not a model"),
        (["compress", "--model", "n.onnx", "--data", "photos", "--epochs", "2"], "only quantized"),
        (["compress", "--model", "net.py:small", "--data", "cifar10"], "edgekd data cifar10"),
        (["quantize", "gone.onnx", "--data", "rows.npz"], "gone.onnx does not exist"),
        (["quantize", "net.py", "--data", "rows.npz"], "neither an .onnx file"),
        (["quantize", "gone.onnx"], "--data is missing"),
        (["init", "--model", "net.py:small"], "--data is missing"),
        (["init", "--model", "a:b", "--data", "d", "--out", "net.py"], "net.py exists already"),
        (["init", "--model", "a:b", "--data", "d", "--out", "photos"], "photos is a folder"),
        (["init", "--model", "a:b", "--data", "d", "--out", "gone/r.toml"], "no folder gone"),
        (["init", "--model", "a:b", "--data", "d", "--epochs", "0"], "at least 1"),
        (["schema", "--out", "gone/s.json"], "cannot be written"),
        (["verify", "photos"], "not a bundle"),
        (["report", "photos"], "report.json"),
        (["data", "imagenet"], "known are"),
    ],
)
def test_a_wrong_call(place: Path, refused: Call, args: list[str], message: str) -> None:
    assert message in refused(*args)


def test_steps_in_an_impossible_order(place: Path, refused: Call) -> None:
    text = (place / "r.toml").read_text()
    (place / "r.toml").write_text(text + '\n[[steps]]\nname = "prune"\n')
    said = refused("compress", "r.toml")
    assert "steps[2] (prune) trains a network, but steps[1] (quantize) gives an ONNX file" in said


def test_a_state_dict_that_does_not_fit(place: Path, refused: Call) -> None:
    torch.save({"0.weight": torch.zeros(32, 1, 3, 3), "other": torch.zeros(1)}, "w.pt")
    said = refused("compress", "r.toml", "--set", "model.weights=w.pt")
    assert "lacks 0.bias, 2.weight" in said
    assert "has beside them other" in said


@pytest.mark.parametrize(
    ("keep", "message"),
    [("", "photos"), ("a", "needs labels, and the data has none")],
)
def test_a_folder_without_classes(place: Path, refused: Call, keep: str, message: str) -> None:
    for path in (place / "photos").rglob("*.png"):
        if path.parent.name != keep:
            path.unlink()
    for folder in (place / "photos").iterdir():
        if folder.name != keep:
            folder.rmdir()
    assert re.search(message, refused("compress", "r.toml"))


def test_a_broken_image_is_named(place: Path, refused: Call) -> None:
    (place / "photos/a/0.png").write_bytes(b"\x89PNG no more")
    said = refused("compress", "r.toml")
    assert "a/0.png" in said
    assert "data.skip_broken = true" in said
    said = refused("compress", "--model", "net.py:small", "--data", "photos")
    assert "--skip-broken" in said


def test_skip_broken_counts_them(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "photos/a/0.png").write_bytes(b"\x89PNG no more")
    (place / "photos/b/1.png").write_bytes(b"")
    # refused later, for its validation split: nothing needs to run here
    args = ["compress", "r.toml", "--skip-broken", "--set", "budget.max_drop=1"]
    monkeypatch.setattr(sys, "argv", ["edgekd", *args])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert "left out 2 samples that cannot be read: a/0.png, b/1.png" in said
    assert "the validation split has" in said


def test_labels_outside_the_range(place: Path, refused: Call) -> None:
    x = np.zeros((48, 8, 8, 1), np.uint8)
    np.savez("pixels.npz", x=x, y=np.arange(48) % 4)
    said = refused("compress", "r.toml", "--set", "data.path=pixels.npz")
    assert "the data has labels from 0 to 3, and the model gives 3 logits (labels 0 to 2)" in said
    np.savez("pixels.npz", x=x, y=np.arange(48) % 3 - 1)
    assert "-1" in refused("compress", "r.toml", "--set", "data.path=pixels.npz")


def test_arrays_that_are_pickles(place: Path, refused: Call) -> None:
    np.savez("rows.npz", x=np.array([{}] * 36, dtype=object), y=np.arange(36) % 3)
    assert "pickle" in refused("compress", "r.toml", "--set", "data.path=rows.npz")
    (place / "rows.pkl").write_bytes(b"\x80\x04.")
    assert "pickle" in refused("compress", "r.toml", "--set", "data.path=rows.pkl")


def test_weights_that_are_pickles(place: Path, refused: Call) -> None:
    torch.save(torch.nn.Linear(1, 1), "w.pt")
    assert "pickle" in refused("compress", "r.toml", "--set", "model.weights=w.pt")


def test_a_loaded_network_that_cannot_be_exported(place: Path, refused: Call) -> None:
    """Nothing is trained here: even so it is found before a stage is written."""
    net = resolve("net.py:Branching", root=place)()
    torch.save(net.state_dict(), "b.pt")
    (place / "loaded.toml").write_text(
        'name = "loaded"\nallow_poor_teacher = true\n'
        'data = { path = "photos" }\nbudget = { max_drop = 50.0 }\n'
        'model = { build = "net.py:Branching", weights = "b.pt", '
        "input = { mean = 0.0, std = 255.0 } }\n"
        '[[steps]]\nname = "quantize"\nsamples = 8\n'
    )
    assert "cannot be exported at" in refused("compress", "loaded.toml")


def test_external_data_outside_the_folder(place: Path, refused: Call, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.ones((4, 3), np.float32).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3])
    weights.data_location = TensorProto.EXTERNAL
    entry = onnx.StringStringEntryProto(key="location", value="../secret.bin")
    weights.external_data.append(entry)
    _onnx(place / "m.onnx", weights=weights)
    said = refused("quantize", "m.onnx", "--data", "rows.npz", *FEW)
    assert "secret.bin" in said


def test_an_onnx_file_that_does_not_fit_the_data(place: Path, refused: Call) -> None:
    (place / "m.onnx").write_bytes(b"no model")
    assert "m.onnx" in refused("quantize", "m.onnx", "--data", "rows.npz", *FEW)
    _onnx(place / "m.onnx", name="pixels")
    np.savez("rows.npz", x=np.zeros((36, 5), np.float32), y=np.arange(36) % 3)
    said = refused("quantize", "m.onnx", "--data", "rows.npz", *FEW)
    assert "m.onnx takes float32 [" in said
    assert "as its input 'pixels', and the array 'x' is float32 [n, 5]" in said


def test_a_file_that_is_quantized_already_is_refused_by_its_own_name(
    place: Path, refused: Call
) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        m (float[batch, 4] x) => (float[batch, 4] y) <float s = {0.1}, int8 z = {0}> {
          q = QuantizeLinear (x, s, z)
          y = DequantizeLinear (q, s, z)
        }"""
    )
    onnx.save(model, place / "done.onnx")
    said = refused("quantize", "done.onnx", "--data", "gone.npz", *FEW)
    assert "done.onnx is already quantized" in said  # before the data is opened


def test_a_run_folder_of_another_recipe(place: Path, refused: Call) -> None:
    out = place / "run"
    out.mkdir()
    (out / "run.json").write_text('{"name": "other"}')
    said = refused("compress", "r.toml", "--out", "run", leaves=r"run/\.lock$")
    assert "contains a run of the recipe 'other', not of 'tiny'" in said
    (out / "run.json").write_text("{")
    assert "damaged" in refused("compress", "r.toml", "--out", "run")


def test_a_folder_with_other_things_in_it(place: Path, refused: Call) -> None:
    said = refused("compress", "r.toml", "--out", "photos", leaves=r"photos/\.lock$")
    assert "photos is not an edgekd run folder and contains other files (a, b, c)" in said


def test_a_place_that_cannot_be_written(place: Path, refused: Call) -> None:
    said = refused("compress", "r.toml", "--out", "net.py/run")
    assert "net.py/run cannot be written (Not a directory); give another one with --out" in said


def test_two_at_once(place: Path, refused: Call) -> None:
    with run_lock(place / "run"):
        said = refused("compress", "r.toml", "--out", "run")
    assert f"another edgekd process (pid {os.getpid()}) is working in run" in said
    assert not (place / "run").exists()


def _diverge(build: str, *changes: str) -> list[str]:
    args = ["compress", "r.toml", "--set", f"model.build={build}", "--set", "data.path=rows.npz"]
    steps = "steps=[{name='quantize',samples=8}]"
    return [*args, *(part for change in (steps, *changes) for part in ("--set", change))]


def test_a_loss_that_is_no_number_from_the_start(place: Path, refused: Call) -> None:
    np.savez("rows.npz", x=np.full((36, 4), 1e30, np.float32), y=np.arange(36) % 3)
    train = "model.train={epochs=2,batch_size=8,learning_rate=10}"
    said = refused(*_diverge("net.py:linear", train), leaves="runs")
    assert re.search(r"teacher: the loss became (nan|inf) in epoch 1, step [12]; no epoch", said)
    assert "lower learning_rate (10 was used)" in said
    assert not list(place.glob("runs/tiny/stages/*"))


def test_a_loss_that_is_no_number_later_keeps_the_last_checkpoint(
    place: Path, refused: Call
) -> None:
    train = "model.train={epochs=3,batch_size=8,learning_rate=0.01}"
    said = refused(*_diverge("net.py:Late", train), leaves="runs")
    assert "the loss became nan in epoch 2, step 2; the weights after epoch 1 are in" in said
    kept = next(place.glob("runs/tiny/stages/teacher-*.partial/work/last.pt"))
    assert str(kept.relative_to(place)) in said
    assert torch.load(kept, weights_only=True)["epoch"] == 1


def test_the_real_command(place: Path) -> None:
    """Once as a process of its own: exit code, streams, no traceback."""
    command = [sys.executable, "-m", "edgekd", "compress", "r.toml", "--set", "stepz=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: r.toml: stepz is not a known key")
    assert "Traceback" not in done.stderr
