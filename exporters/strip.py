"""Remove traces of the maker from a model, and lower its versions for older runtimes."""

from __future__ import annotations

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto

from edgekd.exporters.onnx_files import messages, names_source
from edgekd.exporters.onnx_metadata import split_metadata
from edgekd.exporters.onnx_versions import drop_unused_imports, lowest_ir


def strip(model: ModelProto) -> ModelProto:
    """Return a copy that computes the same and contains nothing about who made it, where and how.

    onnx-ir's own pass leaves the notes of the model, of values, of tensors and of attributes.

    Doc strings, metadata of nodes and values, quantization and training notes go; the producer
    reads "edgekd"; names of nodes and inner tensors that contain a path are replaced. Names of the
    graph's inputs and outputs are its interface and stay, as does metadata of the model that
    identifies nobody: an app may read it. The IR version is the lowest that the file allows.
    """
    carried, _ = split_metadata(model)
    result = ModelProto()
    result.CopyFrom(model)
    for message in messages(result, Message):
        for field in ("doc_string", "metadata_props", "quantization_annotation", "training_info"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    for key, value in carried.items():
        result.metadata_props.add(key=key, value=value)
    for graph in messages(result, GraphProto):
        graph.name = "graph"
    result.producer_name, result.domain = "edgekd", ""
    for name in ("producer_version", "model_version"):
        result.ClearField(name)
    _rename(result)
    drop_unused_imports(result)
    result.ir_version = lowest_ir(result)
    return result


def _rename(model: ModelProto) -> None:
    """Replace names that contain a path or a source file, in every graph alike."""
    kept = {value.name for value in [*model.graph.input, *model.graph.output]}
    clean: dict[str, str] = {}

    def new(name: str, prefix: str) -> str:
        if name in kept or not names_source(name):
            return name
        return clean.setdefault(name, f"{prefix}_{len(clean)}_")

    for graph in messages(model, GraphProto):
        for tensor in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
            tensor.name = new(tensor.name, "tensor")
        for sparse in graph.sparse_initializer:
            sparse.values.name = new(sparse.values.name, "tensor")
    for function in messages(model, onnx.FunctionProto):
        function.input[:] = [new(name, "tensor") for name in function.input]
        function.output[:] = [new(name, "tensor") for name in function.output]
    for node in messages(model, onnx.NodeProto):
        node.name = new(node.name, node.op_type)
        node.input[:] = [new(name, "tensor") for name in node.input]
        node.output[:] = [new(name, "tensor") for name in node.output]
