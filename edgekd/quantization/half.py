"""The variant `fp16`: float16 weights and activations, float32 inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.errors import NothingToDo
from edgekd.exporters.input_casts import cast_inputs_first
from edgekd.exporters.onnx_files import check, messages, save_onnx
from edgekd.exporters.shapes import lower_opset
from edgekd.exporters.strip import strip
from edgekd.quantization.calibrated import Calibrated, Chosen, Watched
from edgekd.quantization.graph_draft import Draft
from edgekd.quantization.half_selection import HalfChoice, choose_half, list_floats
from edgekd.quantization.proof import FloatAnswers, check_follows
from edgekd.quantization.quantized import QuantizedFacts

_MOST_OPSET = 20
"""What TensorRT 10.3 reads, for which it is the rival of INT8."""


def watch_half(chosen: Chosen) -> Watched:
    """Return what `write_half` needs to know: the greatest magnitude of every float tensor."""
    return Watched((), list_floats(chosen.model))


def write_half(calibrated: Calibrated, target: Path) -> QuantizedFacts:
    """Write a graph in float16, with what float16 cannot hold in float32 between Casts.

    Args:
        calibrated: is not changed.
        target: the file to write.

    Raises:
        NothingToDo: no layer can compute in float16, or the file that was made does not follow
            the float file.
    """
    choice = choose_half(calibrated.model, calibrated.magnitude)
    if not choice.heavy:
        found = "; ".join(f"{node}: {why}" for node, why in list(choice.left.items())[:5])
        raise NothingToDo(
            f"no layer of {calibrated.name} can compute in float16 "
            f"({found or 'it has none in float32'})"
        )
    halved = convert(calibrated.model, choice)
    halved = strip(lower_opset(cast_inputs_first(halved), _MOST_OPSET))
    check(halved, f"the float16 form of {calibrated.name}")
    answers = FloatAnswers(calibrated.model, calibrated.judged, name=calibrated.name)
    check_follows(halved, answers, form="float16")
    check_follows(convert(calibrated.model, choice, rounds=True), answers, form="float16")
    save_onnx(halved, target)
    return QuantizedFacts(
        kind=calibrated.choice.kind,
        activations="float16",
        weights="float16",
        samples=calibrated.samples,
        layers=len(choice.heavy),
        left=choice.left,
    )


def convert(model: ModelProto, choice: HalfChoice, *, rounds: bool = False) -> ModelProto:
    """Return the graph with the chosen nodes in float16; `model` is not changed.

    Every tensor keeps its name and type where float32 nodes, subgraphs or callers read it.

    Args:
        model: prepared; every node has its own name.
        choice: of it.
        rounds: whether every float16 tensor passes a Reshape to its own shape. ONNX Runtime's CPU
            provider computes in float32 and drops the Casts between two such nodes, but it has a
            Reshape of float16: with one behind each node values round and overflow as on a GPU.
    """
    return _Conversion(model, choice, rounds=rounds).convert()


class _Conversion:
    """A graph that is being changed."""

    def __init__(self, model: ModelProto, choice: HalfChoice, *, rounds: bool) -> None:
        self._draft = Draft(model)
        self._choice = choice
        self._rounds = rounds
        self._halves: dict[str, str] = {}  # tensor to its float16 form
        self._read_as_float = _find_float_reads(model, choice.inputs)

    def convert(self) -> ModelProto:
        return self._draft.rewrite(self._convert_node)

    def _convert_node(self, node: NodeProto) -> list[NodeProto]:
        """Return a node as it is to be, with the Casts before and behind it."""
        if node.name not in self._choice.inputs:
            return [node]
        before: list[NodeProto] = []
        for i in self._choice.inputs[node.name]:
            name = node.input[i]
            if name not in self._halves:
                before += self._halve(name)
                before += self._round(before[-1], 0) if name not in self._draft.stored else []
            node.input[i] = self._halves[name]
        behind: list[NodeProto] = []
        for i in self._choice.outputs[node.name]:
            name = node.output[i]
            half = self._halves[name] = self._draft.new(f"{name}_half")
            node.output[i] = half
            behind += self._round(node, i)
            if name in self._read_as_float:
                behind.append(self._cast(half, name, TensorProto.FLOAT))
        return [*before, node, *behind]

    def _halve(self, name: str) -> list[NodeProto]:
        half = self._halves[name] = self._draft.new(f"{name}_half")
        if name not in self._draft.stored:
            return [self._cast(name, half, TensorProto.FLOAT16)]
        values = numpy_helper.to_array(self._draft.stored[name]).astype(np.float16)
        self._draft.add_tensor(numpy_helper.from_array(values, half))
        return []

    def _round(self, node: NodeProto, place: int) -> list[NodeProto]:
        """Return nodes that pass an output of a node on under its name, if that was asked for."""
        if not self._rounds:
            return []
        name = node.output[place]
        raw, shape = self._draft.new(f"{name}_raw"), self._draft.new(f"{name}_shape")
        node.output[place] = raw
        return [
            self._draft.make("Shape", [raw], [shape]),
            self._draft.make("Reshape", [raw, shape], [name]),
        ]

    def _cast(self, source: str, target: str, kind: int) -> NodeProto:
        return self._draft.make("Cast", [source], [target], to=kind)


def _find_float_reads(model: ModelProto, halves: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Return the tensors that are read in float32: by nodes, in subgraphs, as outputs."""
    read = {value.name for value in model.graph.output}
    outer = {node.name for node in model.graph.node}
    for node in messages(model.graph, NodeProto):
        changed = halves.get(node.name, ()) if node.name in outer else ()
        read.update(name for i, name in enumerate(node.input) if i not in changed)
    return read
