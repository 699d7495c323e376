"""Every variant in every runtime that is here: does it run, what does it answer, how fast is it?

    python -m edgekd.benchmarks.trials.variant_runtimes --json benchmarks/results/variants.json
    npm pack onnxruntime-web && tar xzf onnxruntime-web-*.tgz
    python -m edgekd.benchmarks.trials.variant_runtimes --web package/dist

MobileNetV2 at 224 pixels, and an encoder of MiniLM-L3's shapes on 32 tokens; random weights, one
thread. ONNX Runtime and OpenVINO (with float32 where a file is float) time all variants and FP32 in
one interleaved session each. With --web they run in WebAssembly, in Node. Where TensorRT-RTX is
installed it builds each file, and the table says in which type its layers multiply. A quarter of an
hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.artifact import Variant
from edgekd.benchmarks.bench import Inputs, bench
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.formatting import times
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.benchmarks.trials.bert_graph import TINY, write_bert
from edgekd.benchmarks.trials.known_networks import NETWORKS, samples
from edgekd.benchmarks.trials.report import conclude
from edgekd.devices import open_device
from edgekd.errors import EdgekdError, NothingToDo, one_line
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.tensorrt import rtx
from edgekd.quantization.makers import MAKERS, calibrate_for, make

MINILM = {"layers": 3, "hidden": 384, "heads": 12, "inner": 1536, "words": 30_522}
_SAMPLES, _LENGTH = 8, 32
Arrays = dict[str, NDArray[Any]]
NODE = """
import fs from "node:fs";
import * as ort from "WEB/ort.wasm.bundle.min.mjs";
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const asked = JSON.parse(fs.readFileSync("asked.json", "utf8")), sessions = [], found = {};
const feeds = Object.fromEntries(asked.inputs.map(({name, type, shape, data}) => [name,
  new ort.Tensor(type, type === "int64" ? BigInt64Array.from(data, BigInt) : data, shape)]));
for (const file of asked.files) {
  try {
    const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(file)));
    const answers = await session.run(feeds);
    found[file] = {seconds: [], answer: Array.from(answers[session.outputNames[0]].data)};
    sessions.push([file, session]);
  } catch (error) { found[file] = {refused: String(error)}; }
}
for (let round = 0; round < asked.rounds; round++)
  for (const [file, session] of sessions) {
    const start = performance.now();
    await session.run(feeds);
    found[file].seconds.push((performance.now() - start) / 1e3);
  }
fs.writeFileSync("found.json", JSON.stringify(found));
"""


def networks(folder: Path, *, short: bool) -> Iterator[tuple[str, Path, Arrays]]:
    """Write the networks; yield name, file and samples."""
    path = folder / "MobileNetV2.onnx"
    onnx.save(NETWORKS["MobileNetV2"](), path)
    yield path.stem, path, dict(samples(_SAMPLES))
    path = folder / "encoder.onnx"
    size = TINY if short else MINILM
    write_bert(path, **size)
    ids = np.random.default_rng(0).integers(0, size["words"], (_SAMPLES, _LENGTH))
    yield path.stem, path, {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def follow(want: NDArray[Any], got: NDArray[Any]) -> float:
    """Return the signal-to-noise ratio in dB."""
    noise = np.square(want.astype(float) - got).sum()
    return float(10 * np.log10(np.square(want.astype(float)).sum() / noise)) if noise else 999.0


def time_all(
    source: Path, files: Mapping[Variant, Path], one: Arrays, runtime: str, timing: Timing
) -> dict[Variant, Any]:
    """Return the speed-up of each file over FP32 in one runtime, or why it is not known."""
    feeds = source.with_suffix(".npz")
    save_feeds(feeds, {name: array[None] for name, array in one.items()})
    try:
        result = bench(
            list(files.values()),
            vs=source,
            device=open_device("local"),
            setups=[Setup(runtime=runtime)],
            timing=timing,
            inputs=Inputs(feeds=feeds),
        )
    except EdgekdError as error:
        return dict.fromkeys(files, f"refused: {one_line(error)}")
    return {v: row.speedup for v, row in zip(files, result.rows[1:], strict=True)}


def in_openvino(path: Path, one: Arrays) -> NDArray[Any] | None:
    """Return the first output in OpenVINO; None where that is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", hints)
    return np.asarray(compiled(one)[compiled.output(0)])


