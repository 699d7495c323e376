"""The table of targets that `edgekd export` can write for."""

from __future__ import annotations

from edgekd.errors import RecipeError
from edgekd.exporters.fixed_shapes import FIXED
from edgekd.exporters.openvino_check import OPENVINO
from edgekd.exporters.ort_format import ORT
from edgekd.exporters.target import Target
from edgekd.exporters.tensorrt.target import TENSORRT
from edgekd.wording import flag

TARGETS: tuple[Target, ...] = (TENSORRT, ORT, FIXED, OPENVINO)
"""The first that takes a text is meant by it."""


def find_target(name: str) -> Target:
    """Return the target that a text names.

    Raises:
        RecipeError: no target has that name.
    """
    for known in TARGETS:
        if known.takes(name):
            return known
    listed = "; ".join(f"{known.name}: {known.about}" for known in TARGETS)
    raise RecipeError(f"{flag('for', name)} is unknown; known are {listed}")
