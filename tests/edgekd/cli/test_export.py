"""`edgekd export` prints a script that a shell and the trtexec of its version take."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.cli.main import main

Call = Callable[..., tuple[int, str, str]]
Make = Callable[[str], Path]
SAMPLES = Path(__file__).parents[3] / "../shared/samples/trtexec"
ALL = ("fp32", "fp16", "int8-tensorrt")


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    *,
    name: str = "x",
    shape: tuple[str | int, ...] = ("batch", 4),
    opset: int = 17,
) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def write(folder: Path, variant: str, *, zero: type = np.int8, **more: Any) -> Path:
    """One product in float32, in float16, or behind Q/DQ."""
    folder.mkdir(exist_ok=True)
    path, name = folder / f"model.{variant}.onnx", more.get("name", "x")
    node, weight = helper.make_node, np.eye(4, dtype=np.float32)
    if variant == "fp32":
        save(path, [node("MatMul", [name, "w"], ["y"])], {"w": weight}, **more)
    elif variant == "fp16":
        nodes = [
            node("Cast", [name], ["h"], to=TensorProto.FLOAT16),
            node("MatMul", ["h", "w"], ["z"]),
            node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
        ]
        save(path, nodes, {"w": weight.astype(np.float16)}, **more)
    else:
        constants = {"s": np.array(0.1, np.float32), "z": np.array(0, zero), "w": weight}
        nodes = [
            node("QuantizeLinear", [name, "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("MatMul", ["d", "w"], ["y"]),
        ]
        save(path, nodes, constants, **more)
    return path


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """Run the command in this process: exit code, stdout, and stderr in one line."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))

    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgekd", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, " ".join(printed.err.split())

    return called


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for variant in ALL:
        write(tmp_path / "net", variant)
    return tmp_path / "net"