def in_webassembly(
    paths: Sequence[Path], one: Arrays, web: Path, folder: Path, *, rounds: int
) -> dict[str, Any]:
    """Run files in Node; return answer and seconds of each, or why it was refused."""
    kinds = {"int64": "int64", "float32": "float32"}
    inputs = [
        {
            "name": name,
            "type": kinds[str(array.dtype)],
            "shape": list(array.shape),
            "data": array.reshape(-1).tolist(),
        }
        for name, array in one.items()
    ]
    asked = {"files": [str(path) for path in paths], "inputs": inputs, "rounds": rounds}
    (folder / "asked.json").write_text(json.dumps(asked))
    (folder / "run.mjs").write_text(NODE.replace("WEB", web.resolve().as_posix()))
    subprocess.run(["node", "run.mjs"], cwd=folder, check=True, timeout=900)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def in_tensorrt(path: Path) -> str:
    """Return in which types TensorRT-RTX multiplies, or why it builds no engine."""
    if rtx.missing():
        return "not installed"
    build = rtx.build_engine(path)
    if build.message:
        return f"refused: {one_line(build.message)}"
    kinds = Counter("/".join(sorted(set(one.inputs))) for one in build.layers if one.multiplies)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def measure(
    name: str, source: Path, arrays: Arrays, *, timing: Timing, web: Path | None, rounds: int
) -> list[dict[str, Any]]:
    """Make every variant of a network, and return a row for each."""
    one = {key: array[:1] for key, array in arrays.items()}
    calibrated = calibrate_for(list(MAKERS), source, lambda: iter([arrays]))
    files: dict[Variant, Path] = {}
    rows: list[dict[str, Any]] = []
    for variant in MAKERS:
        path = source.with_name(f"{source.stem}.{variant}.onnx")
        try:
            facts = make(variant, calibrated, path, accuracy=())
        except NothingToDo as signal:
            rows.append({"network": name, "variant": variant, "not made": one_line(signal)})
            continue
        files[variant] = path
        rows.append({"network": name, "variant": variant, "layers": facts.layers})
    speeds = {rt: time_all(source, files, one, rt, timing) for rt in ("onnxruntime", "openvino")}
    want = next(iter(predictor(source)(one).values()))
    scripts: dict[str, Any] = {}
    if web is not None:
        scripts = in_webassembly([source, *files.values()], one, web, source.parent, rounds=rounds)
    for row in rows:
        variant = row["variant"]
        if variant not in files:
            continue
        path = files[variant]
        row["size"] = path.stat().st_size / source.stat().st_size
        row["onnxruntime dB"] = follow(want, next(iter(predictor(path)(one).values())))
        other = in_openvino(path, one)
        row["openvino dB"] = None if other is None else follow(want, other)
        for runtime, found in speeds.items():
            known = found[variant]
            row[runtime] = known if isinstance(known, str) else asdict(known)
            row[f"{runtime} text"] = known if isinstance(known, str) else times(known)
        row["tensorrt-rtx"] = in_tensorrt(path)
        if scripts:
            row |= _in_script(scripts, source, path, want)
    return rows


def _in_script(
    scripts: Mapping[str, Any], source: Path, path: Path, want: NDArray[Any]
) -> dict[str, Any]:
    base, mine = scripts[str(source)], scripts[str(path)]
    if "refused" in mine:
        return {"wasm": f"refused: {mine['refused']}"}
    answer = np.array(mine["answer"]).reshape(want.shape)
    return {
        "wasm dB": follow(want, answer),
        "wasm": float(np.median(np.array(base["seconds"]) / np.array(mine["seconds"]))),
    }


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "not made" in row:
        return [row["network"], row["variant"], "not made: " + row["not made"][:60], *[""] * 5]
    decibels = [row[f"{runtime} dB"] for runtime in ("onnxruntime", "openvino")]
    wasm = row.get("wasm", "")
    wasm = f"{wasm:.2f}x, {row['wasm dB']:.0f} dB" if isinstance(wasm, float) else wasm
    shown = [row["onnxruntime text"], row["openvino text"], wasm, row["tensorrt-rtx"]]
    return [
        row["network"],
        row["variant"],
        f"{100 * row['size']:.0f} %",
        " / ".join("" if one is None else f"{one:.0f}" for one in decibels),
        *(text.partition(":")[0] for text in shown),
    ]


def main() -> None:
    """Make, run, time and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--web", type=Path, help="the folder dist of onnxruntime-web")
    parser.add_argument("--short", action="store_true", help="few calls: speeds say little")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    given = parser.parse_args()
    timing = Timing(precision=0.02, time_limit_s=200)
    if given.short:
        timing = Timing(rounds=3, blocks=2, block_s=0.02)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for name, path, arrays in networks(Path(folder), short=given.short):
            rounds = 5 if given.short else 40
            rows += measure(name, path, arrays, timing=timing, web=given.web, rounds=rounds)
    conclude(
        "Every variant in every runtime that is here, against FP32 in the same runtime [95 %]",
        ["network", "variant", "size", "dB, ORT / OpenVINO", "ORT", "OpenVINO", "WASM", "RTX"],
        [_cells(row) for row in rows],
        {"variants": rows},
        given.json,
    )


if __name__ == "__main__":
    main()
