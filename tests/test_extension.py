"""A step, a loss term, a runtime, a variant and a device of one's own, as CONTRIBUTING says.

Each is added to a scratch copy of the source: its own files and one or two edits elsewhere. One
small job then uses all five.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

ROOT = Path(__file__).parent.parent
OWN_FOLDER = re.compile(r"(edgekd/[a-z]+|benchmarks/runtimes|devices)/")


@dataclass(frozen=True)
class Addition:
    """What a contributor writes."""

    files: Mapping[str, str]
    """New, in its own folder."""
    edits: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """File -> texts that are in it once, and what is put behind each."""


STEP = Addition(
    files={
        "edgekd/rounding/__init__.py": '"""Fewer digits in the weights."""\n',
        "edgekd/rounding/step.py": '''
"""The step `rounding`: weights with few digits, which pack better."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from edgekd.artifact import FP32, Artifact, Variant
from edgekd.step import Context, Need, OnnxStep


class Rounding(OnnxStep):
    """Round all weights to a few binary digits."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    promise: ClassVar[Literal["faster", "smaller", "better"]] = "smaller"
    name: Literal["rounding"] = "rounding"
    digits: int = Field(8, ge=1, le=23, examples=[8], description="digits that are kept")

    @property
    def makes(self) -> tuple[Variant, ...]:
        return ("rounded",)

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        import shutil

        import numpy as np
        import onnx

        shutil.copyfile(source.onnx(FP32), folder / "model.fp32.onnx")
        model = onnx.load(source.onnx(FP32))
        for weight in model.graph.initializer:
            array = onnx.numpy_helper.to_array(weight)
            if array.dtype == np.float32:
                mantissa, exponent = np.frexp(array)
                kept = np.ldexp(np.round(mantissa * 2.0**self.digits) / 2.0**self.digits, exponent)
                weight.CopyFrom(onnx.numpy_helper.from_array(kept.astype(np.float32), weight.name))
        onnx.save(model, folder / "model.rounded.onnx")
''',
    },
    edits={
        "edgekd/recipe/recipe.py": (
            ("import Quantize\n", "from edgekd.rounding.step import Rounding\n"),
            ("Annotated[Distill | Prune | Quantize", " | Rounding"),
        ),
        "pyproject.toml": (('    "edgekd.report.run",\n', '    "edgekd.rounding",\n'),),
    },
)

ROW = '    Row("packer", "", "rounded", "unverified", "equal digits pack well"),\n'
VARIANT = Addition(
    files={},
    edits={
        "edgekd/artifact.py": (('    "fp32", "fp16",\n', '    "rounded",\n'),),
        "exporters/variants.py": (("\nTABLE = (\n", ROW),),
    },
)

TERM = Addition(
    files={
        "edgekd/distill/losses/direction.py": '''
"""A loss term: the direction of the outputs, whatever their length."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from edgekd.training.terms import Compared, Term

if TYPE_CHECKING:
    from torch import Tensor

    from edgekd.tasks.task import SignalKind


class Direction(Term):
    """Learn the direction of the teacher's outputs."""

    kinds: ClassVar[frozenset[SignalKind]] = frozenset({"classes", "embedding"})
    kind: Literal["direction"] = "direction"

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        from torch.nn.functional import cosine_similarity

        return {
            name: 1 - cosine_similarity(own, seen.teacher.outputs[name]).mean()
            for name, own in seen.student.outputs.items()
        }
'''
    },
    edits={
        "edgekd/distill/losses/__init__.py": (
            (
                "\nfrom pydantic import Field\n",
                "from edgekd.distill.losses.direction import Direction\n",
            ),
            ("\nAnyTerm = Annotated[\n    ", "Direction | "),
        )
    },
)

ENGINE = """\
    "reference": Runtime(
        package="onnx",
        module="onnx",
        engine="reference_engine.py",
        suffixes=(".onnx",),
        install="pip install onnx",
    ),
"""
RUNTIME = Addition(
    files={
        "benchmarks/runtimes/reference_engine.py": '''
"""The reference evaluator of the package onnx as an engine of the runner."""

import functools
import time


class Engine:
    """One model, in Python."""

    def __init__(self, arguments, feeds):
        from onnx import __version__
        from onnx.reference import ReferenceEvaluator

        self.version = "onnx " + __version__
        self.evaluator = ReferenceEvaluator(arguments.model)
        self.feeds = feeds

    def calls(self):
        return [functools.partial(self.evaluator.run, None, feed) for feed in self.feeds]

    def parts(self, index):
        start = time.perf_counter()
        self.evaluator.run(None, self.feeds[index])
        return {"copy_in": 0.0, "engine": time.perf_counter() - start, "copy_out": 0.0}

    def outputs(self, feed):
        return dict(zip(self.evaluator.output_names, self.evaluator.run(None, feed)))
'''
    },
    edits={
        "benchmarks/runtimes/__init__.py": (("\nRUNTIMES = {\n", ENGINE),),
    },
)

DEVICE = Addition(
    files={
        "devices/twin.py": '''
"""A board that is emulated here: it proves function and gives no speed."""

from dataclasses import replace

from edgekd.benchmarks.measurement import Measurement, ProcessRun, Session
from edgekd.devices.local import LocalDevice
from edgekd.store import file_sha256


