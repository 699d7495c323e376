"""The audit of a teacher: by the command, in Python, and as a part of a run."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import edgekd
from edgekd.cli.main import main
from edgekd.distill.step import Distill
from edgekd.evaluation.audit import read_audit
from edgekd.pipeline.audit.answers import soft_temperature

Floats = NDArray[np.float32]
N, CLASSES = 600, 4
SEED = 11


def write_linear(path: Path, weight: Floats, *, ends: str = "") -> Path:
    """Write y = x W as an ONNX file, perhaps with a Softmax behind it."""
    last = f"y = {ends}(z)" if ends else "y = Identity(z)"
    rows, columns = weight.shape
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[n, {rows}] x) => (float[n, {columns}] y)'
        f" <float[{rows}, {columns}] w = {{{', '.join(map(str, weight.ravel().tolist()))}}}>"
        f"{{ z = MatMul(x, w) {last} }}"
    )
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points whose greatest number is their class, of which some have a wrong label; teachers."""
    place = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(SEED)
    x = rng.normal(0, 1, (N, CLASSES)).astype(np.float32)
    label = (x + rng.gumbel(0, 0.1, x.shape)).argmax(axis=1)
    swapped = rng.random(N) < 0.08
    label[swapped] = (label[swapped] + 1) % CLASSES
    np.savez(place / "points.npz", x=x, y=label)
    np.savez(place / "tags.npz", x=x, y=(x[:, :3] > 0).astype(np.int64))
    far = (2 * x[:, :2]).astype(np.float32)
    far[7::50] += 30
    np.savez(place / "numbers.npz", x=x, y=far)
    eye = np.eye(CLASSES, dtype=np.float32)
    write_linear(place / "good.onnx", 10 * eye)
    write_linear(place / "other.onnx", 10 * eye + rng.normal(0, 3, eye.shape).astype(np.float32))
    write_linear(place / "guess.onnx", rng.normal(0, 0.1, eye.shape).astype(np.float32))
    write_linear(place / "soft.onnx", 10 * eye, ends="Softmax")
    write_linear(place / "three.onnx", 6 * eye[:, :3])
    write_linear(place / "two.onnx", 2 * eye[:, :2])
    (place / "net.py").write_text(
        "from torch import nn\n\ndef small():\n    return nn.Linear(4, 4)\n"
    )
    return place


def command(
    folder: Path, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["edgekd", *words.split()])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


Call = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return lambda words: command(folder, words, monkeypatch, capsys)


def in_python(folder: Path, teacher: str, data: str, **given: Any) -> Any:
    return edgekd.audit(
        teacher, data=data, root=folder, out=folder / f"run-{teacher}-{data}", **given
    )


def test_the_command_says_what_a_teacher_knows_and_what_to_do(call: Call, folder: Path) -> None:
    code, out, _ = call("audit good.onnx other.onnx --data points.npz --out run")
    assert code == 0
    assert "good.onnx is good as a teacher" in out
    assert "advice for the step distill" in out
    found = read_audit(folder / "run")
    assert found is not None
    assert found.samples == 0.2 * N
    first, other = found.teachers
    top = first.metrics["top-1"]
    assert top.low < top.value < top.high
    assert first.parameters == CLASSES**2 == first.macs
    assert first.temperature is not None
    assert first.temperature.value.low > 1
    assert sum(one.samples for one in found.bins) == found.samples
    assert found.worst is not None
    worst = first.metrics["worst class"].value
    assert found.worst.rows[0].value.value == pytest.approx(worst)
    assert found.together is not None
    (agreement,) = found.together.agreements
    assert agreement.value.value < 100
    assert other.metrics["top-1"].value < top.value
    assert found.together.best == "good.onnx"


def test_labels_that_a_sure_teacher_contradicts_are_listed_for_a_person(
    call: Call, folder: Path
) -> None:
    assert call("audit good.onnx --data points.npz --out run-labels")[0] == 0
    found = read_audit(folder / "run-labels")
    assert found is not None
    assert found.mistakes is not None
    with (folder / "run-labels" / "mistakes.csv").open() as file:
        rows = list(csv.DictReader(file))
    with np.load(folder / "points.npz") as data:
        x, y = data["x"], data["y"]
    assert len(rows) == found.mistakes.total
    for row in rows:
        number = int(row["sample"])
        assert (int(row["label"]), int(row["teacher"])) == (y[number], x[number].argmax())
    sure = [float(row["sure, %"]) for row in rows]
    assert sure == sorted(sure, reverse=True)
    assert sum(row["among the surer half"] == "yes" for row in rows) == found.mistakes.sure > 0
    assert found.mistakes.sure_rate.low > 1  # 8 % of the labels were changed
    assert any(line.startswith("distrust_labels = 0.9") for line in found.recipe_lines)


def test_the_advice_is_lines_of_a_recipe(call: Call, folder: Path) -> None:
    for teacher in ("good", "guess"):
        call(f"audit {teacher}.onnx --data points.npz --out run-{teacher}")
        found = read_audit(folder / f"run-{teacher}")
        assert found is not None
        table = tomllib.loads("\n".join(found.recipe_lines))
        step = Distill.model_validate(
            {"name": "distill", "student": {"build": "net.py:small"}, **table}
        )
        assert bool(step.active) == (teacher == "good")
        assert all(any(sign.isdigit() for sign in one.why) for one in found.advice)


def test_a_guess_is_no_teacher_and_the_exit_code_says_so(call: Call) -> None:
    code, out, _ = call("audit guess.onnx --data points.npz --out run-none")
    assert code == 1
    assert "is no better than a guess as a teacher" in out
    assert "terms = []" in out