@pytest.mark.parametrize("version", ["8.5", "10.3", "11"])
def test_the_script_builds_times_and_is_read(
    version: str, folder: Path, fake_trtexec: Make, call: Call, tmp_path: Path
) -> None:
    code, _, _ = call(folder, "--for", f"tensorrt-{version}", "--out", tmp_path / "board")
    script = tmp_path / f"board/tensorrt-{version}.sh"
    assert code == 0
    done = subprocess.run(
        ["sh", str(script), str(tmp_path / "on it's own")],
        env={**os.environ, "TRTEXEC": str(fake_trtexec(version))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("GPU Compute Time: min") == 3
    read = ("--read", tmp_path / "on it's own")
    code, shown, _ = call(folder, "--for", f"tensorrt-{version}", *read, "--json")
    assert code == 0
    found = json.loads(shown)
    assert [row["label"] for row in found["engines"]] == ["int8", "fp16", "fp32"]
    assert all(row["build_s"] == 1.5 for row in found["engines"])
    assert found["int8_over"]["rival"] == "fp16"
    assert found["int8_over"]["times"] == pytest.approx(0.65 / 0.62, rel=1e-4)
    assert "speed of INT8 over fp16: 1.048x" in found["text"]
    assert "less than 5% is not shown by that: ship fp16" in found["text"]


def test_a_folder_for_a_board_is_whole_and_may_be_moved(
    folder: Path, fake_trtexec: Make, call: Call, tmp_path: Path
) -> None:
    model = onnx.load(folder / "model.fp32.onnx")
    onnx.save(
        model,
        folder / "model.fp32.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="weights.bin",
    )
    write(folder, "int8", zero=np.uint8)
    assert call(folder, "--for", "jetson-orin", "--out", tmp_path / "board")[0] == 0
    board = (tmp_path / "board").rename(tmp_path / "elsewhere")
    names = {path.name for path in board.iterdir()}
    assert names == {"jetson-orin.sh", "weights.bin", *(f"model.{v}.onnx" for v in ALL)}
    script = (board / "jetson-orin.sh").read_text()
    assert str(tmp_path) not in script
    assert "MODELS" in script.partition("set -eu")[0]
    folder.rename(tmp_path / "gone")
    environment = {**os.environ, "TRTEXEC": str(fake_trtexec("10.3"))}
    command = ["sh", "jetson-orin.sh"]
    assert subprocess.run(command, cwd=board, env=environment, capture_output=True).returncode == 0
    assert (tmp_path / "tensorrt-10.3" / "int8.plan").is_file()


def test_what_is_missing_is_said_where_files_are_written(folder: Path, call: Call) -> None:
    code, shown, _ = call(folder, "--for", "qnn", "--out", folder / "out")
    assert code == 0
    assert "int8, which suits qnn best, is not here" in shown
    assert "wrote " in shown
    _, shown, _ = call(folder / "model.int8-tensorrt.onnx", "--for", "qnn")
    assert "is not here" not in shown  # a file alone that is quantized


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")
def test_openvino_says_its_result_and_that_nothing_is_written(folder: Path, call: Call) -> None:
    code, shown, _ = call(folder / "model.fp32.onnx", "--for", "openvino", "--out", folder / "out")
    assert code == 0
    assert "model.fp32.onnx: OpenVINO gives its outputs" in shown
    assert f"wrote nothing into {folder / 'out'}: openvino needs no other files" in shown
    assert not (folder / "out").exists()


def test_it_builds_and_times_here(
    folder: Path, fake_trtexec: Make, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRTEXEC", str(fake_trtexec("10.3")))
    calls = tmp_path / "cache/engines/calls"
    for _ in range(2):
        code, shown, _ = call(folder, "--for", "jetson-orin", "--build")
        assert code == 0
        assert "TensorRT 10.3.0 on NVIDIA Imagined" in shown
        assert len(calls.read_text().splitlines()) == 3  # the second time from the cache
    code, shown, _ = call(folder, "--for", "jetson-orin", "--build", "--out", tmp_path / "o")
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [
        "fp16.plan",
        "fp32.plan",
        "int8.plan",
    ]
    assert "speed of INT8 over fp16" in shown
    code, _, error = call(folder, "--for", "tensorrt-8.6", "--build")
    assert code == 2
    assert "is TensorRT 10.3.0" in error
    assert "give --for tensorrt-10.3" in error
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    if not Path("/usr/src/tensorrt/bin/trtexec").exists():
        code, _, error = call(folder, "--for", "tensorrt-10.3", "--build")
        assert (code, error.startswith("error: trtexec is not in PATH")) == (1, True)


def test_commands_are_for_the_shapes_that_were_asked(folder: Path, call: Call) -> None:
    for variant in ALL:
        write(folder, variant, name="in put", shape=("batch", "time", 4))
    asked = ("--batch", "1,4,16", "--length", "time=8,64,128")
    code, shown, _ = call(folder, "--for", "tensorrt-10.13", *asked)
    assert code == 0
    assert "'--minShapes=in put:1x8x4'" in shown
    assert "'--optShapes=in put:4x64x4'" in shown
    assert "'--maxShapes=in put:16x128x4'" in shown
    assert "is a guess" not in shown
    code, shown, _ = call(folder, "--for", "tensorrt-10.13")
    assert "# Axis 1 of 'in put' (time) is free; its length below is a guess." in shown


def test_float16_without_a_file_of_it(folder: Path, call: Call) -> None:
    (folder / "model.fp16.onnx").unlink()
    _, shown, _ = call(folder, "--for", "tensorrt-8.6")
    assert "run build-fp16-chosen" in shown
    _, shown, _ = call(folder, "--for", "tensorrt-11")
    assert "fp16" not in shown
    (folder / "model.int8-tensorrt.onnx").unlink()
    _, shown, _ = call(folder, "--for", "jetson-thor")
    assert "No file here is INT8 for TensorRT" in shown


def test_a_file_of_a_newer_operator_set_stops_no_other(folder: Path, call: Call) -> None:
    write(folder, "fp32", opset=21)
    code, shown, _ = call(folder, "--for", "tensorrt-10.3")
    assert code == 0
    assert "# Left out: model.fp32.onnx: TensorRT 10.3 reads operator sets of ONNX to 20" in shown
    assert shown.count("run build-") == 2


def test_a_file_alone(folder: Path, call: Call) -> None:
    code, shown, _ = call(folder / "model.int8-tensorrt.onnx", "--for", "tensorrt-10.3", "--json")
    assert code == 0
    assert json.loads(shown)["text"].count("run build-") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "tensorrt-7"], "TensorRT 7 are not known here; known are 8.0, 8.2"),
        (["--for", "android"], "--for android is unknown; known are tensorrt-VERSION"),
        (["--for", "tensorrt-10.3", "--batch", "8,1,1"], "'batch' are not in order"),
        (["--for", "tensorrt-10.3", "--batch", "-1"], "--batch -1 cannot be read"),
        (["--for", "tensorrt-10.3", "--batch", "1,2"], "--batch 1,2 cannot be read"),
        (["--for", "tensorrt-10.3", "--length", "8"], "--length 8 cannot be read"),
        (["--for", "tensorrt-10.3", "--read", "y", "--out", "x"], "--read and --out do not go"),
        (
            ["--for", "tensorrt-8.2"],
            "8.2 reads operator sets of ONNX to 13, and it has 17; compress",
        ),
    ],
)
def test_calls_that_make_no_sense(
    arguments: list[str], message: str, folder: Path, call: Call
) -> None:
    code, _, error = call(folder, *arguments)
    assert code == 2
    assert message in error


