"""The number type of a training: float32, or bfloat16 if the processor supports it and it pays."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_GROUPS = 6  # the place of `groups` in torch.conv2d's arguments, as nn.Conv2d calls it


@functools.cache
def _bf16_pays(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = Path("/proc/cpuinfo")  # elsewhere than on Linux float32 is the safe answer
    return device_type == "cpu" and flags.exists() and "avx512_bf16" in flags.read_text()


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type to compute in, or None for plain float32."""
    wanted = precision == "bf16" or (precision == "auto" and _bf16_pays(device.type))
    return torch.bfloat16 if wanted else None


@contextlib.contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Compute what runs inside in the precision of a training."""
    dtype = autocast_dtype(precision, device)
    if dtype is None:
        yield
        return
    depthwise = _DepthwiseInFloat(dtype) if device.type == "cpu" else contextlib.nullcontext()
    with torch.autocast(device.type, dtype=dtype), depthwise:
        yield


class _DepthwiseInFloat(TorchFunctionMode):
    """Depthwise convolutions in float32, all else as autocast has it.

    oneDNN's gradient of a depthwise convolution takes many times longer in bfloat16 than in
    float32; networks full of them trained slower for it than in float32 altogether
    (`python -m edgekd.benchmarks.trials.training`).
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func is not torch.conv2d or not _is_depthwise(args):
            return func(*args, **options)
        with torch.autocast("cpu", enabled=False):
            found: Tensor = func(args[0].float(), *args[1:], **options)
        return found.to(self.dtype)


def _is_depthwise(args: tuple[Any, ...]) -> bool:
    """Whether every channel has a filter of its own: weights [out, 1, height, width]."""
    return len(args) > _GROUPS and args[_GROUPS] > 1 and args[1].shape[1] == 1
