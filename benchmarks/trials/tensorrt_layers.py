"""Which layers of `int8-tensorrt` files run in INT8 in an engine of TensorRT-RTX?

    python -m edgekd.benchmarks.trials.tensorrt_layers --json tensorrt-layers.json
    python -m edgekd.benchmarks.trials.tensorrt_layers model.onnx

Float files are quantized for TensorRT with random inputs, for what runs where does not depend on
the ranges; files with Q/DQ are taken as they are. An engine is built of each file for the Ampere
GPUs of SM 8.6, without a GPU, and every layer that the file claims is looked up in it. Without
files it takes the known networks for 224 pixels; --more adds the nine light models of the onnx
package, open-nsfw and MiniLM-L3 (`edgekd data open-nsfw minilm-l3`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

from edgekd.benchmarks.feeds import Arrays, random_feeds
from edgekd.benchmarks.trials.known_networks import NETWORKS
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.downloads import fetch
from edgekd.errors import EdgekdError, one_line
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.tensorrt.proof import claimed_layers, prove_int8
from edgekd.exporters.tensorrt.rtx import build_engine
from edgekd.quantization.layouts import TENSORRT
from edgekd.quantization.static import quantize_int8

FETCHED = ("open-nsfw", "minilm-l3")
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network."""

    name: str
    claimed: int = 0
    in_int8: int = 0
    left: int = 0
    """Conv, Gemm and MatMul that the quantizer left in float."""
    floats: dict[str, str]
    """Claimed layers that run in float: name, what runs in their place."""
    build_s: float | None = None
    engine_bytes: int | None = None
    float_bytes: int | None = None
    """Of the engine of the float file."""
    message: str = ""
    """Why there is no file or no engine."""

    @property
    def holds(self) -> bool:
        """Whether there is an engine, and each claim is true in it."""
        return not self.message and not self.floats


def main() -> int:
    """Build and look up; return 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="ONNX files, float or with Q/DQ")
    parser.add_argument("--more", action="store_true", help="also eleven networks of others")
    parser.add_argument("--short", action="store_true", help="ResNet-18 alone")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for name, path in _files(arguments, Path(folder)):
            rows.append(_look_up(name, path, Path(folder, "int8.onnx")))
    conclude(
        "int8-tensorrt in TensorRT-RTX",
        ("network", "claimed", "in INT8", "left in float", "build s", "engine MB", "FP32 MB", ""),
        [_cells(row) for row in rows],
        {"networks": [asdict(row) for row in rows]},
        arguments.json,
    )
    return int(not all(row.holds for row in rows))


def _files(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    for path in arguments.files:
        yield path.name, path
    if not arguments.files:
        for name in list(NETWORKS)[:1] if arguments.short else NETWORKS:
            onnx.save(NETWORKS[name](), folder / "float.onnx")
            yield name, folder / "float.onnx"
    if arguments.more:
        yield from ((path.stem, path) for path in sorted(LIGHT.glob("*.onnx")))
        for name in FETCHED:
            yield from ((name, path) for path in sorted(fetch(name).glob("*.onnx")))


def _look_up(name: str, path: Path, target: Path) -> Row:
    try:
        model = load_onnx(path)
        left = 0
        if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
            left = _quantize(path, target)
            path, source = target, path
        else:
            source = None
        claimed = claimed_layers(load_onnx(path))
        proof = prove_int8(path, claimed)
        plain = None if source is None else build_engine(source)
    except EdgekdError as error:
        return Row(name=name, floats={}, message=one_line(error))
    return Row(
        name=name,
        claimed=len(claimed),
        in_int8=len(proof.int8),
        left=left,
        floats={} if proof.build.message else dict(proof.floats),
        build_s=proof.build.build_s,
        engine_bytes=proof.build.engine_bytes,
        float_bytes=None if plain is None else plain.engine_bytes,
        message=proof.build.message,
    )


def _quantize(source: Path, target: Path) -> int:
    """Write the INT8 form of a float file; return how many layers stay float."""

    def feeds() -> Iterator[Arrays]:
        drawn = random_feeds(source, samples=8)
        for call in range(8):
            yield {name: array[call] for name, array in drawn.items()}

    return len(quantize_int8(source, target, feeds, layout=TENSORRT).left)


def _cells(row: Row) -> Sequence[str]:
    def size(count: int | None) -> str:
        return "" if count is None else f"{count / 1e6:.1f}"

    return (
        row.name,
        f"{row.claimed}",
        f"{row.in_int8}",
        f"{row.left}",
        "" if row.build_s is None else f"{row.build_s:.1f}",
        size(row.engine_bytes),
        size(row.float_bytes),
        row.message or "; ".join(f"{k}: {why}" for k, why in list(row.floats.items())[:3]),
    )


if __name__ == "__main__":
    raise SystemExit(main())
