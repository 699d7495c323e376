"""CoreML, WebGPU and CUDA as providers of ONNX Runtime: they compute in float.

ONNX Runtime replaces Q/DQ groups by integer kernels for its CPU provider (and DirectML), which is
in qdq_selector_action_transformer.cc. Operators: `provider_operators`. CUDA: issues 12229, 24807
and 7745 of its repository (integer operators run on the CPU, between copies). Nothing was run here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from onnx import ModelProto

from edgekd.exporters.lint.finding import Finding, Lint, findings_of
from edgekd.exporters.lint.graph import Graph, index, label
from edgekd.exporters.lint.provider_operators import COREML, WEBGPU, unknown_operators
from edgekd.exporters.lint.rules import (
    INTEGER_OPERATORS,
    apply_rules,
    conversions,
    count_layers,
    found_at,
    found_in_file,
    free_axes,
    is_quantized,
    not_two_dimensional,
    unsupported,
)


class Provider(NamedTuple):
    """One provider: its name for people, and the operators that it is documented to have."""

    name: str
    operators: frozenset[str] | None
    """None: no list is kept here."""
    fixed_shapes: bool
    images_only: bool


PROVIDERS = {
    "coreml": Provider("CoreML", COREML, fixed_shapes=True, images_only=False),
    "webgpu": Provider("WebGPU", WEBGPU, fixed_shapes=False, images_only=True),
    "cuda": Provider("CUDA", None, fixed_shapes=False, images_only=False),
}


def quantized(graph: Graph, provider: Provider) -> Iterator[Finding]:
    """Find Q/DQ: these providers have no integer kernels for it."""
    found = [node for scope in graph.scopes() for node, _ in conversions(scope)]
    if graph.outer is None and found:
        yield Finding(
            rule="quantized",
            weight="warning",
            node="",
            reason=f"the {provider.name} provider has no integer kernels behind Q/DQ: layers are "
            "computed in float between conversions, or leave to the CPU",
            fix="give it the float16 or float32 file"
            + ("; for INT8 on NVIDIA use TensorRT" if provider.name == "CUDA" else ""),
            left=tuple(label(node) for node in found),
            source="from documentation",
        )


def integers(graph: Graph, provider: Provider) -> Iterator[Finding]:
    """Find operators on integers, which go to the CPU."""
    for node in graph.nodes:
        if node.op_type in INTEGER_OPERATORS or node.op_type.startswith("QLinear"):
            yield found_at(
                node,
                "integer-operator",
                "warning",
                f"the {provider.name} provider has no {node.op_type}: its tensors are copied to "
                "the CPU and back",
                "give it the float16 or float32 file",
                source="from documentation",
            )


def operators(graph: Graph, provider: Provider) -> Iterator[Finding]:
    """Find operators that the provider is not documented to have."""
    if provider.operators is None:
        return
    known = provider.operators | INTEGER_OPERATORS | {"QuantizeLinear", "DequantizeLinear"}
    what = (
        f"{{operator}} is not in the documented list of the {provider.name} provider, so that it "
        "may be left to the CPU; a newer release may have it"
    )
    yield from unsupported(graph, known, what=what, weight="warning", source="from documentation")
    if provider.name == "CoreML":
        yield from _gathers(graph)


def _gathers(graph: Graph) -> Iterator[Finding]:
    """Note Gather by a single number, which older releases of the CoreML provider leave out."""
    for node in graph.nodes:
        if node.op_type == "Gather" and not node.domain and graph.dims(node.input[1]) == ():
            dims = graph.dims(node.input[0])
            fixed = dims is not None and None not in dims and len(dims) <= 4
            yield found_at(
                node,
                "gather-one",
                "note" if fixed else "warning",
                "its index is a single number: older releases of the CoreML provider take a "
                "Gather by indices of one axis or more only, newer ones where its data has a fixed "
                "shape of four axes or fewer",
                "write it as a Gather by a list of one index and a Squeeze, if it runs on the CPU",
                source="from documentation",
            )


def shapes(graph: Graph, provider: Provider) -> Iterator[Finding]:
    """Find shapes that the provider is slow with, or does not take."""
    if provider.fixed_shapes:
        for name, shown in free_axes(graph):
            yield found_in_file(
                "free-axes",
                "warning",
                f"input {name!r} is {shown}; {provider.name} is slower with free axes, and may "
                "leave such nodes to the CPU",
                "fix the shape when exporting, or with onnxruntime.tools.make_dynamic_shape_fixed",
                source="from documentation",
            )
    for node in not_two_dimensional(graph):
        rank = len(graph.dims(node.input[0]) or ())
        if rank > 4 or (provider.images_only and rank != 4):
            yield found_at(
                node,
                "rank",
                "warning",
                f"it has {rank} axes, for which {provider.name} has no {node.op_type}",
                "write it with two axes of space",
                source="from documentation",
            )


def lint_float_provider(path: Path, model: ModelProto, runtime: str) -> Lint:
    """Apply the rules of one provider to a file.

    Args:
        path: the file.
        model: what it contains.
        runtime: a key of `PROVIDERS`.
    """
    provider = PROVIDERS[runtime]
    file = index(model)
    own = [partial(rule, provider=provider) for rule in (quantized, integers, operators, shapes)]
    return Lint(
        file=path.name,
        runtime=runtime,
        known="read from the file",
        by=f"the documentation of ONNX Runtime's {provider.name} provider",
        int8_layers=0,
        quantized=is_quantized(file),
        float_layers=sum(count_layers(file)),
        findings=findings_of(apply_rules(file, (unknown_operators, *own))),
    )