def test_the_same_audit_is_read_and_another_is_made(call: Call, folder: Path) -> None:
    call("audit good.onnx --data points.npz --out run-again")
    path = folder / "run-again" / "audit.json"
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    call("audit good.onnx --data points.npz --out run-again")
    assert path.stat().st_mtime_ns == when
    call("audit good.onnx other.onnx --data points.npz --out run-again")
    assert path.read_bytes() != before
    path.write_text("{}")
    code, _, said = call("audit good.onnx --data points.npz --out run-again")
    assert code == 2
    assert "remove that file" in " ".join(said.split())


def test_without_labels_what_needs_none_is_said(call: Call, folder: Path) -> None:
    code, out, _ = call("audit good.onnx other.onnx --data points.npz --no-labels --out run-bare")
    assert code == 0
    assert "cannot be judged: the data has no labels" in out
    found = read_audit(folder / "run-bare")
    assert found is not None
    assert found.first.wrong is not None
    assert not found.first.metrics
    assert found.together is not None
    assert found.together.quality is None
    assert not any("hard_weight" in line for line in found.recipe_lines)  # it would be refused
    assert {one.what for one in found.skipped} == {
        "calibration by confidence",
        "worst classes",
        "contradicted labels",
    }


def test_a_poor_teacher_proves_no_label_wrong(call: Call, folder: Path) -> None:
    half = np.eye(CLASSES, dtype=np.float32)
    half[2:] = 0  # it knows two of four
    write_linear(folder / "poor.onnx", 9 * half)
    code, out, _ = call("audit poor.onnx --data points.npz --out run-poor")
    assert code == 0
    assert "is poor as a teacher" in out
    found = read_audit(folder / "run-poor")
    assert found is not None
    assert found.recipe_lines[0] == "hard_weight = 1.0"
    assert not any("distrust" in line for line in found.recipe_lines)


def test_a_student_stands_beside_it(call: Call, folder: Path) -> None:
    call("audit good.onnx --data points.npz --student net.py:small --out run-student")
    found = read_audit(folder / "run-student")
    assert found is not None
    assert found.student is not None
    assert (found.student.parameters, found.student.macs) == (CLASSES**2 + CLASSES, CLASSES**2)
    assert not found.student.differences


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("audit good.onnx", "--data is missing"),
        ("audit net.py:small --data points.npz", "give them \\(--weights weights.pt\\)"),
        ("audit mnist --no-labels", "--no-labels cannot be given with the recipe mnist"),
        ("audit good.onnx gone.onnx --data points.npz --out run-gone", "gone.onnx does not exist"),
    ],
)
def test_what_cannot_be_audited_is_refused(call: Call, words: str, says: str) -> None:
    code, _, said = call(words)
    assert code == 2
    assert re.search(says, " ".join(said.split())), said


def test_probabilities_are_noticed(folder: Path) -> None:
    found = in_python(folder, "soft.onnx", "points.npz", progress=False).audit
    assert "are probabilities" in found.remarks[0]
    plain = in_python(folder, "good.onnx", "points.npz", progress=False).audit
    own, its = found.first.temperature, plain.first.temperature
    assert own.value.value == pytest.approx(its.value.value, rel=0.1)


def test_several_labels_have_a_temperature_and_the_worst_of_them(folder: Path) -> None:
    result = in_python(folder, "three.onnx", "tags.npz", task="multilabel", progress=False)
    found = result.audit
    assert found.standing == "good"
    assert found.worst.measure == "average precision"
    assert len(found.worst.rows) == 3
    assert found.mistakes.total == 0
    assert found.first.temperature is None  # every answer is right: the surer the better
    assert result.lines == (
        "hard_weight = 0.1",
        'terms = [{ kind = "soft-targets", weight = 0.9 }]',
    )


def test_numbers_have_the_samples_that_are_far_off(folder: Path) -> None:
    result = in_python(folder, "two.onnx", "numbers.npz", task="regression", progress=False)
    found = result.audit
    assert found.worst.measure == "mean absolute error"
    with np.load(folder / "numbers.npz") as data:
        off = {i for i in range(N) if i % 50 == 7}
        assert len(data["x"]) == N
    assert {one.thing.index for one in found.mistakes.shown} <= off
    assert found.mistakes.total > 0
    assert "not said" in repr(result)


def test_the_temperature_leaves_the_answer_half_of_its_lead() -> None:
    two = np.array([[4.0, 0.0]])  # sigmoid(4 / T) = 0.75
    assert soft_temperature(two) == pytest.approx(4 / np.log(3), rel=0.02)
    ten = np.zeros((1, 10))
    ten[0, 3] = 12.0  # e^(12 / T) = 9 * 0.55 / 0.45
    assert soft_temperature(ten) == pytest.approx(12 / np.log(11), rel=0.02)
    assert soft_temperature(np.zeros((3, 5))) == 1.0


def test_a_run_shows_the_audit_of_its_teacher(finished: Path) -> None:
    record: Mapping[str, Any] = json.loads((finished / "report.json").read_text("utf8"))
    found = record["audit"]
    assert found == json.loads((finished / "audit.json").read_text("utf8"))
    assert found["standing"] == "good"
    assert found["student"]["differences"][0]["what"] == "size"
    teacher = record["rungs"][0]["evidence"]["files"][0]
    assert found["teachers"][0]["metrics"]["top-1"] == teacher["metrics"]["top-1"]
    page = (finished / "report.html").read_text("utf8")
    assert "The teacher, before anything learned from it" in page
    for one in found["advice"]:
        assert one["do"].split(".")[0][:40] in page
