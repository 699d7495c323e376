"""What a layer costs in float: its share of what INT8 saves, measured or by its multiplications."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto

from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.layers.nodes import Node
from edgekd.benchmarks.layers.profile import profile_nodes
from edgekd.benchmarks.measurement import Candidate
from edgekd.errors import EdgekdError
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.ort_session import open_session, run
from edgekd.quantization.accuracy.floats import Costs
from edgekd.quantization.accuracy.layer_errors import watch
from edgekd.quantization.accuracy.workshop import Repaired
from edgekd.quantization.node_selection import find_readers
from edgekd.store import write_json


def count_work(repaired: Repaired) -> dict[str, float]:
    """Return the share of the multiplications in INT8 that each layer has."""
    model, layers = repaired.source.model, repaired.plan.layers
    outputs = {n.name: n.output[0] for n in model.graph.node if n.name in layers}
    names = list(dict.fromkeys(outputs.values()))
    name = repaired.source.name
    session = open_session(watch(model, names), name=name)
    found = run(session, names, dict(repaired.source.judged[0]), name=name)
    sizes = {tensor: array.size for tensor, array in zip(names, found, strict=True)}
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    counts = {
        node: sizes[outputs[node]] * prod(weights[layer.weight]) // len(layer.scale)
        for node, layer in layers.items()
    }
    return {node: count / max(1, sum(counts.values())) for node, count in counts.items()}


def measure_savings(repaired: Repaired) -> dict[str, float]:
    """Return each layer's share of the time that INT8 saves, from profiles of both files here.

    Where a profile cannot be taken, or a layer is not found in it, the share of the multiplications
    stands in.
    """
    found = count_work(repaired)
    try:
        before = _profile(repaired.source.model, repaired)
        after = _profile(repaired.build().graph, repaired)
    except EdgekdError:
        return found
    readers = find_readers(repaired.source.model)
    saved: dict[str, float] = {}
    for node in repaired.source.model.graph.node:
        if node.name in found:
            was, now = (find_time(node, nodes, readers) for nodes in (before, after))
            if was is not None and now is not None:
                saved[node.name] = max(0.0, was - now)
    total = sum(saved.values())
    if len(saved) < len(found) or not total:
        return found
    return {name: value / total for name, value in saved.items()}


def remember(costs: Costs, path: Path) -> Costs:
    """Return costs that are found once: written to a file before they are used, then read from it.

    No two measurements are equal, and the layers that are left in float depend on them. A run that
    was killed goes on with what it measured, to the bytes that it would have written.

    Args:
        costs: what finds them.
        path: the file, of one graph; what it has of other layers is replaced.
    """

    def find(repaired: Repaired) -> Mapping[str, float]:
        if path.exists():
            stored: dict[str, float] = json.loads(path.read_text(encoding="utf8"))
            if stored.keys() == repaired.plan.layers.keys():
                return stored
        path.parent.mkdir(parents=True, exist_ok=True)
        found = dict(costs(repaired))
        write_json(path, found)
        return found

    return find


def _profile(model: ModelProto, repaired: Repaired) -> Sequence[Node]:
    sample = repaired.source.judged[0]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        file, feeds = Path(folder) / "model.onnx", Path(folder) / "feeds.npz"
        save_onnx(model, file)
        save_feeds(feeds, {name: np.asarray(array)[None] for name, array in sample.items()})
        return profile_nodes(Candidate(file, feeds))


def find_time(
    node: NodeProto, nodes: Sequence[Node], readers: Mapping[str, Sequence[NodeProto]]
) -> float | None:
    """Return the seconds of the node that a layer became, or None.

    ONNX Runtime keeps the name of a layer, or takes that of what it gives with what was fused into
    it, and adds a suffix to either.
    """
    names = [node.name, node.output[0]]
    for _ in range(3):  # an activation, an addition, another activation
        users = readers.get(names[-1], ())
        if len(users) != 1 or users[0].op_type not in ("Relu", "Clip", "Add", "LeakyRelu"):
            break
        names.append(users[0].output[0])
    for name in names:
        for one in nodes:
            if one.name == name or one.name.startswith((f"{name}_nchwc", f"{name}_token")):
                return one.time_s
    return None
