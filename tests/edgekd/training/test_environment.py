"""Equal keys mean equal results: what of a machine changes a training is in the key of its step."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from edgekd.artifact import Artifact
from edgekd.distill.losses import Hidden, SoftTargets
from edgekd.distill.step import Distill
from edgekd.options import Budget, Training
from edgekd.pipeline.stage import run_step
from edgekd.progress import Progress, Silent
from edgekd.prune.step import Prune
from edgekd.step import Context, Need, Step
from edgekd.teacher.step import Teacher
from edgekd.training.loop import choose_device

BF16 = Training(precision="bf16")
STUDENT = {"from": "teacher"}
NOTHING = Artifact(Path(__file__).parent, {})
TRAINED = [
    Teacher(build="nets.py:teacher", train=BF16),
    Distill(student=STUDENT, train=BF16),
    Prune(recover=BF16),
]


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def bare_context(progress: Progress | None = None) -> Context:
    """What a step may use, with nothing in it."""
    parts: dict[str, Any] = dict.fromkeys(("task", "data", "device"))
    identity: dict[Any, str] = dict.fromkeys(get_args(Need), "")
    return Context(
        **parts,
        teachers=(NOTHING,),
        budget=Budget(),
        seed=0,
        root=Path(__file__).parent,
        identity=identity,
        progress=progress or Silent(),
    )


def key(step: Step) -> str:
    """The key of a step with nothing before it, on this machine as it is now."""
    return step.key(NOTHING, bare_context())


@pytest.mark.parametrize("step", TRAINED, ids=lambda step: step.name)
def test_the_number_of_threads_is_in_the_key_of_a_training(step: Step) -> None:
    before = key(step)
    assert key(step) == before
    torch.set_num_threads(1)
    assert key(step) != before


@pytest.mark.parametrize("step", TRAINED[1:], ids=lambda step: step.name)
def test_the_engine_of_the_teacher_is_in_the_key_of_what_learns_from_it(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    before = key(step)
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    assert key(step) != before


@pytest.mark.parametrize("bf16", [True, False])
def test_what_auto_means_on_this_processor_is_in_the_key(
    bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekd.training.precision._bf16_pays", lambda device_type: bf16)
    step = Teacher(build="nets.py:teacher", train=Training(precision="auto"))
    found = step.environment(NOTHING, bare_context())["number type"]
    assert found == ("torch.bfloat16" if bf16 else "torch.float32")


def test_weights_that_are_only_loaded_depend_on_no_machine() -> None:
    step = Teacher(build="nets.py:teacher", weights="w.pt")
    assert step.environment(NOTHING, bare_context()) == {}


def test_a_network_that_teaches_by_its_layers_needs_no_engine_for_files() -> None:
    network = Artifact(NOTHING.folder, {"model.pt": "", "model.fp32.onnx": ""})
    on_cpu = choose_device().type == "cpu"
    for terms, by_file in ((SoftTargets(),), on_cpu), ((Hidden(layers={"0": "0"}),), False):
        step = Prune(recover=BF16, terms=terms)
        assert ("teacher's engine" in step.environment(network, bare_context())) == by_file


class _Threaded(Step):
    """A step that writes how many threads it had."""

    name: str = "threaded"

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        return {"threads": str(torch.get_num_threads())}

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        (folder / "found.txt").write_text(str(torch.get_num_threads()))


class _Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_what_is_made_again_for_another_machine_says_why(tmp_path: Path) -> None:
    heard, source = _Heard(), Artifact(tmp_path, {})
    made = [run_step(_Threaded(), source, bare_context(heard), tmp_path)]
    torch.set_num_threads(1)
    made.append(run_step(_Threaded(), source, bare_context(heard), tmp_path))
    made.append(run_step(_Threaded(), source, bare_context(heard), tmp_path))
    assert [(stage.folder / "found.txt").read_text() for stage in made] == ["2", "1", "1"]
    assert heard.lines == ["threaded is made again, because of a change: threads 2 -> 1"]
