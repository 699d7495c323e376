"""Python as people use it: objects of a notebook, and plain errors for ordinary mistakes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgekd
from edgekd.cli.audit import audit as audit_command
from edgekd.cli.bench import bench as bench_command
from edgekd.cli.compress import compress as compress_command
from edgekd.cli.quantize import quantize as quantize_command
from edgekd.cli.verify import verify as verify_command
from edgekd.errors import ModelError
from edgekd.networks.objects import give_network
from edgekd.user_code import Given, giving, hash_source, resolve

X = np.random.default_rng(0).normal(size=(360, 8)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
QUIET: dict[str, Any] = {"progress": False}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_was_given_elsewhere_is_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="CellNet was an object of the Python program"):
        resolve("given.module:CellNet_12345678", root=tmp_path)


def test_what_is_given_is_found_while_it_is_given(tmp_path: Path) -> None:
    net = nn.Linear(8, 3)
    given = give_network(net, argument="model")
    assert isinstance(given, Given)
    with giving([given]):
        built = resolve(given.spec, root=tmp_path)()
        torch.testing.assert_close(built.weight, net.weight)
        assert built is not resolve(given.spec, root=tmp_path)()
        assert hash_source(given.spec, root=tmp_path) == given.sha256
    with torch.no_grad():
        net.weight += 1
    other = give_network(net, argument="model")
    assert isinstance(other, Given)
    assert other.spec != given.spec, "other weights, another network"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_frozen_and_loaded_networks(tmp_path: Path) -> None:
    net = nn.Linear(8, 3).requires_grad_(False)
    for value in (nn.DataParallel(net), torch.compile(net)):
        given = give_network(value, argument="model")
        assert isinstance(given, Given)
        copied = given.function()
        assert type(copied) is nn.Linear
        assert all(parameter.requires_grad for parameter in copied.parameters())
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    loaded = give_network(lambda: nn.Linear(8, 3), argument="model", weights=state)
    assert isinstance(loaded, Given)
    torch.testing.assert_close(loaded.function().weight, net.weight)


class Keeping(nn.Module):
    """Keeps what it returned last, as networks do whose inner values are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(x)
        self.last = found
        return found


def test_a_network_that_ran_and_kept_its_result_can_be_given() -> None:
    net = Keeping()
    net(torch.ones(2, 8))
    given = give_network(net, argument="model")
    assert isinstance(given, Given)
    torch.testing.assert_close(given.function().inner.weight, net.inner.weight)


def scripted() -> nn.Module:
    found: nn.Module = torch.jit.script(nn.Linear(8, 3))
    return found


