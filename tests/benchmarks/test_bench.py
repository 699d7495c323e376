from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto as T
from rich.console import Console
from typer.testing import CliRunner

from edgekd.benchmarks.bench import Inputs, bench
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.formatting import megabytes, milliseconds, times
from edgekd.benchmarks.measurement import Session, Setup, Timing
from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.stats import Estimate, Steadiness
from edgekd.benchmarks.table import bench_table
from edgekd.cli.bench import bench as command
from edgekd.devices import open_device
from edgekd.errors import DataError, EdgekdError, MeasureError, ModelError, RecipeError
from edgekd.wording import speaking

Save = Callable[..., Path]

QUICK = Timing(rounds=3, blocks=3, block_s=0.002, warmup_s=0.002)
LOCAL = open_device("local")


def shown(result: BenchResult) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(bench_table(result))
    return capture.get()


def settled(row: Row, **changes: Any) -> Row:
    """The row as if file and reference had been steady."""
    return replace(row, **{"pair": Steadiness(steady=True), **changes})


@pytest.mark.timing
def test_two_files_of_any_inputs(echo: Save, chain: Save) -> None:
    small = echo(
        "small[1].onnx", x=(T.FLOAT, ["batch", 128]), i=(T.INT64, [2]), u=(T.UINT8, ["n", 4, 4, 3])
    )
    big = chain("big.onnx", layers=24)
    result = bench([big], vs=small, device=LOCAL, timing=QUICK)
    first, second = result.rows
    assert (first.file, second.file) == (small, big)
    assert (first.speedup, first.verdict) == (None, "")
    assert second.speedup is not None
    assert second.speedup.high < 1
    assert settled(second).verdict == "slower"
    assert settled(second, speedup=Estimate(2, 1.5, 3, 3)).verdict == "faster"
    assert settled(second, speedup=Estimate(1, 0.9, 1, 3)).verdict == "no difference"
    assert settled(second, pair=Steadiness(steady=False)).verdict == "no steady state"
    hot = Steadiness(steady=True, throttled=True)
    assert settled(second, pair=hot, speedup=Estimate(2, 1.5, 3, 3)).verdict == "throttled"
    assert second.size_bytes == big.stat().st_size
    assert first.inputs == {"x": "float32 8x128", "i": "int64 2", "u": "uint8 1x4x4x3"}
    text = shown(result)
    for word in ("small[1].onnx", "big.onnx", "reference", "A/A noise floor", "random inputs"):
        assert word in text
    assert "big.onnx" in repr(result)


@pytest.mark.timing
def test_a_file_against_itself_is_no_difference(chain: Save, tmp_path: Path) -> None:
    model = chain("m.onnx")
    save_feeds(tmp_path / "f.npz", {"x": np.ones((2, 8, 128), np.float32)})
    timing = replace(QUICK, rounds=2)
    inputs = Inputs(tmp_path / "f.npz")
    result = bench([model, model], device=LOCAL, timing=timing, inputs=inputs)
    assert result.rows[1].speedup == Estimate(1, 1, 1, 2)
    assert settled(result.rows[1]).verdict == "no difference"
    assert result.feeds == str(tmp_path / "f.npz")


def test_bad_calls(echo: Save, tmp_path: Path) -> None:
    model = echo(x=(T.FLOAT, ["batch", "time", 3]))

    def refused(kind: type[EdgekdError], message: str, **options: Any) -> None:
        with pytest.raises(kind, match=message):
            bench([model], device=LOCAL, timing=QUICK, inputs=Inputs(**options))

    refused(RecipeError, "inputs are x, free axes .* are batch, time", shapes={"y": (1, 2)})
    refused(RecipeError, "--shape time=1x2 matches no input", shapes={"time": (1, 2)})
    refused(RecipeError, "does not fit the model", shapes={"x": (1, 2, 4)})
    refused(RecipeError, "only one", shapes={"x": (1, 2, 3)}, feeds=tmp_path / "f.npz")
    refused(DataError, "cannot be read", feeds=tmp_path / "f.npz")
    refused(RecipeError, "only one", batches=(1, 2), feeds=tmp_path / "f.npz")
    with pytest.raises(ModelError, match=r"nowhere.onnx"):
        bench([model], device=LOCAL, timing=QUICK, vs=tmp_path / "nowhere.onnx")
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


