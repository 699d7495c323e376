"""`edgekd lint` as a stranger calls it: exit codes, one paragraph, JSON, bundles, broken files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgekd.cli.main import main
from tests.exporters.lint.small import Small

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs `edgekd lint ...`: exit code, stdout, stderr."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["edgekd", "lint", *map(str, args)])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with a float file and an INT8 file whose Tanh has no kernel."""
    s = Small()
    onnx.save(s.build(s.op("Relu", s.x)), tmp_path / "model.fp32.onnx")
    s = Small()
    y = s.pair(s.op("Tanh", s.pair(s.conv(s.pair(s.x))), name="squash"))
    onnx.save(s.build(s.pair(s.conv(y))), tmp_path / "model.int8.onnx")
    return tmp_path


def test_a_finding_of_weight_is_exit_code_1_and_names_node_reason_and_fix(
    call: Call, bundle: Path
) -> None:
    code, out, _ = call(bundle / "model.int8.onnx", "--for", "cpu")
    words = " ".join(out.split())
    assert code == 1
    assert "2 of 2 layers with weights run in INT8" in words
    assert "1 warning" in words
    for word in ("squash", "no 8-bit Tanh", "Fix:"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 160


def test_a_file_without_findings_is_exit_code_0(call: Call, bundle: Path) -> None:
    code, out, _ = call(bundle / "model.fp32.onnx")
    assert code == 0
    assert "Nothing to improve was found" in out


def test_json_has_every_finding(call: Call, bundle: Path) -> None:
    code, out, _ = call(bundle / "model.int8.onnx", "--json")
    (found,) = json.loads(out)
    assert (code, found["failed"], found["int8_layers"]) == (1, True, 2)
    squash = next(one for one in found["findings"] if one["node"] == "squash")
    assert squash["weight"] == "warning"
    assert len(squash["left"]) == 2


def test_runtimes_that_want_fixed_shapes_get_the_fixed_file(call: Call, tmp_path: Path) -> None:
    for name, batch in (("model.fp16.onnx", "n"), ("model.fp16.batch1.onnx", 1)):
        s = Small(shape=(batch, 4, 8, 8))
        onnx.save(s.build(s.op("Relu", s.x)), tmp_path / name)
    code, out, _ = call(tmp_path, "--json")
    found = {one["runtime"]: one["file"] for one in json.loads(out)}
    assert (code, found["coreml"]) == (0, "model.fp16.batch1.onnx")
    assert found["webgpu"] == "model.fp16.onnx"
    (tmp_path / "model.fp16.batch1.onnx").unlink()
    assert call(tmp_path, "--for", "coreml")[0] == 1


def test_each_file_of_a_bundle_is_checked_for_what_it_is_for(call: Call, bundle: Path) -> None:
    code, out, _ = call(bundle, "--for", "cpu", "--json")
    assert code == 1
    assert [one["file"] for one in json.loads(out)] == ["model.fp32.onnx", "model.int8.onnx"]


def test_names_of_a_file_cannot_steer_the_terminal(call: Call, tmp_path: Path) -> None:
    s = Small()
    name = "[red]" + "\x1b[2J" + "long" * 200
    onnx.save(s.build(s.pair(s.op("Tanh", s.pair(s.x), name=name))), tmp_path / "m.onnx")
    _, out, _ = call(tmp_path / "m.onnx")
    assert "[red]" in out
    assert "\x1b[2J" not in out
    assert len(out) < 5000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains no graph"),
        (b"junk" * 9, "not a complete ONNX file"),
        (None, "does not exist"),
    ],
)
def test_what_is_no_onnx_file_is_exit_code_2(
    content: bytes | None, words: str, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    code, _, err = call(path)
    assert code == 2
    assert words in " ".join(err.split())


def test_missing_external_data_is_exit_code_2_and_names_the_tensor(
    call: Call, tmp_path: Path
) -> None:
    s = Small()
    onnx.save(
        s.build(s.conv(s.x)),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    (tmp_path / "w.bin").unlink()
    code, _, err = call(tmp_path / "m.onnx")
    assert code == 2
    assert "w.bin" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--for", "toaster"], "knows no runtime 'toaster'"),
        (["--dla"], "--dla is a part of TensorRT"),
    ],
)
def test_a_bad_call_is_exit_code_2(
    options: list[str], words: str, call: Call, bundle: Path
) -> None:
    code, _, err = call(bundle / "model.int8.onnx", *options)
    assert code == 2
    assert words in " ".join(err.split())


def test_a_folder_that_is_no_bundle_is_exit_code_2(call: Call, tmp_path: Path) -> None:
    code, _, err = call(tmp_path)
    assert code == 2
    assert "contains no model.<variant>.onnx" in " ".join(err.split())


def test_no_torch_is_needed(bundle: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from edgekd.cli.main import main; "
        f"sys.argv = ['edgekd', 'lint', {str(bundle / 'model.fp32.onnx')!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == 0
