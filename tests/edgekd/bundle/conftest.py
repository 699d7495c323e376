"""Real bundles of tiny models, each built once: of pixels, of planes, of texts, of arrays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.measurement import Conditions, Timing
from edgekd.benchmarks.stats import Estimate
from edgekd.bundle.samples import made_up
from edgekd.bundle.write import Contents, write
from edgekd.data.preprocess import (
    ArrayPreprocess,
    ImagePreprocess,
    Preprocess,
    write_preprocess,
)
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.evaluation.evidence import Evidence, FileEvidence
from edgekd.evaluation.gate import Findings, Ruling
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import (
    Calibration,
    Calls,
    ChangedSample,
    Changes,
    DataInfo,
    Elsewhere,
    Final,
    Finalist,
    MetricInfo,
    OnTest,
    RungRecord,
    TaskInfo,
    Tested,
)
from edgekd.exporters.model_stats import facts
from edgekd.options import Budget
from edgekd.store import file_sha256

MEAN, STD = (120.0, 90.0, 60.0), (60.0, 50.0, 40.0)
LABELS = ("cat", "dog", "a | b")
CONDITIONS = Conditions(
    device="local",
    cpu="a CPU",
    runtime="onnxruntime 1",
    provider="CPUExecutionProvider",
    threads=1,
    os="Linux",
    python="3.11",
    governor=None,
    emulated=False,
)
WORDS = ("good", "bad", "film", "the")

PREPROCESS: dict[str, Preprocess] = {
    "pixels": ImagePreprocess(name="image", height=8, width=6, mean=MEAN, std=STD),
    "planes": ImagePreprocess(name="image", height=8, width=6, mean=MEAN, std=STD, in_graph=False),
    "text": TextPreprocess(vocabulary=WORDS, max_length=20),
    "array": ArrayPreprocess(names=("x", "text")),
}


def _value(name: str, kind: int, shape: list[int | str | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Mapping[str, NDArray[Any]],
) -> None:
    initial = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def classifier(path: Path, *, int8: bool, in_graph: bool = True) -> None:
    """Mean colour, then three classes."""
    weight = np.array([[1.0, -2, 0.5], [-1, 1, 1], [0.3, 0.4, -2]], np.float32)
    node = helper.make_node
    constants: dict[str, NDArray[Any]] = {"axes": np.array([2, 3], np.int64)}
    nodes = []
    if in_graph:
        constants["mean"] = np.array(MEAN, np.float32)
        constants["std"] = np.array(STD, np.float32)
        nodes = [
            node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            node("Sub", ["float", "mean"], ["centred"]),
            node("Div", ["centred", "std"], ["scaled"]),
            node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        ]
        entry = _value("image", TensorProto.UINT8, ["batch", 8, 6, 3])
    else:
        nodes = [node("Identity", ["image"], ["planes"])]
        entry = _value("image", TensorProto.FLOAT, ["batch", 3, 8, 6])
    nodes.append(node("ReduceMean", ["planes", "axes"], ["colour"], keepdims=0))
    if int8:
        constants |= {"q": np.array(0.02, np.float32), "zero": np.array(128, np.uint8)}
        # Weights of 7 bits: two products fit into 16, so that no processor clips their sum.
        constants["stored"] = np.round(weight / 0.032).astype(np.int8)
        constants["w_scale"] = np.array(0.032, np.float32)
        nodes += [
            node("QuantizeLinear", ["colour", "q", "zero"], ["bytes"]),
            node("DequantizeLinear", ["bytes", "q", "zero"], ["again"]),
            node("DequantizeLinear", ["stored", "w_scale"], ["weight"]),
            node("MatMul", ["again", "weight"], ["logits"]),
        ]
    else:
        constants["weight"] = weight
        nodes.append(node("MatMul", ["colour", "weight"], ["logits"]))
    _save(path, nodes, [entry], [_value("logits", TensorProto.FLOAT, ["batch", 3])], constants)


def bag_of_words(path: Path) -> None:
    """Mean embedding under the mask, then two classes."""
    generator = np.random.default_rng(1)
    constants: dict[str, NDArray[Any]] = {
        "table": generator.normal(size=(len(WORDS) + 2, 4)).astype(np.float32),
        "weight": generator.normal(size=(4, 2)).astype(np.float32),
        "one": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "tokens"], ["rows"]),
        node("Cast", ["mask"], ["float"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float", "last"], ["column"]),
        node("Mul", ["rows", "column"], ["kept"]),
        node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        node("ReduceSum", ["float", "one"], ["count"], keepdims=1),
        node("Div", ["sum", "count"], ["meaning"]),
        node("MatMul", ["meaning", "weight"], ["logits"]),
    ]
    inputs = [_value(n, TensorProto.INT64, ["batch", "sequence"]) for n in ("tokens", "mask")]
    outputs = [_value("logits", TensorProto.FLOAT, ["batch", 2])]
    _save(path, nodes, inputs, outputs, constants)


def regression(path: Path) -> None:
    """Two arrays in, with names that mean something elsewhere; values and a whole number out."""
    node = helper.make_node
    nodes = [
        node("Add", ["x", "text"], ["y"]),
        node("ArgMax", ["y"], ["best"], axis=1, keepdims=0),
    ]
    inputs = [_value(n, TensorProto.FLOAT, ["batch", 5]) for n in ("x", "text")]
    outputs = [
        _value("y", TensorProto.FLOAT, ["batch", 5]),
        _value("best", TensorProto.INT64, ["batch"]),
    ]
    _save(path, nodes, inputs, outputs, {})


def estimate(value: float) -> Estimate:
    low, high = sorted((0.9 * value, 1.1 * value))
    return Estimate(value, low, high, 6)


def evidence_of(folder: Path, variants: Sequence[Variant]) -> Evidence:
    """What was measured of a stage with these files."""
    files = tuple(
        FileEvidence(
            label=variant,
            variant=variant,
            preview=False,
            sha256=file_sha256(folder / f"model.{variant}.onnx"),
            facts=facts(folder / f"model.{variant}.onnx"),
            kernels=None,
            metrics={"top-1": estimate(80.0)},
            gain=estimate(-0.5),
            step_gain=estimate(-0.5),
            latency_s=estimate(1e-4),
            p90_s=estimate(2e-4),
            load_s=0.01,
            first_s=0.01,
            peak_memory_bytes=10**7,
        )
        for variant in variants
    )
    findings = Findings(
        variant=variants[-1],
        device="local",
        compared=(variants[-1], FP32),
        unit="points",
        gain=estimate(-0.5),
        step_gain=estimate(-0.5),
        speedup=estimate(2.0),
        steady=True,
        shrink=4.0,
    )
    return Evidence(
        files=files,
        findings=(findings,),
        floor=0.01,
        session=None,
        conditions=CONDITIONS,
    )


def rung_of(title: str, evidence: Evidence) -> RungRecord:
    calibration = Calibration(
        samples=64, activations="uint8", weights="int8", ranges={"mse": 3}, key="0" * 64
    )
    return RungRecord(
        title=title,
        outcome="kept",
        reasons=(),
        verdict="2.00x [1.90, 2.10]",
        rulings=tuple(
            Ruling(variant=found.variant, kept=True, numbers="2.00x [1.90, 2.10]")
            for found in evidence.findings
        ),
        stage=f"{title}-0",
        left={},
        history=({"name": title, "key": "0" * 64},),
        calibration={"int8": calibration} if title == "quantize" else {},
        evidence=evidence,
    )


def record_of(folder: Path, variants: Sequence[Variant], kind: str) -> Record:
    """What a run would say: a teacher, and a stage that made these files."""
    evidence = evidence_of(folder, variants)
    finalists = tuple(
        Finalist(
            title="quantize",
            label=file.label,
            variant=file.variant,
            sha256=file.sha256,
            size_bytes=file.facts.size_bytes,
            latency_s=file.latency_s,
            p90_s=file.p90_s,
            speedup=estimate(2.0),
            level=True,
        )
        for file in evidence.files
    )
    tested = tuple(
        Tested(title="quantize", label=f.label, metrics=f.metrics, gain=estimate(-0.7))
        for f in evidence.files
    )
    top1 = MetricInfo(name="top-1", unit="%", better="higher", is_percentage=True)
    secret = ChangedSample(
        index=0, label="cat", teacher="cat", shipped="dog", image="data:SECRET PIXELS"
    )
    return Record(
        name=f"tiny-{kind}",
        command="edgekd compress recipes/tiny.toml",
        recipe={"model": {"build": "nets/net.py:make"}},
        budget=Budget(),
        devices=("local", "phone"),
        teacher_licence=None,
        versions={"python": "3.11"},
        task=TaskInfo(metrics=(top1,), labels=LABELS if kind in ("pixels", "planes") else ()),
        data=DataInfo(
            kind="image",
            licence="CC0",
            fingerprint="f" * 64,
            skipped=(),
            splits={"train": 900, "calibration": 64, "validation": 100, "test": 100},
        ),
        timing=Timing(),
        rungs=(rung_of("teacher", evidence), rung_of("quantize", evidence)),
        final=Final(
            files=finalists,
            floor=0.01,
            session=None,
            conditions=CONDITIONS,
            chosen=len(finalists) - 1,
            bundled=(0, len(finalists) - 1),
            elsewhere=(
                Elsewhere(
                    files=finalists,
                    floor=0.01,
                    session=None,
                    conditions=replace(CONDITIONS, cpu="a phone"),
                    device="phone",
                    best=0,
                ),
            ),
        ),
        test=OnTest(samples=100, files=tested),
        changes=Changes(classes=(), changed=1, samples=(secret,)),
        calls=(Calls(title="quantize", label="fp32", seconds=(1e-4,)),),
        over_budget=None,
    )


def contents(folder: Path, kind: str) -> Contents:
    """Write the files of a stage to `folder`, and say what a bundle is made of."""
    folder.mkdir(parents=True)
    preprocess = PREPROCESS[kind]
    write_preprocess(folder, preprocess)
    variants: tuple[Variant, ...] = ("fp32",)
    signals = {"logits": "classes"}
    like: dict[str, NDArray[Any]] = {"image": np.zeros((1, 8, 6, 3), np.uint8)}
    if kind in ("pixels", "planes"):
        variants = ("fp32", "int8")
        for variant in variants:
            path = folder / f"model.{variant}.onnx"
            classifier(path, int8=variant == "int8", in_graph=kind == "pixels")
    elif kind == "text":
        bag_of_words(folder / "model.fp32.onnx")
        like = {"text": np.array(["the film"])}
    else:
        regression(folder / "model.fp32.onnx")
        signals = {"value": "values", "place": "labels"}
        ramp = np.linspace(-1, 3, 10, dtype=np.float32).reshape(2, 5)
        like = {"x": ramp, "text": -ramp}
    return Contents(
        artifact=folder,
        variants=variants,
        variant=variants[-1],
        signals=signals,
        record=record_of(folder, variants, kind),
        samples=made_up(like, preprocess, count=12, seed=3),
        synthetic="the data's licence is 'unknown'",
        report="<html>a report</html>",
    )


@pytest.fixture
def make_stage() -> Callable[[Path, str], Contents]:
    """Write a stage of a kind into a folder of the test's own."""
    return contents


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Contents]:
    """A stage of a kind; its folder is shared, so it is read and not changed."""
    made: dict[str, Contents] = {}
    root = tmp_path_factory.mktemp("stages")

    def get(kind: str) -> Contents:
        if kind not in made:
            made[kind] = contents(root / kind, kind)
        return replace(made[kind])

    return get


@pytest.fixture(scope="session")
def bundles(
    tmp_path_factory: pytest.TempPathFactory, stage: Callable[[str], Contents]
) -> Callable[[str], Path]:
    """A bundle of a kind; it is shared, so it is read and not changed."""
    root = tmp_path_factory.mktemp("bundles")

    def get(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            write(folder, stage(kind))
        return folder

    return get


@pytest.fixture
def copy(tmp_path: Path, bundles: Callable[[str], Path]) -> Callable[[str], Path]:
    """A copy of a bundle that a test may damage."""

    def get(kind: str) -> Path:
        return Path(shutil.copytree(bundles(kind), tmp_path / "bundle"))

    return get
