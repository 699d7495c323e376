"""The execution providers of ONNX Runtime, and the device names of the other runtimes."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.benchmarks.measurement import Setup
from edgekd.benchmarks.runtimes import known, missing, no_nvidia_driver
from edgekd.errors import RecipeError


@dataclass(frozen=True)
class Provider:
    """An execution provider: its name in ONNX Runtime, and which build of it has it."""

    name: str
    install: str
    nvidia: bool = False  # a build may have it on a machine without such a GPU


PROVIDERS = {
    "cpu": Provider("CPUExecutionProvider", "pip install onnxruntime"),
    "cuda": Provider("CUDAExecutionProvider", "pip install onnxruntime-gpu", nvidia=True),
    "tensorrt": Provider(
        "TensorrtExecutionProvider", "pip install onnxruntime-gpu tensorrt", nvidia=True
    ),
    "coreml": Provider("CoreMLExecutionProvider", "pip install onnxruntime, on a Mac"),
    "xnnpack": Provider(
        "XnnpackExecutionProvider", "a build with --use_xnnpack, such as the one for Android"
    ),
    "nnapi": Provider(
        "NnapiExecutionProvider", "the build for Android; deprecated there since Android 15"
    ),
    "qnn": Provider(
        "QNNExecutionProvider", "pip install onnxruntime-qnn, on a machine with a Qualcomm NPU"
    ),
}
"""Every execution provider that edgekd knows, by the short name that a user may give."""


def providers() -> dict[str, str]:
    """Return each provider of `PROVIDERS` with "" or "not available: why".

    "" means that the installed ONNX Runtime was built with it, and that there is a driver where one
    is needed. Whether it starts is known once a session was opened; the runner refuses a session
    that fell back to the CPU.
    """
    reason = missing("onnxruntime")
    if reason:
        return dict.fromkeys(PROVIDERS, reason)
    import onnxruntime

    built = onnxruntime.get_available_providers()
    return {short: _lack(provider, built) for short, provider in PROVIDERS.items()}


def _lack(provider: Provider, built: list[str]) -> str:
    if provider.name not in built:
        return (
            f"not available: the installed onnxruntime has no {provider.name} ({provider.install})"
        )
    driver = no_nvidia_driver() if provider.nvidia else ""
    return f"not available: {driver}" if driver else ""


def explain_lack(setup: Setup) -> str:
    """Return why nothing can be run here in a setup; "" if it can, or the provider is unknown."""
    shorts = [short for short, provider in PROVIDERS.items() if provider.name == setup.provider]
    reason = missing(setup.runtime)
    return reason or (providers()[shorts[0]] if setup.runtime == "onnxruntime" and shorts else "")


def provider_name(runtime: str, provider: str) -> str:
    """Return what the runtime itself calls a provider or device; "" stays "", the CPU.

    ONNX Runtime: "cuda" becomes "CUDAExecutionProvider", a full name stays (plug-ins bring names
    that edgekd does not know). OpenVINO: upper case, as in "GPU.0". PyTorch: lower case.

    Raises:
        RecipeError: ONNX Runtime has no provider with such a short name.
    """
    known(runtime)
    if runtime == "openvino":
        return provider.upper()
    if runtime != "onnxruntime":
        return provider.lower()
    if not provider or provider.endswith("ExecutionProvider"):
        return provider
    if provider.lower() not in PROVIDERS:
        raise RecipeError(
            f"the provider {provider!r} of onnxruntime is unknown; known: "
            f"{', '.join(PROVIDERS)}, or a full name such as CPUExecutionProvider"
        )
    return PROVIDERS[provider.lower()].name
