from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto as T
from rich.console import Console
from typer.testing import CliRunner

from edgekd.benchmarks.bench import BenchResult, bench
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Session, Timing
from edgekd.benchmarks.statistics import Estimate
from edgekd.benchmarks.table import megabytes, milliseconds, times
from edgekd.cli.bench import bench as command
from edgekd.devices import open_device
from edgekd.errors import DataError, EdgekdError, MeasureError, ModelError, RecipeError

Save = Callable[..., Path]

QUICK = Timing(rounds=3, blocks=3, block_s=0.002, warmup_s=0.002)
LOCAL = open_device("local")


def shown(result: BenchResult) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(result.table())
    return capture.get()


@pytest.mark.timing
def test_two_files_of_any_inputs(echo: Save, chain: Save) -> None:
    small = echo(
        "small[1].onnx", x=(T.FLOAT, ["batch", 8]), i=(T.INT64, [2]), u=(T.UINT8, ["n", 4, 4, 3])
    )
    big = chain("big.onnx", layers=24)
    result = bench([big], vs=small, device=LOCAL, timing=QUICK)
    first, second = result.files
    assert (first.file, second.file) == (small, big)
    assert (first.speedup, first.verdict) == (None, "")
    assert second.speedup is not None
    assert second.speedup.high < 1
    assert replace(second, steady=True).verdict == "slower"
    assert replace(second, steady=True, speedup=Estimate(2, 1.5, 3, 3)).verdict == "faster"
    assert replace(second, steady=True, speedup=Estimate(1, 0.9, 1, 3)).verdict == "no difference"
    assert replace(second, steady=False).verdict == "no steady state"
    assert second.size_bytes == big.stat().st_size
    assert first.inputs == {"x": "float32 1x8", "i": "int64 2", "u": "uint8 1x4x4x3"}
    text = shown(result)
    for word in ("small[1].onnx", "big.onnx", "reference", "A/A floor", "random inputs", "1x8"):
        assert word in text
    assert "big.onnx" in repr(result)


@pytest.mark.timing
def test_a_file_against_itself_is_no_difference(chain: Save, tmp_path: Path) -> None:
    model = chain("m.onnx")
    save_feeds(tmp_path / "f.npz", {"x": np.ones((2, 8, 128), np.float32)})
    timing = replace(QUICK, rounds=2)
    result = bench([model, model], device=LOCAL, timing=timing, feeds=tmp_path / "f.npz")
    assert result.files[1].speedup == Estimate(1, 1, 1, 2)
    assert replace(result.files[1], steady=True).verdict == "no difference"
    assert result.feeds == str(tmp_path / "f.npz")


def test_bad_calls(echo: Save, tmp_path: Path) -> None:
    model = echo(x=(T.FLOAT, ["batch", "time", 3]))

    def refused(kind: type[EdgekdError], message: str, **options: object) -> None:
        with pytest.raises(kind, match=message):
            bench([model], device=LOCAL, timing=QUICK, **options)  # type: ignore[arg-type]

    refused(RecipeError, "inputs are x, free axes .* are batch, time", shapes={"y": (1, 2)})
    refused(RecipeError, "--shape time=1x2 fits nothing", shapes={"time": (1, 2)})
    refused(RecipeError, "does not fit the file", shapes={"x": (1, 2, 4)})
    refused(RecipeError, "only one", shapes={"x": (1, 2, 3)}, feeds=tmp_path / "f.npz")
    refused(DataError, "cannot be read", feeds=tmp_path / "f.npz")
    refused(ModelError, "nowhere.onnx", vs=tmp_path / "nowhere.onnx")
    with pytest.raises(RecipeError, match="got no file"):
        bench([], device=LOCAL)


def test_random_inputs_that_the_model_refuses(tmp_path: Path) -> None:
    """An index below 100 overruns a table of two rows."""
    table = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "table")
    i = onnx.helper.make_tensor_value_info("i", T.INT64, [50])
    y = onnx.helper.make_tensor_value_info("y", T.FLOAT, [50, 3])
    nodes = [onnx.helper.make_node("Gather", ["table", "i"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "g", [i], [y], [table])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "g.onnx"
    )
    with pytest.raises(MeasureError, match=r"g.onnx could not be run.*\n.*--feeds FILE.npz"):
        bench([tmp_path / "g.onnx"], device=LOCAL, timing=QUICK)


@pytest.mark.timing
def test_the_command_needs_no_torch_and_prints_json(chain: Save) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import typer; from edgekd.cli.bench import bench; typer.run(bench)"
    )
    arguments = [str(chain("m.onnx")), "--rounds", "3", "--json", "-"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
    document = json.loads(done.stdout)
    assert document["files"][0]["latency_s"]["n"] == 3
    assert document["conditions"]["device"] == "local"
    session = Session.from_json(document["session"])
    assert len(session.measurements[0].runs) == 3


def test_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, edgekd.cli.bench, edgekd.benchmarks.bench, edgekd.devices\n"
        "print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "jetson"], "known are: local"),
        (["--shape", "x"], "NAME=1x3x224x224"),
        (["--shape", "x=0x3"], "NAME=1x3x224x224"),
        (["--json", "{folder}/there.json"], "nothing is overwritten"),
        (["--json", "{folder}/no/there.json"], "there is no folder"),
    ],
)
def test_the_command_refuses_before_it_works(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "there.json").write_text("{}", encoding="utf8")
    app = typer.Typer()
    app.command()(command)
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    result = CliRunner().invoke(app, ["m.onnx", *filled])
    assert isinstance(result.exception, RecipeError)
    assert message in str(result.exception)


def test_no_more_digits_than_the_interval_supports() -> None:
    assert milliseconds(Estimate(1.2345e-3, 1.1e-3, 1.4e-3, 6)) == "1.23 ms [1.10, 1.40]"
    assert milliseconds(Estimate(0.12345, 0.10, 0.14, 6)) == "123 ms [100, 140]"
    assert milliseconds(Estimate(3.512e-6, 3.49e-6, 3.53e-6, 6)) == (
        "0.003512 ms [0.003490, 0.003530]"
    )
    assert times(Estimate(1.8512, 1.79, 1.91, 6)) == "1.85x [1.79, 1.91]"
    assert times(Estimate(1, 1, 1, 6)) == "1.00x"
    assert [megabytes(n) for n in (120_000, 13_500_000)] == ["0.12 MB", "13.5 MB"]