def compress(**more: Any) -> Callable[[], object]:
    return lambda: edgekd.compress(**{"model": nn.Linear(8, 3), "data": (X, Y), **QUIET, **more})


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (compress(modle=1), "no argument 'modle'; did you mean model"),
    (compress(max_dorp=1), r"did you mean max_drop\? It takes recipe, data, model"),
    (compress(xyzzy=1), "no argument 'xyzzy'; it takes recipe, data, model"),
    (compress(allow_poor_teacher=True), r"recipe: changes=\['allow_poor_teacher=true'\]$"),
    (compress(opset=18), r"recipe: changes=\['export.opset=18'\]$"),
    (
        compress(data=[{"foo": row, "bar": 1} for row in X]),
        r"All of foo, bar were read as inputs and none as the target, which is called one of y, l",
    ),
    (lambda: edgekd.compress(), "needs model and data"),
    (lambda: edgekd.compress(nn.Linear(8, 3)), r"needs data .*model=net, data=\(x, y\)"),
    (lambda: edgekd.compress("a", "b", "c"), "too many positional"),  # type: ignore[call-overload]
    (lambda: edgekd.compress("r.toml", max_drop=1), "max_drop cannot be given with a recipe"),
    (lambda: edgekd.compress({"name": "x"}), "data is missing; model is missing"),
    (compress(max_drop="one"), "max_drop: got 'one', expected a number"),
    (compress(epochs=2.5), "epochs: got 2.5, expected a whole number"),
    (compress(max_latency="soon"), "max_latency: 'soon' is not a time"),
    (compress(name="My Run"), "name: got 'My Run', expected small letters"),
    (compress(only="quantise"), "did you mean quantize"),
    (compress(only="prune", no_prune=True), "only='prune' and no_prune=True leave no step"),
    (compress(quick=True, out="net.onnx"), "leave out quick=True, or give a folder"),
    (
        lambda: edgekd.quantize(nn.Linear(8, 3), (X, Y), quick=True, out="n.onnx", **QUIET),
        "leave out quick=True, or give a folder",
    ),
    (compress(size="big"), "size=224 or size='224x320'"),
    (compress(size=64), "size cannot be used: the data is of kind 'array'"),
    (compress(normalize="imagenet"), "normalize cannot be used"),
    (compress(task="detect"), "task 'detect' is not known"),
    (compress(task=5), "task is 5; expected is a name"),
    (
        compress(task="regression", no_labels=True),
        "task='regression' judges by labels, and no_labels=True leaves them out; give one",
    ),
    (
        lambda: edgekd.compress(edgekd.load_recipe("mnist"), quick=True, out="n.onnx", **QUIET),
        "a quick look decides nothing and writes no n.onnx",
    ),
    (compress(device="jetson"), "the device 'jetson' is unknown"),
    (compress(changes="nope"), r"changes=\['nope'\]: write it as key=value"),
    (compress(changes=3), "changes is 3; expected is a list of texts"),
    (compress(out=5), r"out is 5 \(int\); expected is a path"),
    (compress(progress="yes"), "progress is 'yes'; expected is True, False"),
    (compress(data=3), r"data is int \(3\)"),
    (compress(data=(X, Y[:9])), "different lengths"),
    (compress(data=dict), "data is|dict|expected"),
    (compress(data=[0.1, 0.2, 0.3]), "the model Linear cannot take the data"),
    (
        compress(data=(X[:, :5], Y)),
        r"the model Linear cannot take the data \(x float32 \[2, 5\]\): \w+ at (?!.*blueprint)",
    ),
    (
        compress(data=(X.astype(np.int16), Y)),
        r"whole numbers in x: perhaps \.astype\(np\.float32\)",
    ),
    (
        compress(data=({"x": X, "subject": Y}, Y)),
        "Every array but the target is an input: leave out what it does not take",
    ),
    (compress(data=(X, np.eye(3)[Y])), r"task='multilabel'.*argmax\(axis=1\)"),
    (compress(data=(X, Y + 0.5)), "task='regression'"),
    (compress(data="gone"), "gone does not exist; relative paths start at the current folder"),
    (compress(model=nn.Linear(8, 3).state_dict()), "a state_dict, which has weights only"),
    (compress(model=nn.Linear), "called without arguments, but missing .*lambda: Net"),
    (compress(model=lambda: 3), "<lambda>|lambda returned int"),
    (compress(model=torch.zeros(3)), "model is Tensor"),
    (lambda: compress(model=scripted())(), "TorchScript"),
    (compress(model=nn.LazyLinear(3)), "lazy"),
    (compress(model="net"), "model='net' is not a model"),
    (compress(weights={"a": torch.zeros(1)}), "the weights do not fit this Linear"),
    (compress(student=nn.Linear(8, 3).state_dict()), "student is a state_dict"),
    (lambda: edgekd.quantize(), "missing a required argument: 'model'"),  # type: ignore[call-arg]
    (lambda: edgekd.quantize(nn.Linear(8, 3)), "needs data"),
    (lambda: edgekd.quantize("gone.onnx", data=(X, Y), **QUIET), "gone.onnx does not exist"),
    (lambda: edgekd.benchmark(), "at least one ONNX file"),
    (lambda: edgekd.benchmark("a.onnx", threads="two"), "threads='two' is invalid"),
    (lambda: edgekd.benchmark("a.onnx", time=True), "time is True; expected is a text, a number"),
    (lambda: edgekd.benchmark("a.onnx", precision="tight"), "precision='tight' is invalid"),
    (lambda: edgekd.benchmark("a.onnx", rounds=1), "rounds=1 is invalid"),
    (lambda: edgekd.benchmark("a.onnx", rate=0), r"rate=0\.0 is invalid"),
    (lambda: edgekd.benchmark("a.onnx", option="x"), "option='x' is invalid"),
    (lambda: edgekd.benchmark("a.onnx", shape={"x": "a"}), "shape='x=a' is invalid"),  # type: ignore[dict-item]
    (lambda: edgekd.benchmark("a.onnx", shape="x=ax3"), "shape='x=ax3' is invalid"),
    (lambda: edgekd.benchmark("a.onnx", batch="two"), "batch='two' is invalid"),
    (lambda: edgekd.verify(3), r"bundle is 3 \(int\)"),  # type: ignore[arg-type]
    (lambda: edgekd.load_recipe(3), r"recipe is 3 \(int\)"),  # type: ignore[arg-type]
    (lambda: edgekd.load_recipe("mnist", changes="effort"), r"changes=\['effort'\]"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Lazy modules")
@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[text for _, text in MISTAKES])
def test_an_ordinary_mistake(call: Callable[[], object], message: str) -> None:
    with pytest.raises(edgekd.BadInput) as caught:
        call()
    said = str(caught.value)
    assert re.search(message, said), said
    assert "--" not in said, "flags are not the language of Python"
    assert not re.search(r"pydantic|Input should|given\.module", said)
    assert not list(Path().rglob("stages"))


