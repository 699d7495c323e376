"""A part of a bundle's loader, after `data/pictures.py`: from a picture to the model's input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgekd.bundle.app_files import ABOUT
from edgekd.data.pictures import Form, decode, fit, resize, to_channels

Image.MAX_IMAGE_PIXELS = 1 << 28  # Pillow stops below the 200 megapixels of some phones


def read_inputs(file: Path | str) -> dict[str, Any]:
    """Return the model's input for one picture file: a tensor with a batch of 1."""
    form = Form(**ABOUT["picture"])
    pixels = fit(decode(file, form), form)  # the pixels of the data, uint8
    pixels = to_channels(pixels, ABOUT["channels"])
    pixels = resize(pixels, ABOUT["height"], ABOUT["width"], form)
    if ABOUT["colours"] == "bgr":
        pixels = pixels[:, :, ::-1]
    tensor: Any = pixels
    if not ABOUT["in_graph"]:  # else the network normalises
        mean, std = np.array(ABOUT["mean"], np.float32), np.array(ABOUT["std"], np.float32)
        tensor = (pixels - mean) / std
    if ABOUT["layout"] == "nchw":
        tensor = tensor.transpose(2, 0, 1)
    return {ABOUT["name"]: np.ascontiguousarray(tensor)[None]}


def read_golden(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the model's input for a golden sample."""
    return read_inputs(files["image"])
