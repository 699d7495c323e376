"""Read the list of an engine's layers that TensorRT prints when it has built one.

One line a layer. A convolution is `correlation`, a product of matrices `gemm`; `runtime_fusion` is
a product that was fused with others and multiplies in float. All else moves and maps values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PRODUCTS = ("correlation", "gemm", "deconv", "runtime_fusion")
"""Layer types that multiply by weights, or multiply two activations."""

_LAYER = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*)\], "
    r"TacticName: .*?, StreamId: \d+, Metadata: ?(?P<origin>.*)"
)
# Whole, so that the name of a tensor cannot pass for the type of another.
_TYPE = re.compile(r"StrideOrder: \[[\d,]*\], Datatype: (\w+), Format:")
# Entries are kept apart by a control character, which a log may have lost.
_ORIGIN = re.compile(r"\[ONNX Layer: (.*?)\](?=\x1f?\[ONNX Layer: |\x1f?$)")


@dataclass(frozen=True, kw_only=True)
class EngineLayer:
    """One layer of an engine, with the types of what it reads and writes."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    """Its weights first, where it has some."""
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    """Names of the ONNX nodes that it was made of."""

    @property
    def multiplies(self) -> bool:
        """Whether it is a convolution or a product."""
        return self.kind in PRODUCTS

    @property
    def factors(self) -> tuple[str, ...]:
        """The types of what it multiplies; where others were fused with it, of all it reads."""
        if self.kind == "runtime_fusion":
            return (*self.inputs, *self.constants)
        return self.inputs[:2] if len(self.inputs) > 1 else (*self.inputs, *self.constants[:1])

    @property
    def in_int8(self) -> bool:
        """Whether it multiplies bytes by bytes, and nothing was fused before."""
        fused = self.kind == "runtime_fusion"
        return self.multiplies and not fused and self.factors == ("Int8", "Int8")

    @property
    def types(self) -> str:
        """What it multiplies, in words: "gemm of Float by Float"."""
        return f"{self.kind} of {' by '.join(self.factors) or 'nothing'}"


def read_layers(text: str) -> tuple[EngineLayer, ...]:
    """Return the layers in a log, in order; lines that are no layers are passed over."""
    found = []
    for line in text.split("\n"):
        match = _LAYER.fullmatch(line.strip())
        if match is None:
            continue
        types = {
            key: tuple(_TYPE.findall(match[key])) for key in ("inputs", "constants", "outputs")
        }
        nodes = tuple(_ORIGIN.findall(match["origin"].strip()))
        found.append(EngineLayer(name=match["name"], kind=match["kind"], nodes=nodes, **types))
    return tuple(found)
