"""Suites: what ships runs, what is wrong is said in one paragraph, what is made is really INT8."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekd.benchmarks import runtimes
from edgekd.benchmarks.suites.models import (
    fill_weights,
    find_file,
    quantize_at_random,
    random_calls,
)
from edgekd.benchmarks.suites.run import run_suite
from edgekd.benchmarks.suites.suite import Suite, load_suite, shipped_suites
from edgekd.cli.main import app
from edgekd.devices import open_device
from edgekd.errors import MeasureError, ModelError, RecipeError
from edgekd.exporters.ort_session import optimized, predictor

Save = Callable[..., Path]
LIGHT = "package:onnx/backend/test/data/light/"
QUICK_S = 15
MODEL = '[[models]]\nname = "net"\nfile = "net.onnx"\n'


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f'title = "mine"\n{text}', encoding="utf8")
    return str(path)


def operators_run(model: Path) -> Counter[str]:
    """What ONNX Runtime makes of a file."""
    return Counter(node.op_type for node in optimized(model).graph.node)


@pytest.mark.parametrize("name", shipped_suites())
def test_every_shipped_suite_names_files_that_exist(name: str) -> None:
    suite = load_suite(name)
    assert all(model.file.path.is_file() for model in suite.models)
    assert suite.setups.each()[0].runtime == "onnxruntime"


def test_cpu_and_quick_ship() -> None:
    assert {"cpu", "quick"} <= set(shipped_suites())


@pytest.mark.timing
def test_the_quick_suite_runs_in_its_time() -> None:
    shares: list[float] = []
    start = time.monotonic()
    result = run_suite(load_suite("quick"), device=open_device("local"), progress=shares.append)
    assert time.monotonic() - start < 2 * QUICK_S  # other work may share the processor
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)

    (model,) = result.models
    fp32, int8 = model.result.rows
    assert (fp32.speedup, fp32.label) == (None, "light_squeezenet.fp32.onnx")
    assert int8.speedup is not None
    assert int8.size_bytes < 0.3 * fp32.size_bytes
    assert int8.file == Path("light_squeezenet.int8.onnx")  # the folder is gone

    (table,) = result.tables()
    assert table.row_count == 2
    assert "outputs mean nothing" in str(table.caption)
    lines = [line for line in result.markdown().splitlines() if line.startswith("| SqueezeNet")]
    assert len(lines) == 2
    assert {line.count("|") for line in lines} == {7}
    stored = json.loads(json.dumps(result.to_json()))
    assert Suite.model_fields.keys() == stored["suite"].keys()
    assert stored["suite"]["models"][0]["file"] == f"{LIGHT}light_squeezenet.onnx"
    assert len(stored["models"][0]["rows"]) == 2


@pytest.mark.timing
def test_ones_own_suite_shows_what_is_not_available(chain: Save, tmp_path: Path) -> None:
    chain("net.onnx", width=16)
    chain("other.onnx", width=16, layers=4)
    absent = next((name for name in runtimes.RUNTIMES if runtimes.missing(name)), None)
    if absent is None:
        pytest.skip("every runtime is installed here")
    text = (
        f'[setups]\nruntimes = ["onnxruntime", "{absent}"]\n'
        "[timing]\nrounds = 3\nblocks = 3\nwarmup_s = 0.01\n"
        f'{MODEL}variants = ["other.onnx"]\n'
    )
    result = run_suite(load_suite(written(tmp_path, text)), device=open_device("local"))
    assert [row.file.name for row in result.models[0].result.rows] == ["net.onnx", "other.onnx"]
    assert f"| net | {absent} |  | not available |  |  |" in result.markdown()
    assert f"{absent} not available: " in result.markdown()
    assert f"{absent}: not available" in str(result.tables()[0].caption)


@pytest.mark.timing
def test_a_model_that_fails_does_not_end_the_suite(chain: Save, tmp_path: Path) -> None:
    chain("net.onnx", width=16)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    text = (
        'device = "local"\n[timing]\nrounds = 3\nblocks = 3\nwarmup_s = 0.01\n'
        f'[[models]]\nname = "bad"\nfile = "broken.onnx"\n{MODEL}'
    )
    table, page = tmp_path / "table.md", tmp_path / "page.html"
    out = ["--markdown", str(table), "--html", str(page)]
    ran = CliRunner().invoke(app, ["bench", "--suite", written(tmp_path, text), *out])
    assert isinstance(ran.exception, MeasureError)
    assert "1 of 2 models could not be timed. bad: " in str(ran.exception)
    assert "net.onnx" in ran.stdout  # the other is shown all the same
    assert "| net | net.onnx |" in table.read_text(encoding="utf8")
    assert "- bad: not timed: " in table.read_text(encoding="utf8")
    assert "bad: not timed: " in page.read_text(encoding="utf8")


def test_a_device_that_is_not_known_is_refused_before_the_work(chain: Save, tmp_path: Path) -> None:
    chain("net.onnx", width=16)
    suite = written(tmp_path, f'device = "moon"\n{MODEL}')
    ran = CliRunner().invoke(app, ["bench", "--suite", suite])
    assert isinstance(ran.exception, RecipeError)
    assert "the device 'moon' is unknown" in str(ran.exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[setups]\nthread = [1]\n" + MODEL, "setups.thread is not a known key; did you mean 'thr"),
        (MODEL + "int9 = true", "models[0].int9 is not a known key; did you mean 'int8'?"),
        ("[setups]\nthreads = [0]\n" + MODEL, "setups.threads[0]: Input should be greater than"),
        ("[timing]\nrounds = 2\n" + MODEL, "greater than or equal to 3 (got 2)"),
        ('[setups]\nruntimes = ["ort"]\n' + MODEL, "the runtime 'ort' is unknown; known: onnx"),
        (MODEL.replace("net.onnx", "gone.onnx"), "gone.onnx; give a path relative to"),
        (MODEL.replace("net.onnx", "package:onnx/no.onnx"), "onnx does not contain no.onnx"),
        (MODEL.replace("net.onnx", "package:no_such/a.onnx"), "pip install no_such"),
        (MODEL.replace("net.onnx", "package:onnx/../a.onnx"), "is invalid"),
        ("models = []", "models: "),
        (MODEL + MODEL, "models: two models are called 'net'"),
        ("", "models: Field required"),
        ("[[models]", "cannot be read as TOML"),
    ],
)
def test_a_fault_is_one_clear_paragraph(text: str, said: str, chain: Save, tmp_path: Path) -> None:
    chain("net.onnx")
    with pytest.raises(RecipeError) as caught:
        load_suite(written(tmp_path, text))
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert "\n\n" not in str(caught.value)


def test_all_faults_are_said_at_once(chain: Save, tmp_path: Path) -> None:
    chain("net.onnx")
    with pytest.raises(RecipeError, match=r"timing\.rounds.*models\[0\]\.fil is not"):
        load_suite(written(tmp_path, "[timing]\nrounds = 0\n" + MODEL + 'fil = "x"'))


def test_an_unknown_suite_lists_those_that_ship() -> None:
    with pytest.raises(RecipeError, match=r"cpuu does not exist.*cpu, quick"):
        load_suite("cpuu")


def test_the_int8_form_really_runs_in_integers(tmp_path: Path) -> None:
    source = find_file(f"{LIGHT}light_squeezenet.onnx", tmp_path)
    fp32, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    fill_weights(source, fp32)
    quantize_at_random(fp32, int8, shapes={})
    before = operators_run(fp32)
    after = operators_run(int8)
    assert before["Conv"] + before["FusedConv"] == 26
    assert after["QLinearConv"] == 26
    assert after["Conv"] + after["FusedConv"] == 0
    assert sorted(p.name for p in tmp_path.glob("*.folded")) == []


def test_filled_weights_are_equal_for_equal_seeds_and_finite(tmp_path: Path) -> None:
    source = find_file(f"{LIGHT}light_shufflenet.onnx", tmp_path)
    files = [tmp_path / f"{i}.onnx" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        fill_weights(source, file, seed=seed)
    contents = [file.read_bytes() for file in files]
    assert contents[0] == contents[1] != contents[2]
    (answer,) = predictor(files[0])(random_calls(files[0], {})[0]).values()
    assert np.isfinite(answer).all()


def test_what_cannot_be_made_is_a_model_error(chain: Save, tmp_path: Path) -> None:
    whole = chain("net.onnx")
    with pytest.raises(ModelError, match="leave random_weights out"):
        fill_weights(whole, tmp_path / "out.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read"):
        quantize_at_random(tmp_path / "junk.onnx", tmp_path / "out.onnx", shapes={})
