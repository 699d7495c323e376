"""The wheel: what is in it, and that it works in a clean environment without torch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).parent.parent
LIMIT_S = 400.0


def run(command: list[str], **options: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=options.get("cwd"),
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sources in an environment of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "sources"  # a build in the checkout would leave, and later find, old files
    needed = ("edgekd", "benchmarks", "devices", "exporters")
    for name in needed:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    made = run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(copy)])
    assert made.returncode == 0, made.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel and its core dependencies alone."""
    folder = tmp_path_factory.mktemp("clean") / "env"
    assert run([sys.executable, "-m", "venv", "--without-pip", str(folder)]).returncode == 0
    pinned = folder / "pins.txt"
    lines = (ROOT / "requirements.txt").read_text(encoding="utf8").splitlines()
    # A constraint may name no extras.
    plain = [re.sub(r"\[.*\]", "", line) for line in lines]
    pinned.write_text("\n".join(line for line in plain if "==" in line and "torch" not in line))
    into = ("--python", str(folder / "bin" / "python"))
    pip = [sys.executable, "-m", "pip", *into, "install", "-q", "--no-compile"]
    installed = run([*pip, "-c", str(pinned), str(wheel)])
    assert installed.returncode == 0, installed.stderr[-2000:]
    return folder / "bin"


def sources() -> set[str]:
    """What has to be in the wheel: every module, recipe and template, by its installed name."""
    found = set()
    for name in ("edgekd", "benchmarks", "devices", "exporters"):
        for path in (ROOT / name).rglob("*"):
            inside = path.relative_to(ROOT)
            linked = any((ROOT / p).is_symlink() for p in inside.parents)
            left_out = {"__pycache__", "results", "trials"} & set(inside.parts)
            if linked or path.is_dir() or left_out:
                continue
            found.add(str(inside) if name == "edgekd" else f"edgekd/{inside}")
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    assert names == sources()
    assert {n.split("/")[0] for n in names} == {"edgekd"}


def test_the_clean_environment_has_no_torch_and_one_top_level_name(
    clean: Path,
) -> None:
    said = run([str(clean / "python"), "-c", "import torch"])
    assert "No module named 'torch'" in said.stderr
    code = (
        "import importlib.metadata as m\n"
        "print({f.parts[0] for f in m.files('edgekd') "
        "if not f.parts[0].startswith('edgekd-') and '..' not in f.parts})"
    )
    elsewhere = str(clean.parent)  # in the checkout its own metadata would be found first
    assert run([str(clean / "python"), "-c", code], cwd=elsewhere).stdout.strip() == "{'edgekd'}"


def write_model(path: Path, *, layers: int) -> None:
    """Write a chain of matrix products over a float, an int64 and a uint8 input, batch free."""
    rng = np.random.default_rng(0)
    shape: list[str | int | None] = ["batch", 256]
    kinds = {"x": TensorProto.FLOAT, "ids": TensorProto.INT64, "pixels": TensorProto.UINT8}
    nodes = [
        helper.make_node("Cast", [n], [f"{n}_f"], to=TensorProto.FLOAT) for n in ("ids", "pixels")
    ]
    nodes += [
        helper.make_node("Add", ["x", "ids_f"], ["a"]),
        helper.make_node("Add", ["a", "pixels_f"], ["h0"]),
    ]
    weights = []
    for i in range(layers):
        weight = rng.normal(0, 0.05, (256, 256)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info(n, kind, shape) for n, kind in kinds.items()],
        [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, shape)],
        weights,
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def test_bench_compares_any_two_files_without_torch(clean: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "a.onnx", layers=1)
    write_model(tmp_path / "b.onnx", layers=24)
    said = run(
        [
            str(clean / "edgekd"),
            "bench",
            "a.onnx",
            "--vs",
            "b.onnx",
            "--rounds",
            "3",
            "--time",
            "1s",
            "--json",
            "-",
        ],
        cwd=str(tmp_path),
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    text = json.dumps(found)
    assert "blocks_s" in text  # the raw seconds are there
    assert "floor" in text


def test_training_without_torch_names_the_extra(clean: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((90, 8, 8), np.uint8), y=np.arange(90) % 3)
    (tmp_path / "net.py").write_text("def net():\n    raise AssertionError\n")
    (tmp_path / "r.toml").write_text(
        'name = "r"\n[data]\npath = "d.npz"\n[model]\nbuild = "net.py:net"\n[model.train]\n'
    )
    said = run([str(clean / "edgekd"), "compress", "r.toml"], cwd=str(tmp_path))
    assert said.returncode == 2, said.stderr
    assert "pip install 'edgekd[train]'" in " ".join(said.stderr.split())
    assert not (tmp_path / "runs").exists()
