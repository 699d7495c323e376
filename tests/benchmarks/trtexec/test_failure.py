"""A run that failed is explained in one paragraph with what to do."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgekd.benchmarks.trtexec.failure import explain_failure

SAMPLES = Path(__file__).parents[3] / "../shared/samples/trtexec"

START = "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec\n"
ERROR = "[11/28/2026-12:00:00] [E] "
UNKNOWN = (
    START + ERROR + "Unknown option: --workspace 2048\n" + ERROR + "Unknown option: --batch \n"
)
PARSER = (
    START
    + ERROR
    + "[TRT] ModelImporter.cpp:951: --- End node ---\n"
    + ERROR
    + "[TRT] ModelImporter.cpp:954: ERROR: ModelImporter.cpp:195 In function parseNode:\n"
    + "[6] Invalid Node - /Tile\n"
    + ERROR
    + "Failed to parse onnx file\n"
    + ERROR
    + "Engine set up failed\n&&&& FAILED TensorRT.trtexec [TensorRT v100300] # trtexec\n"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            UNKNOWN,
            "TensorRT 10.3.0 does not know --workspace, --batch; the command is for 8.5; "
            "give --for tensorrt-10.3",
        ),
        (
            PARSER,
            "TensorRT 10.3.0 cannot read the ONNX file: [6] Invalid Node - /Tile; `edgekd lint` "
            "names what a version does not read",
        ),
        (
            ERROR + "Error Code 1: Serialization (plan->header.magicTag == rt::kPLAN_MAGIC_TAG)",
            "trtexec cannot load this engine: it was built by another version of TensorRT, or for "
            "another GPU; build it again on this device",
        ),
        (
            START + ERROR + "Cuda failure: no CUDA-capable device is detected",
            "TensorRT 10.3.0 finds no GPU that it can use; check nvidia-smi, and on a Jetson that "
            "a container was started with --runtime nvidia",
        ),
        (
            START + ERROR + "[TRT] 2: [virtualMemoryBuffer.cpp] OutOfMemory (no further info)",
            "TensorRT 10.3.0 has too little memory; close other programs, or give a smaller batch",
        ),
        (START + ERROR + "[TRT] something new", "TensorRT 10.3.0 failed: something new"),
        (ERROR + "Engine set up failed", "trtexec failed: it gave no reason"),
        ("Segmentation fault", "trtexec failed: it gave no reason"),
        ("", "trtexec failed: it gave no reason"),
    ],
)
def test_by_hand(text: str, message: str) -> None:
    assert explain_failure(text, target="8.5") == message


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of trtexec are not here")
def test_real_failures() -> None:
    parts = (SAMPLES / "failed_runs.log").read_text("utf8").split("# --- ")[1:]
    unknown, parser, probe, foreign = map(explain_failure, parts)
    assert "does not know --workspace, --buildOnly, --explicitBatch; give" in unknown
    assert "cannot read the ONNX file: [6] Invalid Node - /Tile; ITensor::getDimensions" in parser
    assert probe == "TensorRT 10.13.3 failed: Model missing or format not recognized"
    assert foreign.startswith("TensorRT 10.0.1 cannot load this engine")


def test_any_text_gives_one_line() -> None:
    generator = random.Random(0)
    for _ in range(500):
        cuts = sorted(generator.randrange(len(PARSER)) for _ in range(2))
        text = PARSER[: cuts[0]] + generator.choice(["\n", "\0", "[E]", "%s"]) + PARSER[cuts[1] :]
        told = explain_failure(text)
        assert told
        assert "\n" not in told
        assert len(told) < 900
