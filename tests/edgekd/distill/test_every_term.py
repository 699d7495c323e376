"""Laws that hold for every loss term, and a tiny recipe that trains with each."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import onnx
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from edgekd.artifact import Artifact
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import AnyTerm
from edgekd.distill.losses.dist import Dist
from edgekd.distill.step import Distill
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.export import Export
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.stage import run_step
from edgekd.progress import Silent
from edgekd.recipe.recipe import load_recipe
from edgekd.training.losses import read_notes
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared, Term

if TYPE_CHECKING:
    from edgekd.tasks.task import SignalKind

ATTENTION = ("query", "key", "value")
KINDS: Mapping[str, SignalKind] = {"logits": "classes"}
TERMS = {term.model_fields["kind"].default: term for term in get_args(get_args(AnyTerm)[0])}


def term_of(kind: str) -> Term:
    options: dict[str, Any] = {"kind": kind}
    if "layers" in TERMS[kind].model_fields:
        options["layers"] = {"body": "trunk"}
    found: Term = TypeAdapter(AnyTerm).validate_python(options)
    return found


def signals(seed: int, *, batch: int, width: int, size: int, layer: str) -> Signals:
    """Logits of five classes, a map, and an attention: those of a student, or of a teacher."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, 5, generator=generator)
    body = torch.randn(batch, width, size, size, generator=generator)
    layers = {layer: body.requires_grad_()}
    for part in ATTENTION:  # seven tokens
        layers[f"{layer}:{part}"] = torch.randn(
            batch, 7, 8 * width, generator=generator
        ).requires_grad_()
    return Signals({"logits": logits.requires_grad_()}, layers)


def compared(term: Term, *, batch: int = 4, dtype: torch.dtype = torch.float32) -> Compared:
    own = signals(0, batch=batch, width=4, size=4, layer="body")
    its = signals(1, batch=batch, width=6, size=8, layer="trunk")
    torch.manual_seed(2)
    extra = term.extra(own, its)

    def cast(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(dtype) for name, value in values.items()}

    cast_own, cast_its = (Signals(cast(s.outputs), cast(s.layers)) for s in (own, its))
    label = {"label": torch.tensor([0, 4, 2, 1])[:batch]}
    term.check_shapes(own, its, KINDS)
    return Compared(cast_own, cast_its, KINDS, label if term.wants_labels else {}, extra)


def total(term: Term, seen: Compared) -> Tensor:
    parts = term.parts(seen)
    assert all(value.ndim == 0 and value.dtype == torch.float32 for value in parts.values())
    return torch.stack([*parts.values()]).sum()


@pytest.mark.parametrize("kind", TERMS)
def test_the_loss_goes_down_the_gradient_of_the_student(kind: str) -> None:
    term = term_of(kind)
    seen = compared(term)
    before = total(term, seen)
    moved = [*seen.student.outputs.values(), *seen.student.layers.values()]
    gradients = torch.autograd.grad(before, moved, allow_unused=True)
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    length = sum(float(g.square().sum()) for g in gradients if g is not None)
    step = 1e-3 * min(1.0, 1 / length)
    with torch.no_grad():
        for value, gradient in zip(moved, gradients, strict=True):
            if gradient is not None:
                value -= step * gradient
    assert total(term, seen) < before


@pytest.mark.parametrize("kind", TERMS)
def test_bfloat16_gives_about_the_same_and_one_sample_a_finite_number(kind: str) -> None:
    term = term_of(kind)
    whole = total(term, compared(term)).item()
    rough = total(term, compared(term, dtype=torch.bfloat16)).item()
    assert rough == pytest.approx(whole, rel=0.05)
    for value in term.parts(compared(term, batch=1)).values():
        assert torch.isfinite(value)
        value.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", TERMS)
def test_equal_signals_leave_nothing_to_learn(kind: str) -> None:
    term = term_of(kind)
    if kind == "contrast":
        pytest.skip("other samples are never all orthogonal")
    own = signals(0, batch=4, width=4, size=4, layer="body")
    its = Signals(own.outputs, {n.replace("body", "trunk"): v for n, v in own.layers.items()})
    same = Compared(own, its, KINDS, compared(term).targets, term.extra(own, its))
    assert total(term, same).item() == pytest.approx(0, abs=1e-4)


