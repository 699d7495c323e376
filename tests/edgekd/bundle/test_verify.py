from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import typer
from typer.testing import CliRunner

from edgekd.benchmarks.measurement import Timing
from edgekd.bundle import verify
from edgekd.bundle.golden import read_arrays, write_arrays
from edgekd.bundle.sums import SUMS, write_sums
from edgekd.bundle.transport import UPDATE
from edgekd.cli.verify import verify as command
from edgekd.errors import BadInput, ModelError, RecipeError, VerifyFailed
from edgekd.store import file_sha256

KINDS = ("pixels", "planes", "text", "array")
Get = Callable[[str], Path]


def reseal(folder: Path) -> None:
    """What somebody does who changes a file and hides it: every hash is right again."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for model in manifest["models"]:
        if (folder / model["file"]).is_file():
            model["sha256"] = file_sha256(folder / model["file"])
    path.write_text(json.dumps(manifest))
    (folder / SUMS).unlink()
    write_sums(folder)


def change(folder: Path, name: str, update: Callable[[Any], None]) -> None:
    value = json.loads((folder / name).read_text())
    update(value)
    (folder / name).write_text(json.dumps(value))
    reseal(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_bundle_keeps_its_promises(bundles: Get, kind: str) -> None:
    report = verify(bundles(kind))
    assert report.ok, report.faults
    assert report.checks[-1].detail.endswith(" % of the tolerance")
    models = sorted(path.name for path in bundles(kind).glob("*.onnx"))
    assert sorted(check.what for check in report.checks) == ["files", *models, "preprocessing"]
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


def test_a_bundle_works_wherever_it_is_copied(copy: Get) -> None:
    assert verify(copy("text")).ok


@pytest.mark.parametrize("key", ["mean", "std"])
def test_swapped_channels_in_the_preprocessing_are_found(copy: Get, key: str) -> None:
    folder = copy("planes")
    change(folder, "preprocess.json", lambda p: p.update({key: p[key][::-1]}))
    report = verify(folder)
    assert [check.what for check in report.checks if not check.ok] == ["preprocessing"]
    assert "is not the golden tensor" in report.faults
    assert report.advice == UPDATE, "the files are whole: copying them again would not help"


def test_another_size_or_vocabulary_is_found(copy: Get, bundles: Get) -> None:
    folder = copy("pixels")
    change(folder, "preprocess.json", lambda p: p.update(height=p["width"], width=p["height"]))
    assert "has shape" in verify(folder).faults


def test_another_vocabulary_is_found(copy: Get) -> None:
    folder = copy("text")
    path = folder / "preprocess" / "vocabulary.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    reseal(folder)
    assert "'tokens' differs" in verify(folder).faults


def test_a_bundle_without_a_file_of_its_preprocessing_is_found(copy: Get) -> None:
    folder = copy("text")
    (folder / "preprocess" / "vocabulary.txt").unlink()
    reseal(folder)
    assert "'preprocess/vocabulary.txt' is named by manifest.json and missing" in (
        verify(folder).faults
    )


def test_another_model_behind_the_same_name_is_found(copy: Get) -> None:
    folder = copy("pixels")
    model = onnx.load(folder / "model.int8.onnx")
    scale = next(t for t in model.graph.initializer if t.name == "w_scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.array(0.04, np.float32), "w_scale"))
    onnx.save(model, folder / "model.int8.onnx")
    reseal(folder)
    report = verify(folder)
    assert [check.what for check in report.checks if not check.ok] == ["model.int8.onnx"]
    assert "is allowed" in report.faults


def test_a_model_that_only_the_sums_know_is_found(copy: Get) -> None:
    folder = copy("pixels")
    (folder / "model.int8.onnx").write_bytes((folder / "model.fp32.onnx").read_bytes())
    (folder / SUMS).unlink()
    write_sums(folder)
    assert "is not the file that manifest.json describes" in verify(folder).faults


def test_a_small_change_of_an_fp32_answer_is_found(copy: Get) -> None:
    folder = copy("array")
    path = folder / "golden" / "outputs.fp32.npz"
    rows = read_arrays(path, 4)
    rows[2]["best"] += 1
    write_arrays(path, rows)
    reseal(folder)
    report = verify(folder)
    assert not report.ok
    assert "sample 2: 'best' differs by 1" in report.faults


def test_a_model_that_cannot_be_run_does_not_hide_the_others(copy: Get) -> None:
    folder = copy("pixels")
    (folder / "model.fp32.onnx").write_bytes(b"no model")
    reseal(folder)
    report = verify(folder)
    assert [check.what for check in report.checks if not check.ok] == ["model.fp32.onnx"]
    assert len(report.checks) == 6


def test_external_data_outside_the_bundle_is_refused(copy: Get, tmp_path: Path) -> None:
    folder = copy("pixels")
    (tmp_path / "secret").write_bytes(bytes(36))
    model = onnx.load(folder / "model.fp32.onnx")
    weight = next(t for t in model.graph.initializer if t.name == "weight")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../secret"
    (folder / "model.fp32.onnx").write_bytes(model.SerializeToString())
    reseal(folder)
    assert "outside the folder" in verify(folder).faults


@pytest.mark.parametrize(
    "update",
    [
        lambda m: m["golden"].update(inputs="../inputs.npz"),
        lambda m: m["golden"]["samples"][0].update(image="/etc/hostname"),
        lambda m: m["models"][0].update(file="golden/../../model.onnx"),
        lambda m: m["golden"].update(samples=[]),
        lambda m: m["golden"]["input_tolerance"][0].update(image=float("inf")),
        lambda m: m.pop("models"),
        lambda m: m.update(format=99),
    ],
)
def test_hostile_manifests_are_refused(copy: Get, update: Callable[[Any], None]) -> None:
    folder = copy("pixels")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    update(manifest)
    path.write_text(json.dumps(manifest))
    (folder / SUMS).unlink()
    write_sums(folder)
    with pytest.raises(ModelError, match=r"not the manifest of a bundle|format 99"):
        verify(folder)


def test_a_promise_that_was_taken_out_is_missed(copy: Get) -> None:
    folder = copy("pixels")
    change(folder, "manifest.json", lambda m: m["golden"]["outputs"].pop("int8"))
    assert "contains no golden outputs of 'int8'" in verify(folder).faults
    change(folder, "manifest.json", lambda m: m["golden"].update(outputs={"int8": "x.npz"}))
    assert "'x.npz' is named by manifest.json and missing" in verify(folder).faults


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_is_no_bundle_is_said_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is not a bundle") as caught:
        verify(tmp_path / name)
    assert caught.value.exit_code == 2


def test_an_unknown_device_is_refused(bundles: Get) -> None:
    with pytest.raises(RecipeError, match="toaster"):
        verify(bundles("array"), device="toaster")


@pytest.mark.parametrize("kind", ["pixels", "text"])
def test_speed_is_measured_again_beside_what_was_promised(bundles: Get, kind: str) -> None:
    timing = Timing(rounds=2, blocks=2, block_s=0.001, warmup_s=0.001)
    report = verify(bundles(kind), latency=True, timing=timing)
    assert report.ok
    assert report.speeds[0].file == "model.fp32.onnx"
    assert all(s.then_s is not None and s.now_s.value > 0 for s in report.speeds)
    assert report.measured_on == "a CPU, onnxruntime 1"
    assert "onnxruntime 1." in report.device_is
    if kind == "pixels":
        assert report.speeds[1].speedup is not None


def test_it_needs_no_torch(bundles: Get) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "class No:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'onnxscript', 'matplotlib'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "import edgekd.cli.verify\n"
        "assert not {'numpy', 'onnx', 'pydantic'} & set(sys.modules)\n"
        "from edgekd.bundle import verify\n"
        "assert verify(Path(sys.argv[1])).ok\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundles("array"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def app() -> typer.Typer:
    found = typer.Typer()
    found.command()(command)
    return found


def test_the_command_prints_a_table_or_json(app: typer.Typer, bundles: Get) -> None:
    folder = str(bundles("array"))
    table = CliRunner().invoke(app, [folder])
    assert table.exit_code == 0, table.output
    assert "model.fp32.batch1.onnx" in table.output
    plain = CliRunner().invoke(app, [folder, "--json"])
    assert json.loads(plain.output)["ok"] is True


def test_the_command_fails_with_a_paragraph(app: typer.Typer, copy: Get) -> None:
    folder = copy("array")
    (folder / "MODEL_CARD.md").write_text("[bold]\x1b[31m")
    (folder / "\x1b[31mred").write_text("")
    done = CliRunner().invoke(app, [str(folder)])
    assert isinstance(done.exception, VerifyFailed)
    assert done.exception.exit_code == 1
    assert "'MODEL_CARD.md' was changed" in str(done.exception)
    assert "\x1b[31m" not in done.output + str(done.exception)
    plain = CliRunner().invoke(app, [str(folder), "--json"])
    assert json.loads(plain.output)["ok"] is False
