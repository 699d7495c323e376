"""Pictures of our own, drawn where the data's licence lets no photograph ship.

They have what shows a wrong preprocessing: sizes and aspects that are not the network's, unlike
channels and directions, edges and fine stripes (another way to resize gives other pixels).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIZES = ((1.5, 2.25), (2.0, 1.25), (1.125, 3.0), (1.0, 1.0), (2.5, 1.875), (0.75, 1.0))
"""Height and width, as multiples of the network's: wide, tall, panorama, equal, smaller."""
_LARGEST = 640  # pixels of a side: a bundle stays small


def draw(height: int, width: int, channels: int, *, seed: int, number: int) -> NDArray[np.uint8]:
    """Return drawing `number` for a network of this size, uint8 [h, w, channels]."""
    generator = np.random.default_rng([seed, number])
    tall, wide = _SIZES[number % len(_SIZES)]
    height, width = (
        min(max(_LARGEST, side), round(side * more) + (more > 1))
        for side, more in ((height, tall), (width, wide))
    )
    height, width = max(1, height), max(1, width)
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    planes = []
    for _ in range(channels):
        fx, fy, phase = generator.uniform(0.3, 2.0, 3) * (1, 1, np.pi)
        light, slope = generator.uniform(60, 190), generator.uniform(-40, 40)
        planes.append(light + slope * (x - y) + 50 * np.cos(2 * np.pi * (fx * x + fy * y) + phase))
    picture = np.stack(planes, axis=-1)
    for _ in range(4):
        row, column, radius = generator.uniform(0, 1, 3) * (1, 1, 0.3)
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        picture[inside] = generator.uniform(0, 255, channels)
    stripes = (np.arange(width) // 2 % 2)[None, :] * np.ones((height, 1))
    band = (y > 0.6) & (y < 0.75)
    picture[band] += (60 * stripes[band] - 30)[:, None]
    pixels: NDArray[np.uint8] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return pixels