def test_what_another_runtime_refuses_is_told_and_the_rest_is_timed(tmp_path: Path) -> None:
    """OpenVINO lacks CDist of ONNX Runtime; where it alone is asked, that is an error."""
    pytest.importorskip("openvino")
    model = tmp_path / "distances.onnx"
    x = onnx.helper.make_tensor_value_info("x", T.FLOAT, [2, 8])
    y = onnx.helper.make_tensor_value_info("y", T.FLOAT, [2, 2])
    node = onnx.helper.make_node(
        "CDist", ["x", "x"], ["y"], domain="com.microsoft", metric="euclidean"
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), model)
    both = [Setup("onnxruntime"), Setup("openvino")]
    result = bench([model], device=LOCAL, setups=both, timing=QUICK)
    assert [row.label for row in result.rows] == ["distances.onnx, onnxruntime"]
    ((label, reason),) = result.unavailable.items()
    assert label == "distances.onnx, openvino"
    assert reason.startswith("not available: distances.onnx could not be run: ")
    assert "\n" not in reason
    assert "CDist" in reason
    assert "openvino: not available" in shown(result)
    with pytest.raises(MeasureError, match="could not be run"):
        bench([model], device=LOCAL, setups=both, timing=QUICK, strict=True)
    with pytest.raises(MeasureError, match="could not be run"):
        bench([model], device=LOCAL, setups=both[1:], timing=QUICK)


