from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.data.dataset import Dataset
from edgekd.progress import Silent

Painter = Callable[..., Path]
Maker = Callable[..., Dataset]


class Listener(Silent):
    """Keeps what is said to it."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def listener() -> Listener:
    """A progress that keeps the lines it is given."""
    return Listener()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEKD_CACHE", str(folder))
    return folder


@pytest.fixture
def images() -> Maker:
    """Make a Dataset of random images with the given number of samples of each class."""

    def make(*counts: int, height: int = 6, width: int = 6, channels: int = 3) -> Dataset:
        label = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        random = np.random.default_rng(5)
        label = random.permutation(label)
        shape = (len(label), height, width, channels)
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        names = tuple(f"c{i}" for i in range(len(counts)))
        return Dataset("image", {"image": pixels}, {"label": label}, names)

    return make


@pytest.fixture
def paint(tmp_path: Path) -> Painter:
    """Write an image of one colour below `tmp_path / "photos"`; return that folder."""

    def make(
        name: str,
        colour: int | tuple[int, int, int] = (9, 9, 9),
        *,
        width: int = 8,
        height: int = 8,
    ) -> Path:
        folder = tmp_path / "photos"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "L" if isinstance(colour, int) else "RGB"
        Image.new(mode, (width, height), colour).save(path)
        return folder

    return make
