"""What of this machine changes the result of a training; it is part of the stage's key."""

from __future__ import annotations

import torch

from edgekd.devices.local import processor_name
from edgekd.training.loop import choose_device
from edgekd.training.precision import autocast_dtype


def describe_environment(precision: str) -> dict[str, str]:
    """Return the device, the version of torch, the number type and, on a CPU, the threads.

    Sums depend on the order in which they are taken, and so on all of these. `precision` is that
    of a `Training`; "auto" differs between processors.
    """
    device = choose_device()
    found = {
        "device": _name(device),
        "torch": torch.__version__,
        "number type": str(autocast_dtype(precision, device) or torch.float32),
    }
    if device.type == "cpu":
        found["threads"] = str(torch.get_num_threads())
    return found


def _name(device: torch.device) -> str:
    if device.type == "cpu":
        return processor_name()
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return device.type if named is None else f"{device.type} {named()}"