@pytest.mark.timing
def test_the_command_needs_no_torch_and_prints_json(chain: Save) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import typer; from edgekd.cli.bench import bench; typer.run(bench)"
    )
    arguments = [str(chain("m.onnx")), "--rounds", "3", "--time", "1s", "--json", "-"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
    document = json.loads(done.stdout)
    session = Session.from_json(document["session"])
    assert document["rows"][0]["latency_s"]["n"] == len(session.measurements[0].runs) >= 3
    assert document["rows"][0]["conditions"]["device"] == "local"


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
        (["--device", "jetson"], "known: local"),
        (["--shape", "x"], "NAME=1x3x224x224"),
        (["--shape", "x=0x3"], "NAME=1x3x224x224"),
        (["--trt-layers", "l.json"], "give --trt-profile too"),
        (["--suite", "quick"], "a suite names its own files"),
        (["--list", "--threads", "2"], "files and --threads cannot be used with --list"),
        (["--trt-profile", "p.json"], "files cannot be used with --trt-profile"),
        (["--baseline", "main", "--profile"], "--profile does not go with --baseline"),
        (["--per-sample", "--baseline", "main"], "--per-sample does not go with"),
        (["--threads", "0"], "whole numbers from 1 to 256"),
        (["--threads", "1,two"], "whole numbers from 1 to 256"),
        (["--precision", "tight"], "--precision tight is invalid"),
        (["--time", "0s"], "--time 0s is invalid"),
        (["--option", "spin"], "KEY=VALUE"),
        (["--runtime", "abacus"], "the runtime 'abacus' is unknown"),
        (["--pipeline", "{folder}/no.py"], "does not exist"),
        (["--json", "{folder}/there.json"], "is not overwritten"),
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


@pytest.mark.timing
def test_setups_batches_and_streams_are_rows_of_one_session(echo: Save) -> None:
    model = echo(x=(T.FLOAT, ["batch", 64]))
    setups = [Setup(), Setup(threads=2), Setup(streams=2)]
    inputs = Inputs(batches=(1, 8))
    result = bench([model], device=LOCAL, timing=QUICK, setups=setups, inputs=inputs)
    assert [row.label for row in result.rows] == [
        f"echo.onnx, {threads}, {streams}, batch {batch}"
        for threads, streams in (
            ("1 thread", "1 stream"),
            ("2 threads", "1 stream"),
            ("1 thread", "2 streams"),
        )
        for batch in (1, 8)
    ]
    assert [row.verdict == "unlike inputs" for row in result.rows] == [False, True] * 3
    one, eight = result.rows[:2]
    assert (one.inputs, eight.inputs) == ({"x": "float32 1x64"}, {"x": "float32 8x64"})
    assert one.throughput_hz.value <= 1 / one.latency_s.value
    assert eight.throughput_hz.value > one.throughput_hz.value


@pytest.mark.timing
def test_end_to_end_is_told_apart(echo: Save, tmp_path: Path) -> None:
    pipeline = tmp_path / "app.py"
    pipeline.write_text(
        "import time, numpy as np\n"
        "def inputs(): return [1, 2]\n"
        "def preprocess(raw): time.sleep(0.002); return {'x': np.full((1, 8), raw, 'f')}\n"
        "def postprocess(outputs): time.sleep(0.001); return outputs['x_out'].argmax()\n",
        encoding="utf8",
    )
    timing = replace(QUICK, parts=True)
    model = echo(x=(T.FLOAT, ["batch", 8]))
    plain = bench([model], device=LOCAL, timing=timing).rows[0]
    assert set(plain.parts_s) == {"copy_in", "engine", "copy_out"}
    row = bench([model], device=LOCAL, timing=timing, inputs=Inputs(pipeline=pipeline)).rows[0]
    assert list(row.parts_s) == ["preprocess", "copy_in", "engine", "copy_out", "postprocess"]
    assert 0.002 < row.parts_s["preprocess"].value < 0.1
    assert 0.001 < row.parts_s["postprocess"].value < 0.1


def test_a_batch_needs_a_free_first_axis(echo: Save) -> None:
    fixed, inputs = echo(x=(T.FLOAT, [1, 8])), Inputs(batches=(2,))
    with speaking("flags"), pytest.raises(RecipeError, match="leave --batch out"):
        bench([fixed], device=LOCAL, timing=QUICK, inputs=inputs)
    with speaking("python"), pytest.raises(RecipeError, match="leave batch out"):
        bench([fixed], device=LOCAL, timing=QUICK, inputs=inputs)


def run_command(*arguments: str) -> Any:
    """Run `edgekd bench` as a user does; return what it printed."""
    command = [sys.executable, "-m", "edgekd", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_profiles_and_names_what_is_not_there(chain: Save) -> None:
    said = run_command(
        str(chain("m.onnx")),
        *("--runtime", "onnxruntime,tensorrt", "--rounds", "3", "--time", "1s"),
        *("--profile", "--json", "-"),
    )
    assert said.returncode == 0, said.stderr
    document = json.loads(said.stdout)
    assert "not available" in document["unavailable"]["tensorrt"]
    (profile,) = document["profiles"]
    assert profile["label"] == "m.onnx"
    operators = {node["operator"] for node in profile["profile"]["nodes"]}
    assert operators & {"MatMul", "FusedMatMul", "FusedGemm", "Gemm"}


def test_the_command_reads_what_trtexec_wrote(tmp_path: Path) -> None:
    written = tmp_path / "profile.json"
    rows = [{"count": 10}, {"name": "conv1", "timeMs": 10.0, "averageMs": 1.0, "percentage": 100.0}]
    written.write_text(json.dumps(rows), encoding="utf8")
    said = run_command("--trt-profile", str(written))
    assert said.returncode == 0, said.stderr
    assert "conv1" in said.stdout
    written.write_text("[1, 2]", encoding="utf8")
    refused = run_command("--trt-profile", str(written))
    assert refused.returncode == 2
    assert "profile.json" in refused.stderr


def test_a_suite_passes_over_no_flag_in_silence() -> None:
    said = run_command("--suite", "quick", "--threads", "4", "--end-to-end", "--verbose")
    assert said.returncode == 2
    assert "--threads and --end-to-end cannot be used with --suite" in said.stderr


def test_the_command_asks_for_a_model() -> None:
    said = run_command()
    assert said.returncode == 2
    assert "nothing to time" in said.stderr


def test_files_and_runtimes_must_fit(tmp_path: Path, chain: Save) -> None:
    with pytest.raises(RecipeError, match=r"torch cannot run .*m.onnx; .*torch takes .pt2"):
        bench([chain("m.onnx")], device=LOCAL, setups=[Setup("torch")])
    with pytest.raises(RecipeError, match=r"does not describe its inputs"):
        bench([tmp_path / "m.pt2"], device=LOCAL, setups=[Setup("torch")])
    said = run_command(str(tmp_path / "m.onnx"), "--html", str(tmp_path / "o.html"), "--list")
    assert (said.returncode, "it does not go with" in said.stderr) == (2, True)


@pytest.mark.timing
def test_the_command_keeps_compares_and_draws(chain: Save, tmp_path: Path) -> None:
    """Store, list, and a baseline that a much heavier file fails with exit code 1."""
    kept, quick = ("--history", str(tmp_path / "h.sqlite")), ("--rounds", "3", "--time", "2s")
    model, heavy = chain("m.onnx", layers=8), chain("heavy.onnx", layers=40)
    page = tmp_path / "o.html"
    first = run_command(str(model), "--store", "net", "--html", str(page), *kept, *quick)
    assert first.returncode == 0, first.stderr
    assert "m.onnx" in page.read_text(encoding="utf8")
    assert "m.onnx" in run_command("--list", *kept).stdout
    assert run_command(str(model), "--baseline", "net", *kept, *quick).returncode == 0
    drawn = tmp_path / "slower.html"
    against = ("--baseline", "net", "--unlike-names", "--html", str(drawn))
    slower = run_command(str(heavy), *against, *kept, *quick)
    assert slower.returncode == 1, slower.stdout
    assert "1 of 1 proven slower than net" in drawn.read_text(encoding="utf8")
    assert "slower than the baseline 'net'" in slower.stderr
    assert run_command(str(model), "--baseline", "other", *kept).returncode == 2


def test_the_workflow_of_the_documentation_uses_options_that_exist() -> None:
    """docs/github-actions.yml was run line by line; this keeps its flags true."""
    text = (Path(__file__).parents[2] / "docs" / "github-actions.yml").read_text(encoding="utf8")
    commands = [line for line in text.splitlines() if "edgekd bench" in line]
    help_text = run_command("--help").stdout
    flags = {word for line in commands for word in line.split() if word.startswith("--")}
    assert flags >= {"--baseline", "--allow", "--store"}
    assert all(flag in help_text for flag in flags)
