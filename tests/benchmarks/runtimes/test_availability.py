from __future__ import annotations

import pytest

from edgekd.benchmarks.runtimes import (
    RUNTIMES,
    Runtime,
    engine_of,
    known,
    missing,
    no_nvidia_driver,
    version,
)
from edgekd.benchmarks.runtimes.providers import PROVIDERS, provider_name, providers
from edgekd.errors import RecipeError


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> str:
    runtime = Runtime(
        package="edgekd-gone",
        module="edgekd_gone",
        engine="x.py",
        suffixes=(".gone",),
        install="pip install edgekd-gone",
    )
    monkeypatch.setitem(RUNTIMES, "gone", runtime)
    return "gone"


def test_every_runtime_has_its_file() -> None:
    assert engine_of("onnxruntime") is None
    for name in RUNTIMES:
        engine = engine_of(name)
        assert engine is None or engine.is_file()


def test_a_missing_runtime_says_what_to_install(gone: str) -> None:
    assert missing(gone) == (
        "not available: the package edgekd-gone is not installed (pip install edgekd-gone)"
    )
    assert version(gone) == "gone"


def test_what_else_a_runtime_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing("torch") == ""
    assert missing("torch-compiled") == (
        "not available: torch.compile needs a C++ compiler and no-such-compiler is not there; "
        "install g++"
    )


@pytest.mark.skipif(not no_nvidia_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_gpu_tensorrt_is_not_available() -> None:
    assert missing("tensorrt").startswith("not available: ")
    found = providers()
    assert found["cuda"].startswith("not available: ")
    assert "onnxruntime-gpu" in found["cuda"] or "driver" in found["cuda"]


def test_an_unknown_runtime_lists_the_known() -> None:
    with pytest.raises(RecipeError, match="'tflite' is unknown; known: onnxruntime, openvino"):
        known("tflite")


def test_versions_come_from_the_packages() -> None:
    import onnxruntime

    assert version("onnxruntime") == f"onnxruntime {onnxruntime.__version__}"
    assert version("torch-compiled").startswith("torch-compiled 2.")


def test_providers_are_those_of_the_installed_onnxruntime() -> None:
    import onnxruntime

    found = providers()
    assert list(found) == ["cpu", "cuda", "tensorrt", "coreml", "xnnpack", "nnapi", "qnn"]
    built = set(onnxruntime.get_available_providers())
    for short, reason in found.items():
        if PROVIDERS[short].name not in built:
            assert reason.startswith("not available: the installed onnxruntime has no ")
    assert found["cpu"] == ""


def test_short_names_are_resolved() -> None:
    assert provider_name("onnxruntime", "cpu") == "CPUExecutionProvider"
    assert provider_name("onnxruntime", "TensorRT") == "TensorrtExecutionProvider"
    assert provider_name("onnxruntime", "") == ""
    assert provider_name("onnxruntime", "NewExecutionProvider") == "NewExecutionProvider"
    assert provider_name("openvino", "gpu.0") == "GPU.0"
    assert provider_name("torch", "CUDA") == "cuda"
    with pytest.raises(RecipeError, match=r"'gpu' of onnxruntime is unknown; known: cpu, cuda"):
        provider_name("onnxruntime", "gpu")
