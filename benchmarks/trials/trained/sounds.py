"""Notes of instruments as windows of sound, with their pitch: the Debian package freepats."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path("/usr/share/midi/freepats")
RATE_HZ = 8000
LENGTH = 1024
_HEADER, _INSTRUMENT, _LAYER, _SAMPLE = 129, 63, 47, 96
_SHIFTS = range(-5, 7)
_TEST_OF = 5  # every fifth instrument is for the test


def notes(path: Path) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Give the notes of a Gravis patch: frequency in Hz, samples at `RATE_HZ`, -1..1.

    Format: Gravis UltraSound PATCH110, one instrument, one layer.
    """
    data = path.read_bytes()
    start = _HEADER + _INSTRUMENT + _LAYER
    count = data[_HEADER + _INSTRUMENT + 6]
    for _ in range(count):
        size, _, _, rate, _, _, root = struct.unpack_from("<IIIHIII", data, start + 8)
        mode = data[start + 55]
        kind = ("<u2" if mode & 2 else "<i2") if mode & 1 else ("<u1" if mode & 2 else "<i1")
        start += _SAMPLE
        raw = np.frombuffer(data, kind, size // np.dtype(kind).itemsize, start).astype(np.float32)
        start += size
        half = 128.0 if kind.endswith("1") else 32768.0
        raw = (raw - half * bool(mode & 2)) / half
        where = np.arange(0, len(raw), rate / RATE_HZ)
        yield root / 1000, np.interp(where, np.arange(len(raw)), raw).astype(np.float32)


def pitches() -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Return windows [n, 1, LENGTH] and their pitch classes 0..11, C is 0; {"train", "test"}.

    Every note is played at twelve speeds, so that all classes occur with all instruments.
    """
    found: dict[str, list[tuple[NDArray[np.float32], int]]] = {"train": [], "test": []}
    for i, path in enumerate(sorted(FOLDER.glob("Tone_000/*.pat"))):
        part = found["test" if i % _TEST_OF == 0 else "train"]
        for frequency, sound in notes(path):
            for shift in _SHIFTS:
                speed = 2 ** (shift / 12)
                if frequency * speed > RATE_HZ / 4:
                    continue
                for begin in (400, 1600):
                    where = begin + np.arange(LENGTH) * speed
                    if where[-1] < len(sound):
                        window = np.interp(where, np.arange(len(sound)), sound)
                        peak = np.abs(window).max()
                        if peak > 0.01:
                            number = round(12 * np.log2(frequency * speed / 440)) + 9
                            part.append(((window / peak).astype(np.float32)[None], number % 12))
    return {
        name: (np.stack([w for w, _ in part]), np.array([n for _, n in part], np.int64))
        for name, part in found.items()
    }
