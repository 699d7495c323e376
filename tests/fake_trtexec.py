"""Stands in for trtexec: knows the options of 8.5, 10.3 and 11, builds nothing, prints real lines.

    fake_trtexec.py VERSION SAMPLES ARGUMENTS...

Option lists by NVIDIA/TensorRT samples/common/sampleOptions.cpp. Times, profile and layers are
those of a real run where SAMPLES has them (tests may not copy them), else a few written by hand.
An engine is a JSON file with the version that built it. It appends its arguments to the file
`calls` beside the engines, so that a test can count builds.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

COMMON = """--onnx --saveEngine --loadEngine --minShapes --optShapes --maxShapes --shapes --noTF32
--inputIOFormats --outputIOFormats --memPoolSize --profilingVerbosity --avgTiming --refit --sparsity
--consistency --tacticSources --noBuilderCache --timingCacheFile --device --useDLACore
--allowGPUFallback --plugins --loadInputs --iterations --warmUp --duration --sleepTime --idleTime
--streams --exposeDMA --noDataTransfers --useManagedMemory --useSpinWait --threads --useCudaGraph
--timeDeserialize --timeRefit --separateProfileRun --verbose --avgRuns --percentile --dumpRefit
--dumpOutput --dumpProfile --dumpLayerInfo --exportTimes --exportOutput --exportProfile
--exportLayerInfo --help --safe"""
PRECISIONS = "--fp16 --int8 --best --calib --layerPrecisions --layerOutputTypes --restricted"
OLD = """--workspace --buildOnly --nvtxMode --minTiming --maxBatch --batch --explicitBatch
--explicitPrecision --heuristic --model --deploy --output --uff"""
NEW = """--skipInference --stronglyTyped --getPlanVersionOnly --versionCompatible --useRuntime
--builderOptimizationLevel --dumpOptimizationProfile"""
ELEVEN = """--includeDataTransfers --noCudaGraph --noSpinWait --dryRun --loadRefOutputs
--accuracyAlgorithm --accuracyThreshold --atol --rtol"""
IGNORED = "--stronglyTyped --useCudaGraph --noDataTransfers --useSpinWait --separateProfileRun"
ENDS = ("--minShapes", "--maxShapes")
OPTION = re.compile(r"--\w+")
VERSIONS = {
    "8.5": ("v8503", COMMON + PRECISIONS + OLD),
    "10.3": ("v100300", COMMON + PRECISIONS + NEW + "--bf16 --fp8 --int4"),
    "11": ("v110300] [b14", COMMON + NEW + ELEVEN),
}
STAMP = "[11/28/2026-12:00:00]"


def put(text: str) -> None:
    sys.stdout.write(text + "\n")


def say(words: str, level: str = "I") -> None:
    put(f"{STAMP} [{level}] {words}")


def end(banner: str, passed: bool, *faults: str) -> NoReturn:
    for fault in faults:
        say(fault, "E")
    put(f"&&&& {'PASSED' if passed else 'FAILED'} {banner}")
    sys.exit(not passed)


def single(value: float) -> float:
    """Round as C does for a float; numpy takes longer to import than all else here."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def percentile(values: list[float], percentage: float) -> float:
    share = single(1 - single(percentage / 100))
    dropped = int(single(share * len(values)))
    return sorted(values)[max(len(values) - 1 - dropped, 0)]


def spread(name: str, values: list[float], percentages: list[float]) -> None:
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    parts = [f"min = {ordered[0]:g} ms", f"max = {ordered[-1]:g} ms"]
    parts += [f"mean = {sum(values) / len(values):g} ms", f"median = {middle:g} ms"]
    parts += [f"percentile({p:g}%) = {percentile(values, p):g} ms" for p in percentages]
    say(f"{name}: {', '.join(parts)}")


def computed_ms(samples: Path, factor: float) -> list[float]:
    real = samples / "trex_timing_head.json"
    if real.is_file():
        return [row["computeMs"] * factor for row in json.loads(real.read_text())]
    return [factor * (1 + 0.01 * (i * 7 % 11)) for i in range(200)]


