"""The command line as a stranger meets it: help, start-up, Ctrl-C, the plan of a run."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgekd.cli.main import app, main
from edgekd.report.run.plan import blocks

HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "matplotlib", "jinja2", "PIL")
COMMANDS = sorted(
    str(command.callback.__name__) for command in app.registered_commands if command.callback
)
BEST_S = 0.7


def helped(*args: str) -> tuple[str, float]:
    """What `edgekd ARGS --help` prints in 80 columns, and the best of up to three processor times.

    Processor time: how long it takes by the clock is the business of what else runs here.
    """
    took: list[float] = []
    while not took or (min(took) >= BEST_S and len(took) < 3):
        start = children_s()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "edgekd", *args, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "80"},
        )
        took.append(children_s() - start)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & set(HEAVY)
    return done.stdout, min(took)


def children_s() -> float:
    """The processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_there_are_commands() -> None:
    assert {"compress", "init", "quantize", "bench", "verify", "report"} <= set(COMMANDS)


@pytest.mark.timing
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_comes_at_once_and_fits_80_columns(command: str) -> None:
    text, best_s = helped(*command.split())
    assert best_s < BEST_S
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Commands:")[2], "the short help is cut off"
    if command:
        assert f"Example: edgekd {command}" in text


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Make a call in the folder of the tiny job; return exit code, stdout, stderr."""
    monkeypatch.chdir(job)

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgekd", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def test_a_dry_run_plans_and_leaves_nothing(run: Run, job: Path) -> None:
    before = {path for path in job.rglob("*") if "__pycache__" not in path.parts}
    code, out, _ = run("compress", "bars.toml", "--dry-run", "--json", "--out", "never")
    assert code == 0
    assert {path for path in job.rglob("*") if "__pycache__" not in path.parts} == before
    plan = json.loads(out)
    count, *size = np.load(job / "bars.npz")["x"].shape
    titles = ["teacher", "distill", "prune", "quantize"]
    assert [stage["title"] for stage in plan["stages"]] == titles
    assert [network["title"] for network in plan["networks"]] == titles[:3]
    parameters = [network["parameters"] for network in plan["networks"]]
    assert parameters == sorted(parameters, reverse=True)
    for network in plan["networks"]:
        (image,), (logits,) = network["inputs"], network["outputs"]
        assert (image["name"], image["dtype"]) == ("image", "uint8")
        assert logits == {"name": "logits", "dtype": "float32", "shape": ["batch", 3]}
    assert plan["networks"][0]["inputs"][0]["shape"] == ["batch", *size, 1]
    splits = plan["splits"]
    assert splits.pop("calibration") == 64
    assert sum(splits.values()) == count
    teacher, distill, _, quantize = plan["stages"]
    assert min(teacher["training_s"], distill["training_s"], teacher["export_s"]) > 0
    assert quantize["training_s"] == quantize["export_s"] == 0 < quantize["quantize_s"]
    assert plan["seconds"] == pytest.approx(
        sum(stage["seconds"] for stage in plan["stages"]) + plan["closing_s"]
    )
    assert plan["disk_bytes"] > 100_000


def test_a_longer_training_plans_longer_and_a_step_with_nothing_to_do_is_skipped(
    job: Path,
) -> None:
    from edgekd.pipeline.plan import plan
    from edgekd.recipe.recipe import load_recipe

    prune = 'steps=[{name="prune", multiple=64}]'  # more than any width
    plans = [
        plan(
            load_recipe(job / "bars.toml", changes=[prune, f"model.train.epochs={epochs}"]),
            root=job,
            folder=job / "never",
        )
        for epochs in (2, 2000)
    ]
    (short,), (long,) = (found.stages for found in plans)  # the teacher's
    assert long.training_s > 20 * short.training_s > 0  # a thousand, but for the noise
    assert long.measure_s == short.measure_s
    file = io.StringIO()
    Console(file=file, width=200).print(*blocks(plans[0]))
    assert re.search(r"prune +skipped: ratio 0\.3 removes nothing", file.getvalue())


def test_a_dry_run_finds_what_cannot_be_exported(run: Run, job: Path) -> None:
    (job / "odd.py").write_text(
        "from torch import nn\n\n\n"
        "class Odd(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(1, 3)\n\n"
        "    def forward(self, x):\n"
        "        y = self.fc(x.mean((2, 3)))\n"
        "        return y if x.sum() > 0 else -y\n"
    )
    change = ("--set", "steps=[]", "--set", "model.build=odd.py:Odd")
    code, _, err = run("compress", "bars.toml", "--dry-run", "--out", "never", *change)
    assert code == 2
    # a long path is broken over lines
    assert re.search(r"cannotbeexportedat\S*odd.py:11", "".join(err.split()))


def test_a_plan_is_a_table_for_people(run: Run) -> None:
    code, out, _ = run("compress", "bars.toml", "--dry-run", "--out", "never", "--set", "steps=[]")
    assert code == 0
    for words in ("calibration 64", "image: uint8 [batch, ", "about", "Nothing was written"):
        assert words in out


def test_a_finished_run_prints_its_ladder_or_json(run: Run, finished: Path, tmp_path: Path) -> None:
    again = ("compress", "bars.toml", "--out", str(shutil.copytree(finished, tmp_path / "run")))
    code, out, err = run(*again)
    assert code == 0
    assert "quantize int8" in out
    assert "this recipe runs code: nets.py:teacher, nets.py:student" in err
    code, out, _ = run(*again, "--json")
    assert json.loads(out)["name"] == "bars"
    code, out, _ = run(*again, "--max-latency", "0.001us", "--json")
    assert code == 1
    assert "missed by" in json.loads(out)["over_budget"]


def test_flags_without_a_recipe_make_the_same_plan(run: Run) -> None:
    flags = ("--model", "nets.py:teacher", "--data", "bars.npz", "--max-drop", "20")
    code, out, _ = run(
        "compress", *flags, "--epochs", "1", "--set", "steps=[]", "--dry-run", "--json"
    )
    assert code == 0
    assert json.loads(out)["name"] == "nets-teacher-bars"


def test_a_fault_of_our_own_is_one_paragraph_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("inner")

    monkeypatch.setattr("edgekd.recipe.from_flags.make_recipe_table", fail)
    code, _, err = run("init", "--model", "a:b", "--data", "d")
    assert code == 1
    assert "KeyError: 'inner'" in err
    assert "Traceback" not in err
    monkeypatch.setenv("EDGEKD_DEBUG", "1")
    with pytest.raises(KeyError):
        main()


def test_quantize_takes_a_bare_onnx_file_and_needs_no_torch(
    finished: Path, job: Path, tmp_path: Path
) -> None:
    shutil.copy(finished / "bundle" / "model.fp32.onnx", tmp_path / "m.onnx")
    quick = ["measure.rounds=3", "measure.blocks=2", "measure.block_s=0.005"]
    args = ["quantize", "m.onnx", "--data", str(job / "bars.npz"), "--max-drop", "20"]
    args += ["--samples", "32", "--json", *(part for key in quick for part in ("--set", key))]
    code = (
        "import sys; from edgekd.cli.main import main; sys.modules['torch'] = None\n"
        f"sys.argv = {['edgekd', *args]!r}; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [rung["title"] for rung in record["rungs"]] == ["teacher", "quantize"]
    own = record["rungs"][1]["evidence"]["files"]
    assert any(file["variant"] == "int8" for file in own)
    assert (tmp_path / "runs" / "m-bars" / "bundle" / "manifest.json").is_file()