def test_files_that_are_not_for_it(folder: Path, call: Call, tmp_path: Path) -> None:
    code, _, error = call(tmp_path, "--for", "tensorrt-10.3")
    assert code == 2
    assert "is neither an ONNX file nor a folder" in error
    write(folder, "int8", zero=np.uint8)
    code, _, error = call(folder / "model.int8.onnx", "--for", "tensorrt-10.3")
    assert code == 2
    assert "its zero points are uint8, and TensorRT reads int8 alone" in error
    assert call(folder, "--for", "tensorrt-10.3")[0] == 0  # the one for CPUs is passed over
    write(folder, "fp32", name="a,b")
    code, _, error = call(folder, "--for", "tensorrt-10.3")
    assert code == 2
    assert "rename that input" in error


def run_script(folder: Path, call: Call, target: str, trtexec: Path, into: Path) -> int:
    board = into.with_name("board")
    assert call(folder, "--for", target, "--out", board)[0] == 0
    environment = {**os.environ, "TRTEXEC": str(trtexec)}
    command = ["sh", str(board / f"{target}.sh"), str(into)]
    return subprocess.run(command, env=environment, capture_output=True).returncode


def test_one_engine_that_fails_does_not_stop_the_others(
    folder: Path, fake_trtexec: Make, call: Call, tmp_path: Path
) -> None:
    model = onnx.load(folder / "model.int8-tensorrt.onnx")
    model.graph.node.append(helper.make_node("Odd", ["y"], ["odd"], domain="my.dom"))
    model.opset_import.append(helper.make_opsetid("my.dom", 1))
    onnx.save(model, folder / "model.int8-tensorrt.onnx")
    into = tmp_path / "results"
    assert run_script(folder, call, "tensorrt-10.3", fake_trtexec("10.3"), into) == 1
    code, shown, _ = call(folder, "--for", "tensorrt-10.3", "--read", into)
    assert code == 0
    assert "int8: TensorRT 10.3.0 cannot read the ONNX file: [8] No importer" in shown
    assert "speed of INT8" not in shown
    assert shown.count("742" if SAMPLES.is_dir() else "200") >= 2


def test_a_script_for_another_version_says_which_one_to_take(
    folder: Path, fake_trtexec: Make, call: Call, tmp_path: Path
) -> None:
    into = tmp_path / "results"
    assert run_script(folder, call, "tensorrt-10.3", fake_trtexec("8.5"), into) == 1
    code, _, error = call(folder, "--for", "tensorrt-10.3", "--read", into)
    assert code == 1
    assert "TensorRT 8.5.3 does not know --skipInference; the command is for" in error
    assert "give --for tensorrt-8.5" in error


def test_any_folder_reaches_the_shell(
    folder: Path, fake_trtexec: Make, call: Call, tmp_path: Path
) -> None:
    name = "(a b'c}d\"e$f&;ü"
    (folder / "model.fp16.onnx").unlink()
    (folder / "model.int8-tensorrt.onnx").unlink()
    odd = folder.rename(tmp_path / name)
    assert run_script(odd, call, "tensorrt-11", fake_trtexec("11"), tmp_path / f"-{name}") == 0


def test_results_that_are_missing_or_foreign(folder: Path, call: Call, tmp_path: Path) -> None:
    code, _, error = call(folder, "--for", "tensorrt-10.3", "--read", tmp_path)
    assert code == 1
    assert "has no build-*.txt" in error
    passed = "&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec\n"
    (tmp_path / "build-int8.txt").write_text(passed)
    code, _, error = call(folder, "--for", "tensorrt-10.3", "--read", tmp_path)
    assert code == 1
    assert "time-int8.txt cannot be read" in error
    (tmp_path / "time-int8.txt").write_text(passed)
    code, _, error = call(folder, "--for", "tensorrt-10.3", "--read", tmp_path)
    assert code == 1
    assert "int8.times.json cannot be read" in error