def test_the_errors_of_the_docstrings_can_be_caught() -> None:
    for function in (edgekd.compress, edgekd.quantize, edgekd.benchmark, edgekd.load_recipe):
        for name in re.findall(
            r"\b(\w+(?:Error|Input|Failed|Diverged|Extra))\b", str(function.__doc__)
        ):
            assert issubclass(getattr(edgekd, name), edgekd.EdgekdError)


def names_of(function: Callable[..., object]) -> set[str]:
    return set(inspect.signature(function).parameters)


SHOWN = {"as_json", "json", "html", "markdown", "verbose", "profile", "trt_profile", "trt_layers"}
"""Ways to show or write a result, which in Python is an object."""
GUARDS = {
    *("store", "history", "listed", "suite", "baseline", "unlike_names"),
    *("allow", "allow_size", "allow_memory", "allow_drop", "labels", "min_agreement"),
}
"""Of `edgekd bench` in CI: what is stored, compared with it, or a suite."""
OF_PYTHON = {"progress", "root"}
OF_ARRAYS = {"labels"}
"""Names that a folder of data would give."""


@pytest.mark.parametrize(
    ("command", "function", "only_flags", "only_arguments"),
    [
        (compress_command, edgekd.compress, set(), OF_ARRAYS),
        (quantize_command, edgekd.quantize, set(), {"weights", *OF_ARRAYS}),
        (audit_command, edgekd.audit, {"teachers"}, {"model", "more_teachers", *OF_ARRAYS}),
        (bench_command, edgekd.benchmark, GUARDS, set()),
        (verify_command, edgekd.verify, set(), set()),
    ],
    ids=["compress", "quantize", "audit", "bench", "verify"],
)
def test_the_keywords_are_the_flags(
    command: Callable[..., object],
    function: Callable[..., object],
    only_flags: set[str],
    only_arguments: set[str],
) -> None:
    flags, arguments = names_of(command), names_of(function)
    assert flags - arguments == only_flags | (SHOWN & flags)
    assert arguments - flags == only_arguments | (OF_PYTHON & arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dry_run_is_a_plan_and_leaves_nothing() -> None:
    plan = edgekd.compress(
        nn.Linear(8, 3), (X, Y), dry_run=True, only="quantize", changes="steps=[]", **QUIET
    )
    assert isinstance(plan, edgekd.Plan)
    assert [stage.title for stage in plan.stages] == ["teacher"]
    assert 0 < plan.stages[0].seconds < plan.seconds
    assert "Nothing was written" in repr(plan)
    assert not list(Path().iterdir())