def parse_model(banner: str, given: dict[str, str], version: str) -> dict[str, Any]:
    """Look for words in the file: to import onnx would take longer than all else here."""
    path = Path(given["--onnx"])
    if not path.is_file():
        end(banner, False, f"Could not open file {path}", "Failed to parse onnx file")
    data = path.read_bytes()
    if not data.startswith(b"\x08"):  # the version of its format
        end(banner, False, "[TRT] ModelImporter.cpp:735: Failed to parse ONNX model from file")
    if b"my.dom" in data:
        say(
            "[TRT] ModelImporter.cpp:954: ERROR: ModelImporter.cpp:195 In function parseNode:\n"
            "[8] No importer registered for op: Odd",
            "E",
        )
        end(banner, False, "Failed to parse onnx file", "Parsing model failed")
    int8 = b"QuantizeLinear" in data
    flags = {"--int8", "--best", "--stronglyTyped"} & set(given)
    if int8 and version != "11" and not flags:
        end(banner, False, "[TRT] 9: [network.cpp] Error Code 9: Q/DQ needs the INT8 builder flag")
    named = {part.rpartition(":")[0] for part in given.get("--optShapes", "").split(",")}
    if b"batch" in data and not any(name and name.encode() in data for name in named):
        end(banner, False, "Dynamic dimensions required for input: x")
    least, most = (re.findall(r"[0-9]+(?=[x,]|$)", given.get(k, "")) for k in ENDS)
    if any(int(a) > int(b) for a, b in zip(least, most, strict=True)):
        end(banner, False, "kMIN dimensions must be less than kOPT and kMAX")
    halves = "fp16" in path.name
    return {
        "built_by": version,
        "factor": 0.62 if int8 else 0.65 if "--fp16" in given or halves else 1.0,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def time_engine(given: dict[str, str], engine: dict[str, Any], version: str, samples: Path) -> None:
    values = computed_ms(samples, engine["factor"])
    say(f"Warmup completed 50 queries over {given.get('--warmUp', '200')} ms")
    say(f"Timing trace has {len(values)} queries over 3.0 s")
    if "--noDataTransfers" in given and version == "11":
        say("--noDataTransfers is deprecated and has no effect", "W")
    percentages = [float(p) for p in given.get("--percentile", "90,95,99").split(",")]
    say("=== Performance summary ===")
    say(f"Throughput: {1e3 * len(values) / sum(values):g} qps")
    for name, numbers in (
        ("Latency", values),
        ("Enqueue Time", [0.01] * len(values)),
        ("H2D Latency", [0.0] * len(values)),
        ("GPU Compute Time", values),
        ("D2H Latency", [0.0] * len(values)),
    ):
        spread(name, numbers, percentages)
    say("Total Host Walltime: 3.00001 s")
    say(f"Total GPU Compute Time: {sum(values) / 1e3:g} s")
    export(given, values, version, samples)


def export(given: dict[str, str], values: list[float], version: str, samples: Path) -> None:
    if "--exportTimes" in given:
        rows = [{"h2dMs": 0, "computeMs": v, "d2hMs": 0, "latencyMs": v} for v in values]
        Path(given["--exportTimes"]).write_text(json.dumps(rows))
    profile, layers = layer_files(version, samples)
    for option, content in (("--exportProfile", profile), ("--exportLayerInfo", layers)):
        if option in given:
            Path(given[option]).write_text(json.dumps(content))


def layer_files(version: str, samples: Path) -> tuple[list[Any], dict[str, Any]]:
    """Real ones of 8.x; where 11 has other keys, and without the samples, two layers by hand."""
    real = samples / "trex_A100_resnet-qat.profile.json"
    if version != "11" and real.is_file():
        layers = json.loads((samples / "trex_A100_resnet-qat.graph.json").read_text())
        return json.loads(real.read_text()), layers
    rows = [
        {"name": n, "timeMs": 2.0 * m, "averageMs": m, "medianMs": m, "percentage": 50}
        for n, m in (("conv", 0.3), ("pool", 0.1))
    ]
    kinds = {"conv": ("CaskConvolution", "Int8"), "pool": ("kgen", "Float")}
    tensor = {"Format": "Row major", "Datatype": ""} if version == "11" else {"Format/Datatype": ""}
    key = "Datatype" if version == "11" else "Format/Datatype"
    detailed = [
        {"Name": n, "LayerType": k, "Inputs": [{"Name": "t", **tensor, key: t}], "Outputs": []}
        for n, (k, t) in kinds.items()
    ]
    ends = "I/O Tensors" if version == "11" else "Bindings"
    return [{"count": 2}, *rows], {"Layers": detailed, ends: []}


def main() -> None:
    version, samples, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    number, options = VERSIONS[version]
    known = OPTION.findall(options)
    banner = f"TensorRT.trtexec [TensorRT {number}] # trtexec {' '.join(arguments)}"
    put(f"&&&& RUNNING {banner}")
    given = dict(word.partition("=")[::2] for word in arguments)
    unknown = [f"Unknown option: {k} {v}" for k, v in given.items() if k not in known]
    if "--version" in given or ("--onnx" not in given and "--loadEngine" not in given):
        end(banner, False, "Model missing or format not recognized")
    if unknown:
        end(banner, False, *unknown)
    for option in OPTION.findall(IGNORED) if version == "11" else ():
        if option in given:
            say(f"{option} has no effect since TensorRT 11", "W")
    say("Selected Device: NVIDIA Imagined")
    say("Compute Capability: 8.7")
    if "--loadEngine" in given:
        engine = json.loads(Path(given["--loadEngine"]).read_text())
        if engine["built_by"] != version:
            end(
                banner,
                False,
                "Error[1]: [runtime.cpp::parsePlan::455] Error Code 1: Serialization "
                "(Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed."
                "Trying to load an engine created with incompatible serialization version.)",
                "Engine deserialization failed",
            )
    else:
        engine = parse_model(banner, given, version)
        say("Engine built in 1.5 sec.")
        if "--timingCacheFile" in given:
            Path(given["--timingCacheFile"]).write_bytes(b"kernels")
        if "--saveEngine" in given:
            Path(given["--saveEngine"]).write_text(json.dumps(engine))
            with Path(given["--saveEngine"]).with_name("calls").open("a") as calls:
                calls.write(" ".join(arguments) + "\n")
    if "--skipInference" not in given and "--buildOnly" not in given:
        time_engine(given, engine, version, samples)
    end(banner, True)


if __name__ == "__main__":
    main()
