"""Insert Q/DQ nodes into a float graph by a plan, in one pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto
from onnx_ir.passes import common

from edgekd.exporters.onnx_files import SIZE_LIMIT_BYTES, to_proto
from edgekd.quantization.names import NewNames
from edgekd.quantization.pixels import Pixels
from edgekd.quantization.plan import Grid, Layer, Plan
from edgekd.quantization.scales import round_bias, round_layer


def insert(model: ModelProto, plan: Plan) -> ModelProto:
    """Return the graph with its planned tensors in 8 bits; `model` is not changed.

    Each activation of the plan becomes a QuantizeLinear and a DequantizeLinear; weights, and biases
    unless the plan leaves them in float, become integers with a DequantizeLinear. An output of the
    graph keeps its name: it is then what the DequantizeLinear gives. Names are new against every
    name of the graph.

    Args:
        model: without sparse initializers; every node has its own name.
        plan: of this graph.
    """
    whole = ir.from_proto(model)
    work = _Insertion(whole.graph, NewNames(model))
    for name in plan.absorbed:
        work.absorb(name)
    for name, shift in plan.shifts.items():
        work.add_instead(name, shift)
    for name, grid in plan.constants.items():
        work.round_constant(name, grid, plan.reads)
    for name, grid in plan.tensors.items():
        factor = plan.factors.get(name, np.float32(1))
        work.round_activation(name, grid, plan.reads, factor, everywhere=name in plan.rounded)
    for name, layer in plan.layers.items():
        if layer.pixels is not None:
            work.read_pixels(name, layer.pixels)
            work.round_layer(name, layer, np.float32(1))
        else:
            work.round_layer(name, layer, plan.tensors[layer.data].scale)
    work.forget_floats()
    work.keep_float(plan.layers)
    common.RemoveUnusedNodesPass()(whole)
    if not any(value.is_initializer() for value in whole.graph.outputs):  # it would warn of them
        common.DeduplicateInitializersPass(size_limit=SIZE_LIMIT_BYTES)(whole)
    result = to_proto(whole)
    del result.graph.value_info[:]  # a fifth of a small file, and all of it follows
    return result


class _Insertion:
    """A graph that is being changed: its values and nodes by their first names."""

    def __init__(self, graph: ir.Graph, names: NewNames) -> None:
        self._graph = graph
        self._names = names
        self._nodes = {node.name or "": node for node in graph}
        made = [*graph.inputs, *(value for node in graph for value in node.outputs)]
        self._values = {value.name or "": value for value in made}
        self._constants: dict[tuple[Any, ...], ir.Value] = {}
        self._dequantized: dict[tuple[Any, ...], ir.Value] = {}
        self._integers: dict[str, ir.Value] = {}  # float initializer to its first rounded form
        self._floats: dict[str, ir.Value] = {}  # initializers that a layer has read

    def absorb(self, name: str) -> None:
        """Take out a node; what is before it gets the name of what it gave."""
        node = self._nodes.pop(name)
        after = node.outputs[0]
        before = next(v for v in node.inputs if v is not None and not v.is_initializer())
        final, after.name = after.name or "", self._names.new("gone")
        self._redirect(after, before, after.uses(), outputs=True)
        self._graph.remove(node, safe=True)
        before.name = final
        self._values[final] = before

    def add_instead(self, name: str, shift: np.float32) -> None:
        """Let a HardSigmoid be the addition of a number, which its grid clips and scales."""
        node = self._nodes[name]
        node.op_type = "Add"
        node.attributes.clear()
        integer = np.array(255 if shift > 0 else 0, np.uint8)
        zero = np.array(255 if shift < 0 else 0, np.uint8)
        scale = np.array(abs(shift) / 255 if shift else 1, np.float32)
        inputs = [self._constant(integer, "number"), self._constant(scale, "scale")]
        inputs.append(self._constant(zero, "zero"))
        made = self._node("DequantizeLinear", inputs, "dq")
        self._graph.insert_before(node, made)
        node.resize_inputs(2)
        node.replace_input_with(1, made.outputs[0])

    def round_constant(self, name: str, grid: Grid, reads: Mapping[str, tuple[str, ...]]) -> None:
        """Let planned additions and products read an initializer in 8 bits."""
        value = self._graph.initializers[name]
        assert value.const_value is not None
        info = np.iinfo(grid.dtype)
        whole = np.rint(value.const_value.numpy() / grid.scale) + grid.zero
        integers = np.clip(whole, info.min, info.max).astype(grid.dtype)
        inputs = [self._initializer(integers, "constant")]
        inputs.append(self._constant(np.array(grid.scale, np.float32), "scale"))
        inputs.append(self._constant(np.array(grid.zero, grid.dtype), "zero"))
        made = self._node("DequantizeLinear", inputs, "dq")
        uses = [use for use in value.uses() if name in reads.get(use.node.name or "", ())]
        self._redirect(value, made.outputs[0], uses, outputs=False)
        self._graph.insert_before(self._graph[0], made)
        self._floats[name] = value

    def round_activation(
        self,
        name: str,
        grid: Grid,
        reads: Mapping[str, tuple[str, ...]],
        factor: np.float32,
        *,
        everywhere: bool,
    ) -> None:
        """Put Q and DQ behind a tensor, for all that read it or for the planned nodes alone."""
        value = self._values[name]
        uses = [
            use for use in value.uses() if everywhere or name in reads.get(use.node.name or "", ())
        ]
        kind = np.dtype(grid.dtype)
        scale = self._constant(np.array(grid.scale, np.float32), "scale")
        zero = self._constant(np.array(grid.zero, kind), "zero")
        finer = scale
        if factor != 1:
            finer = self._constant(np.array(grid.scale / factor, np.float32), "scale")
        quantize = self._node("QuantizeLinear", [value, finer, zero], "q")
        dequantize = self._node("DequantizeLinear", [quantize.outputs[0], scale, zero], "dq")
        if everywhere and value.is_graph_output():
            value.name, dequantize.outputs[0].name = dequantize.outputs[0].name, value.name
        self._redirect(value, dequantize.outputs[0], uses, outputs=everywhere)
        maker = value.producer()
        if maker is not None:
            self._graph.insert_after(maker, [quantize, dequantize])
        elif len(self._graph):
            self._graph.insert_before(self._graph[0], [quantize, dequantize])

    def read_pixels(self, name: str, pixels: Pixels) -> None:
        """Let a convolution read the uint8 tensor that its input was made of."""
        key = (pixels.source, pixels.zero, pixels.has_plane)
        if key not in self._dequantized:
            source = self._values[pixels.source]
            made = self._with_plane(source, pixels.plane) if pixels.has_plane else []
            read = made[-1].outputs[0] if made else source
            scale = self._constant(np.array(1, np.float32), "scale")
            zero = self._constant(np.array(pixels.zero, np.uint8), "zero")
            made.append(self._node("DequantizeLinear", [read, scale, zero], "dq"))
            maker = source.producer()
            if maker is not None:
                self._graph.insert_after(maker, made)
            else:
                self._graph.insert_before(self._graph[0], made)
            self._dequantized[key] = made[-1].outputs[0]
        self._nodes[name].replace_input_with(0, self._dequantized[key])

    def _with_plane(self, source: ir.Value, value: int) -> list[ir.Node]:
        """Return nodes that put a plane of one value behind the channels of a tensor.

        Only its batch may be free. Channels-first it is one copy in every runtime.
        """
        assert source.shape is not None
        sides = self._constant(np.array([1, *source.shape[2:]], np.int64), "sides")
        maker = source.producer()
        first = source
        if maker is not None and maker.op_type == "Transpose" and maker.inputs[0] is not None:
            first = maker.inputs[0]  # or the Transpose could not be moved by ONNX Runtime
        batch = self._node("Shape", [first], "batch", start=0, end=1)
        shape = self._node("Concat", [batch.outputs[0], sides], "shape", axis=0)
        plane = self._node("ConstantOfShape", [shape.outputs[0]], "plane")
        plane.attributes.add(ir.AttrTensor("value", ir.tensor(np.array([value], np.uint8))))
        joined = self._node("Concat", [source, plane.outputs[0]], "pixels", axis=1)
        return [batch, shape, plane, joined]

    def round_layer(self, name: str, layer: Layer, data: np.float32) -> None:
        """Give a layer its weight and bias as integers; `data` is the scale of what it reads."""
        node = self._nodes[name]
        float_weight = node.inputs[1]
        assert float_weight is not None
        self._floats[layer.weight] = float_weight
        widen = layer.pixels is not None and layer.pixels.has_plane
        own = b"" if layer.integers is None else layer.integers.tobytes()
        key = (layer.weight, layer.axis, layer.factor.item(), layer.scale.tobytes(), widen, own)
        if key not in self._dequantized:
            tensor = float_weight.const_value
            assert tensor is not None
            integers = self._initializer(round_layer(layer, tensor.numpy()), "weight")
            self._integers.setdefault(layer.weight, integers)
            zero = self._constant(np.zeros(layer.scale.shape, np.int8), "zero")
            scale = self._constant(layer.scale, "scale")
            self._dequantized[key] = self._constants_of(node, [integers, scale, zero], layer.axis)
        node.replace_input_with(1, self._dequantized[key])
        if node.op_type == "Gemm":
            for attribute in ("alpha", "beta"):
                node.attributes.pop(attribute, None)
        self._replace_bias(node, layer, data)

    def _replace_bias(self, node: ir.Node, layer: Layer, data: np.float32) -> None:
        if len(node.inputs) > 2:
            bias = node.inputs[2]
            if bias is not None:
                self._floats[bias.name or ""] = bias
            node.resize_inputs(2)
        if layer.bias is None:
            return
        if not layer.rounds_bias:
            node.resize_inputs(3)
            node.replace_input_with(2, self._constant(layer.bias, "bias"))
            return
        scale = (data * layer.scale).astype(np.float32)
        whole = round_bias(layer.bias, scale)
        key = (whole.tobytes(), scale.tobytes())
        if key not in self._dequantized:
            zero = self._constant(np.zeros(scale.shape, np.int32), "zero")
            inputs = [self._initializer(whole, "bias"), self._constant(scale, "scale"), zero]
            self._dequantized[key] = self._constants_of(node, inputs, 0)
        node.resize_inputs(3)
        node.replace_input_with(2, self._dequantized[key])

    def forget_floats(self) -> None:
        """Take out float weights and biases that nothing reads; their integers get the names."""
        for name, value in self._floats.items():
            if value.uses() or value.is_graph_output():
                continue
            self._graph.initializers.pop(name)
            if name in self._integers:
                self._integers[name].name = name

    def keep_float(self, layers: Collection[str]) -> None:
        """Keep ONNX Runtime from quantizing a float layer that lies between a DQ and a Q.

        From 1.20 on it rounds the weight of such a Conv, ConvTranspose or Gemm by itself, all
        channels on one scale, and its bias to int32 even where it does not fit. A Max that changes
        nothing stands between layer and Q then.
        """
        lowest = np.array(np.finfo(np.float32).min, np.float32)
        for name, node in self._nodes.items():
            if name in layers or node.op_type not in ("Conv", "ConvTranspose", "Gemm"):
                continue
            maker = node.inputs[0].producer() if node.inputs[0] is not None else None
            value = node.outputs[0]
            users = list(value.uses())
            if maker is None or maker.op_type != "DequantizeLinear" or len(users) != 1:
                continue
            if users[0].node.op_type == "QuantizeLinear":
                same = self._node("Max", [value, self._constant(lowest, "lowest")], "float")
                users[0].node.replace_input_with(0, same.outputs[0])
                self._graph.insert_after(node, same)

    def _redirect(
        self, old: ir.Value, new: ir.Value, uses: Iterable[tuple[ir.Node, int]], *, outputs: bool
    ) -> None:
        """Let uses of one value, and where asked the outputs of the graph, be another."""
        for user, index in list(uses):
            user.replace_input_with(index, new)
        for i, output in enumerate(self._graph.outputs):
            if outputs and output is old:
                new.type, new.shape = old.type, old.shape
                self._graph.outputs[i] = new

    def _node(
        self, operator: str, inputs: list[ir.Value], prefix: str, **attributes: int
    ) -> ir.Node:
        name = self._names.new(prefix)
        output = ir.Value(name=name)
        return ir.node(operator, inputs, attributes, outputs=[output], name=name)

    def _constants_of(self, node: ir.Node, inputs: list[ir.Value], axis: int) -> ir.Value:
        made = self._node("DequantizeLinear", inputs, "dq", axis=axis)
        self._graph.insert_before(node, made)
        return made.outputs[0]

    def _constant(self, array: NDArray[Any], prefix: str) -> ir.Value:
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._initializer(array, prefix)
        return self._constants[key]

    def _initializer(self, array: NDArray[Any], prefix: str) -> ir.Value:
        name = self._names.new(prefix)
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        self._graph.initializers.add(value)
        return value