class Twin(LocalDevice):
    """Its times are there for their form."""

    name = "twin"

    def conditions(self, setup):
        return replace(super().conditions(setup), emulated=True)

    def measure(self, candidates, timing, *, progress=None, decided=None):
        blocks = ((1.0,), (1.0,))
        run = ProcessRun(round=0, load_s=1.0, first_s=1.0, blocks_s=blocks, peak_memory_bytes=1)
        found = tuple(
            Measurement("twin", file_sha256(one.file), self.conditions(one.setup), (run, run))
            for one in candidates
        )
        return Session(found, twin=found[0], timing=timing)
'''
    },
    edits={
        "devices/__init__.py": (
            ("import LocalDevice\n", "from edgekd.devices.twin import Twin\n"),
            ("\nDEVICES = {", '"twin": Twin, '),
        )
    },
)
ADDITIONS = {
    "step": STEP,
    "loss term": TERM,
    "runtime": RUNTIME,
    "variant": VARIANT,
    "device": DEVICE,
}

JOB = """
name = "all-five"
allow_poor_teacher = true
data = { path = "rows.npz", validation = 0.4 }
model = { onnx = "teacher.onnx" }
devices = ["twin"]
budget = { max_drop = 60.0 }
measure = { rounds = 3, blocks = 2, block_s = 0.002 }

[[steps]]
name = "distill"
student = { build = "net.py:net", options = { width = 8 } }
train = { epochs = 1, batch_size = 32 }
terms = [{ kind = "direction" }]
gate = false

[[steps]]
name = "rounding"
gate = false
"""
NET = """
from torch import nn


def net(width=16):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))
"""
RUN = """
import sys
from pathlib import Path

from edgekd.cli.main import main


def call(*arguments):
    sys.argv = ["edgekd", *map(str, arguments)]
    try:
        main()
    except SystemExit as left:
        assert not left.code, arguments


call("compress", "job.toml", "--out", "run")
made = Path("run").glob("stages/rounding-*/model.rounded.onnx")
out = "bench.json"
call("bench", *made, "--runtime", "reference", "--rounds", 3, "--time", "1s", "--json", out)
call("schema", "--out", "schema.json")
"""


def how_to_add(what: str) -> str:
    """The paragraph of CONTRIBUTING on adding one of these."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    section = text.partition("## How to add")[2].partition("\n## ")[0]
    found = [part for part in section.split("\n\n") if part.startswith(f"**A {what}**")]
    assert len(found) == 1, what
    return found[0]


@pytest.mark.parametrize("what", ADDITIONS)
def test_at_most_two_places_outside_its_folder_and_contributing_names_them(what: str) -> None:
    addition, paragraph = ADDITIONS[what], how_to_add(what)
    folders = {match[0] for path in addition.files if (match := OWN_FOLDER.match(path))}
    outside = [path for path in addition.edits if not path.startswith(tuple(folders) or "/")]
    assert len(outside) <= 2
    for path in addition.edits:
        assert f"`{path}`" in paragraph


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with all five in it."""
    place = tmp_path_factory.mktemp("extended")
    for folder in ("edgekd", "exporters", "benchmarks", "devices"):
        leave = shutil.ignore_patterns("__pycache__", "trials", "results")
        shutil.copytree(ROOT / folder, place / folder, symlinks=True, ignore=leave)
    (place / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_layout.py", place / "tests")
    shutil.copy(ROOT / "pyproject.toml", place)
    for addition in ADDITIONS.values():
        for path, text in addition.files.items():
            (place / path).parent.mkdir(exist_ok=True)
            (place / path).write_text(text.lstrip(), encoding="utf8")
        for path, changes in addition.edits.items():
            text = (place / path).read_text(encoding="utf8")
            for anchor, new in changes:
                assert text.count(anchor) == 1, f"{path} has changed: {anchor!r} is not in it once"
                text = text.replace(anchor, anchor + new)
            (place / path).write_text(text, encoding="utf8")
    return place


def run(place: Path, *arguments: str, at: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_teacher(path: Path) -> None:
    """Write a network that knows the three classes of the rows below."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["logits"])],
        "teacher",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(4 * np.eye(6, 3, dtype=np.float32), "weight")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def test_all_five_work_in_one_job(extended: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(240) % 3
    rows = (
        rng.standard_normal((240, 6)).astype(np.float32) + 4 * np.eye(3, 6, dtype=np.float32)[label]
    )
    np.savez(tmp_path / "rows.npz", x=rows, y=label)
    (tmp_path / "net.py").write_text(NET)
    write_teacher(tmp_path / "teacher.onnx")
    (tmp_path / "job.toml").write_text(JOB)
    run(extended, "-c", RUN, at=tmp_path)
    record: dict[str, Any] = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [rung["title"] for rung in record["rungs"]] == ["teacher", "distill", "rounding"]
    manifest = json.loads((tmp_path / "run" / "bundle" / "manifest.json").read_text())
    assert "packer" in {row["runtime"] for row in manifest["runtimes"]}
    assert record["final"]["conditions"]["device"] == "twin"
    assert "rounded" in json.dumps(record["rungs"][-1]["evidence"])
    timed = (tmp_path / "bench.json").read_text()
    assert '"runtime": "reference ' in timed
    schema = (tmp_path / "schema.json").read_text()
    assert '"rounding"' in schema
    assert '"direction"' in schema


def test_the_rooms_of_the_copy_are_in_order(extended: Path) -> None:
    new = "rounding or recipe or twin or direction or reference"
    words = f"packages or circle or (arrows and ({new}))"
    options = ("-q", "-p", "no:cacheprovider", "-k", words)
    run(extended, "-m", "pytest", *options, "tests/test_layout.py", at=extended)
