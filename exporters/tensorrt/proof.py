"""Prove that layers which are claimed to be INT8 run in INT8 in a TensorRT engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, NodeProto

from edgekd.benchmarks.feeds import model_inputs
from edgekd.benchmarks.trtexec.shapes import Shapes, free_shapes
from edgekd.errors import ModelError, few
from edgekd.exporters.onnx_files import load_onnx, messages
from edgekd.exporters.tensorrt.rtx import BUILD_LIMIT_S, CAPABILITY, Build, build_model

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Which of the claimed layers an engine runs in INT8."""

    file: str
    build: Build
    int8: tuple[str, ...]
    """Those that do, in the order of the graph."""
    floats: Mapping[str, str]
    """Those that do not: name, what runs in its place. All of them where there is no engine."""

    @property
    def holds(self) -> bool:
        """Whether an engine was built, and every claimed layer runs in INT8."""
        return not self.build.message and not self.floats

    def summary(self) -> str:
        """Say it in one sentence."""
        if self.build.message:
            return f"{self.file}: {self.build.message}"
        count = len(self.int8) + len(self.floats)
        text = f"{self.file}: {len(self.int8)} of {count} claimed layers run in INT8"
        if self.floats:
            text += "; not " + few([f"{name} ({why})" for name, why in self.floats.items()])
        return f"{text} in TensorRT-RTX {self.build.version}"


def prove_int8(
    file: Path,
    claimed: Collection[str] | None = None,
    *,
    shapes: Mapping[str, Shapes] | None = None,
    capability: str = CAPABILITY,
    limit_s: float = BUILD_LIMIT_S,
) -> Proof:
    """Build an engine with TensorRT-RTX and look up every claimed layer in it.

    Args:
        file: an ONNX file with Q/DQ.
        claimed: names of Conv, ConvTranspose, Gemm and MatMul nodes; a node without a name, or
            with that of another, goes by its first output. If left out, those whose two factors
            come from a DequantizeLinear.
        shapes: see `build_engine`.
        capability: see `build_engine`.
        limit_s: see `build_engine`.

    Raises:
        MissingExtra: TensorRT-RTX is not installed; `rtx.missing` tells it before.
        ModelError: the file cannot be read, or has no such node.
    """
    model = load_onnx(file)
    labels = _labels(model)
    wanted = set(claimed_layers(model) if claimed is None else claimed)
    unknown = sorted(wanted - set(labels))
    if unknown:
        raise ModelError(f"{file} has no node {few(unknown)}; give names of nodes of its graph")
    plain = _rename(model)
    build = build_model(
        model,
        shapes=free_shapes(model_inputs(file)) if shapes is None else shapes,
        capability=capability,
        limit_s=limit_s,
    )
    placed = {
        label: _place(build, name)
        for label, name in zip(labels, plain, strict=True)
        if label in wanted
    }
    return Proof(
        file=file.name,
        build=build,
        int8=tuple(name for name, why in placed.items() if not why),
        floats={name: why for name, why in placed.items() if why},
    )


def claimed_layers(model: ModelProto) -> list[str]:
    """Return the layers whose two factors are dequantized bytes: see `prove_int8` on names."""
    made = {o for n in model.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    return [
        label
        for label, node in zip(_labels(model), model.graph.node, strict=True)
        if node.op_type in WEIGHTED and set(node.input[:2]) <= made
    ]


def _labels(model: ModelProto) -> list[str]:
    """Return what each node of the main graph is called here."""
    counts = Counter(node.name for node in model.graph.node)
    return [
        node.name if node.name and counts[node.name] == 1 else next(filter(None, node.output), "")
        for node in model.graph.node
    ]


def _rename(model: ModelProto) -> list[str]:
    """Give every node a plain name of its own; return those of the main graph.

    TensorRT tells where a layer comes from by the names of nodes, and any text may be a name.
    """
    for number, node in enumerate(messages(model, NodeProto)):
        node.name = f"inner{number}"
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    return [node.name for node in model.graph.node]


def _place(build: Build, name: str) -> str:
    """Return "" if a node runs in INT8, else what runs in its place."""
    if build.message:
        return "there is no engine"
    found = [layer for layer in build.layers if layer.multiplies and name in layer.nodes]
    floats = [layer for layer in found if not layer.in_int8]
    if floats:
        return floats[0].types
    return "" if found else "no layer of the engine multiplies for it"
