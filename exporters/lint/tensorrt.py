"""TensorRT of a version: rules read from the file, and an engine by TensorRT-RTX if it is here.

TensorRT-RTX has the rules of TensorRT 11 and needs no GPU to build. It tells which layers run in
INT8; that the engine of another version or GPU does the same is likely, and not shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from onnx import ModelProto

from edgekd.exporters.lint import tensorrt_operators as parser
from edgekd.exporters.lint import tensorrt_rules as qdq
from edgekd.exporters.lint.dla import dla as dla_rules
from edgekd.exporters.lint.finding import Finding, Lint, findings_of
from edgekd.exporters.lint.graph import index
from edgekd.exporters.lint.rules import Rule, apply_rules, count_layers, is_quantized
from edgekd.exporters.lint.tensorrt_operators import Version, shown
from edgekd.exporters.tensorrt.proof import Proof, prove_int8
from edgekd.exporters.tensorrt.rtx import missing

_FLOAT_RULES = frozenset({"weight-axis", "per-channel-activation", "float-input"})


def rules(version: Version, *, dla: bool = False) -> tuple[Rule, ...]:
    """Return the rules for a version."""
    found: tuple[Rule, ...] = (
        partial(parser.opset, version=version),
        partial(parser.operators, version=version),
        parser.options,
        qdq.types,
        qdq.zero_points,
        qdq.scales,
        qdq.unsigned_tensors,
        qdq.axes,
        qdq.inputs_of_layers,
        qdq.deconvolutions,
        qdq.pairs,
        qdq.residuals,
        qdq.profiles,
    )
    if version == (10, 16):
        found += (qdq.half_scales,)
    return (*found, partial(dla_rules, version=version)) if dla else found


def lint_tensorrt(
    path: Path, model: ModelProto, version: Version, *, dla: bool = False, build: bool = True
) -> Lint:
    """Apply the rules of a version, and build an engine if nothing speaks against it.

    Args:
        path: the file.
        model: what it contains.
        version: a key of `tensorrt_operators.OPSETS`.
        dla: also apply the limits of the DLA.
        build: whether TensorRT-RTX may build an engine, if it is installed; that takes seconds.
    """
    file = index(model)
    found = findings_of(apply_rules(file, rules(version, dla=dla)))
    slow = {one.node for one in found if one.rule in _FLOAT_RULES}
    int8, floats = count_layers(file, slow)
    by = f"the rules of TensorRT {shown(version)}"
    refused = any(one.weight == "error" for one in found)
    if build and not refused and int8 and not missing():
        proof = prove_int8(path)
        by += f" and an engine that TensorRT-RTX {proof.build.version} built here"
        found = findings_of(found, _proven(proof, slow))
        if not proof.build.message:
            claimed = len(proof.int8) + len(proof.floats)
            int8, floats = len(proof.int8), int8 + floats - len(proof.int8)
            floats = max(floats, claimed - len(proof.int8))
    return Lint(
        file=path.name,
        runtime=f"tensorrt-{shown(version)}",
        known="read from the file",
        by=by,
        int8_layers=int8,
        quantized=is_quantized(file),
        float_layers=floats,
        findings=found,
    )


def _proven(proof: Proof, known: set[str]) -> Iterator[Finding]:
    """Say what TensorRT-RTX did otherwise than the rules had it."""
    if proof.build.message:
        yield Finding(
            rule="not-built",
            weight="error" if proof.build.version else "warning",  # it gave no answer
            node="",
            reason=proof.build.message,
            fix="export the file again without what it names",
        )
    for name, why in proof.floats.items():
        if proof.build.message or name in known:
            continue
        yield Finding(
            rule="engine-float",
            weight="warning",
            node=name,
            reason=f"the engine of TensorRT-RTX runs it as {why}, though data and weight are "
            "quantized",
            fix="look at the layers around it: a pair that is missing or differs keeps it in float",
        )