def test_a_batch_too_small_for_a_term_is_refused_with_the_recipe() -> None:
    step = {"student": {"from": "teacher"}, "train": {"batch_size": 1}, "hard_weight": 0.0}
    with pytest.raises(ValidationError, match=r"'dist' compares samples .* needs 2 of them"):
        Distill.model_validate({**step, "terms": [{"kind": "dist"}]})
    Distill.model_validate({**step, "terms": [{"kind": "logits"}]})
    assert LearnsFromTeacher(terms=(Dist(),)).active


NETS = """
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[-1] ** 0.5
        return torch.softmax(scores, dim=-1) @ self.value(x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention, self.norm = Attention(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x):
        x = self.norm(x + self.attention(x))
        return x + self.mlp(x)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers, channels = [], 1
        for wide in (width, 2 * width):
            layers += [nn.Conv2d(channels, wide, 3, 2, 1), nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
        self.features = nn.Sequential(*layers)
        self.blocks = nn.ModuleList([Block(channels)])
        self.fc = nn.Linear(channels, 3)

    def forward(self, x):
        x = self.features(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean(dim=1))


def net(width=4):
    return Net(width)
"""
RECIPE = """
name = "terms"
data = { path = "bars.npz", validation = 0.3, test = 0.2, calibration = 64 }
[model]
build = "nets.py:net"
options = { width = 6 }
input = { size = 16 }
train = { epochs = 1 }
[[steps]]
name = "distill"
student = { build = "nets.py:net", input = { size = 16 } }
train = { epochs = 1, batch_size = 96, learning_rate = 0.02 }
"""


LIVE: Mapping[str, object] = {}
CACHED: Mapping[str, object] = {"cache": {"views": 2}}


@dataclass(frozen=True)
class Place:
    """A run that has its teacher."""

    bench: Bench
    teacher: Artifact

    def distil(self, *kinds: str, **more: object) -> Artifact:
        terms = [{"kind": kind} for kind in kinds]
        options = self.bench.recipe.steps[0].model_dump(by_alias=True, exclude_unset=True)
        step = Distill.model_validate({**options, "terms": terms, **more})
        return run_step(step, self.teacher, self.bench.context(self.teacher), self.bench.stages)


@pytest.fixture(scope="module")
def place(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("terms")
    shutil.copy(job / "bars.npz", folder)
    (folder / "nets.py").write_text(NETS)
    (folder / "r.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "r.toml")
    bench = set_up(recipe, root=folder, folder=folder / "run", progress=Silent(), export=False)
    bench.stages.mkdir(parents=True)
    teacher = run_step(recipe.model, Artifact(folder, {}), bench.context(None), bench.stages)
    return Place(bench, teacher)


def weights(stage: Artifact) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(stage.folder / "model.pt", weights_only=True)["state"]
    return found


@pytest.mark.parametrize("kind", TERMS)
def test_a_recipe_trains_with_the_term(place: Place, kind: str) -> None:
    student = place.distil(kind)
    plain, found = weights(place.distil()), weights(student)
    notes = read_notes(place.bench.folder, student.history)
    assert len(notes) == ("layers" in TERMS[kind].model_fields)  # what was found, for the report
    assert found.keys() == plain.keys()  # what is trained along does not ship
    assert all(torch.isfinite(value).all() for value in found.values())
    assert not torch.equal(found["features.0.weight"], plain["features.0.weight"])


def test_all_terms_together_train_one_network_that_is_exported(place: Place) -> None:
    student = place.distil(*TERMS)
    context = place.bench.context(place.teacher)
    exported = run_step(Export(), student, context, place.bench.stages)  # it checks the parity
    assert len(onnx.load(exported.onnx("fp32")).graph.output) == 1


def test_a_recipe_trains_from_the_cache_of_the_teacher(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path))
    live, cached = (weights(place.distil("logits", **more)) for more in (LIVE, CACHED))
    assert list(tmp_path.glob("teachers/*/0000/about.json"))
    name = "features.0.weight"
    torch.testing.assert_close(cached[name], live[name], rtol=0.02, atol=0.02)
