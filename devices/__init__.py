"""The devices that models are measured on."""

from __future__ import annotations

from edgekd.devices.device import Device, Place
from edgekd.devices.local import LocalDevice
from edgekd.devices.options import DeviceOptions
from edgekd.errors import RecipeError

DEVICES = {"local": LocalDevice}
"""Every device by name."""


def open_device(name: str) -> Device:
    """Return the device of that name.

    Raises:
        RecipeError: there is none; the message lists those known.
    """
    if name not in DEVICES:
        raise RecipeError(f"the device {name!r} is unknown; known: {', '.join(sorted(DEVICES))}")
    return DEVICES[name]()


def open_place(options: DeviceOptions) -> Place:
    """Return the device of a recipe, and the setup in which files are run there.

    Raises:
        RecipeError: it is unknown, or cannot run files in this way; the message contains a
            correction.
    """
    device, setup = open_device(options.name), options.setup()
    reason = device.lacks(setup)
    if reason:
        raise RecipeError(
            f"the device {options.name!r} cannot run files with {setup.runtime}: {reason}"
        )
    return Place(device, setup)
