"""New names against all names of a graph."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from edgekd.exporters.onnx_files import messages


class NewNames:
    """Gives names that a graph does not use yet, in its subgraphs neither."""

    def __init__(self, model: ModelProto) -> None:
        """Begin with the names of a graph."""
        self._taken = list_names(model)

    def new(self, prefix: str) -> str:
        """Return a new name that begins with `prefix`."""
        number = len(self._taken)
        while f"{prefix}{number}" in self._taken:
            number += 1
        self._taken.add(f"{prefix}{number}")
        return f"{prefix}{number}"


def list_names(model: ModelProto) -> set[str]:
    """Return every name that a graph uses for a node or a tensor, in subgraphs as well."""
    found: set[str] = set()
    for node in messages(model, NodeProto):
        found.update([node.name, *node.input, *node.output])
    found.update(tensor.name for tensor in messages(model, TensorProto))
    found.update(value.name for value in messages(model, ValueInfoProto))
    return found
