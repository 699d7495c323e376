"""Where it is measured."""

from __future__ import annotations

from edgekd.devices.device import Device
from edgekd.devices.local import LocalDevice
from edgekd.errors import RecipeError

DEVICES = {"local": LocalDevice}
"""Every device by name."""


def open_device(name: str) -> Device:
    """Return the device of that name.

    Raises:
        RecipeError: there is none; the message lists those known.
    """
    if name not in DEVICES:
        raise RecipeError(
            f"the device {name!r} is unknown; known are: {', '.join(sorted(DEVICES))}"
        )
    return DEVICES[name]()
