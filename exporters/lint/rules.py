"""What the rules of all runtimes share: a rule takes a graph and gives findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from onnx import NodeProto

from edgekd.benchmarks.operators import QDQ
from edgekd.exporters.lint.finding import Finding, Source, Weight
from edgekd.exporters.lint.graph import Graph, Quantization, label, node_bodies
from edgekd.exporters.lint.layers import count_other, layers

Rule = Callable[[Graph], Iterable[Finding]]
INTEGER_OPERATORS = frozenset(
    {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
)
_DIMENSIONS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool")


def apply_rules(file: Graph, rules: Iterable[Rule]) -> Iterator[Finding]:
    """Apply rules to a graph and to those inside of it."""
    for rule in rules:
        for scope in file.scopes():
            yield from rule(scope)


def found_at(
    node: NodeProto,
    rule: str,
    weight: Weight,
    reason: str,
    fix: str,
    *,
    source: Source,
    detail: str = "",
) -> Finding:
    """Return a finding of one node."""
    return Finding(
        rule=rule,
        weight=weight,
        node=label(node),
        operator=node.op_type,
        reason=reason,
        fix=fix,
        detail=detail,
        source=source,
    )


def found_in_file(rule: str, weight: Weight, reason: str, fix: str, *, source: Source) -> Finding:
    """Return a finding of the whole file."""
    return Finding(rule=rule, weight=weight, node="", reason=reason, fix=fix, source=source)


def conversions(graph: Graph) -> Iterator[tuple[NodeProto, Quantization]]:
    """Yield the QuantizeLinear and DequantizeLinear nodes of one scope with what they do."""
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and not node.domain:
            yield node, graph.quantization(node)


def is_of_weight(graph: Graph, node: NodeProto) -> bool:
    """Tell whether a conversion is of a constant."""
    return graph.rounded_constant(node.input[0]) is not None


def count_layers(file: Graph, slow: Collection[str] = ()) -> tuple[int, int]:
    """Return the layers with weights that a file lays out for INT8, and the others.

    Args:
        file: the main graph.
        slow: names of layers that run in float though they are quantized.
    """
    int8 = floats = 0
    for scope in file.scopes():
        for layer in layers(scope):
            fine = layer.quantized and label(layer.node) not in slow
            int8, floats = int8 + fine, floats + (not fine)
        floats += count_other(scope)
    return int8, floats


def unsupported(
    graph: Graph,
    operators: Collection[str],
    *,
    what: str,
    weight: Weight,
    source: Source,
    domains: Collection[str] = (),
) -> Iterator[Finding]:
    """Find operators of the standard that a runtime does not have, besides integer ones.

    Args:
        graph: one scope.
        operators: those that it has.
        what: the runtime and what it does with others, as in "XNNPACK leaves X to the CPU".
        weight: of each finding.
        source: of the list.
        domains: others than the standard's that the list is complete for.
    """
    folded = _folded(graph)
    for node in graph.nodes:
        listed = node.op_type in operators or node.op_type.startswith("QLinear")
        other = node.domain not in ("", "ai.onnx", "ai.onnx.ml", *domains)
        known = other or listed or node.op_type == "Constant"
        indices = all(graph.dtype(name) in _INDICES for name in node.output)
        if not (known or indices or node.output[0] in folded):
            yield found_at(
                node,
                "operator",
                weight,
                what.format(operator=node.op_type),
                "",
                source=source,
            )


_INDICES = ("int64", "int32", "bool")
"""Shapes and indices: ONNX Runtime computes them on the CPU on purpose."""


def _folded(graph: Graph) -> set[str]:
    """Return what follows from constants alone: ONNX Runtime computes it once, at loading."""
    found: set[str] = set()
    for node in graph.nodes:
        known = (not n or n in found or graph.constant(n) is not None for n in node.input)
        if all(known) and not list(node_bodies(node)):
            found.update(node.output)
    return found


def is_quantized(file: Graph) -> bool:
    """Tell whether a file has any Q/DQ, or operators on integers."""
    return any(
        node.op_type in (*QDQ, *INTEGER_OPERATORS) or node.op_type.startswith("QLinear")
        for scope in file.scopes()
        for node in scope.nodes
    )


def free_axes(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield the inputs of the main graph with axes that are not fixed, and which these are."""
    if graph.outer is not None:
        return
    for name in graph.inputs:
        dims = graph.dims(name)
        if dims is None or None in dims:
            shown = (
                "of unknown rank"
                if dims is None
                else f"{[d or '?' for d in dims]}".replace("'", "")
            )
            yield name, shown


def not_two_dimensional(graph: Graph) -> Iterator[NodeProto]:
    """Yield convolutions and pools over one or three axes of space."""
    for node in graph.nodes:
        if node.op_type in _DIMENSIONS and not node.domain:
            rank = len(graph.dims(node.input[0]) or ())
            if rank and rank != 4:
                yield node


def half_quantized(
    graph: Graph, consequence: str, *, fix: str = "", source: Source
) -> Iterator[Finding]:
    """Find layers of which only data or only weight is rounded.

    Args:
        graph: one scope.
        consequence: what the runtime does then.
        fix: if left out, to complete the pair or to take it away.
        source: where that is known from.
    """
    for layer in layers(graph):
        if (layer.data is None) == (layer.rounded is None):
            continue
        bare = "data" if layer.data is None else "weight"
        yield found_at(
            layer.node,
            "float-input",
            "warning",
            f"its {bare} is not quantized: {consequence}",
            fix or f"add a Q/DQ pair in front of its {bare}, or take the other pair away",
            source=source,
        )
