"""Curves as a TensorBoard event file, written without TensorBoard.

An event file is a row of records: length, its checksum, a protobuf, its checksum (TensorFlow,
core/lib/io/record_writer.h). An event has a time, a step and named numbers (core/util/event.proto).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekd.training.losses import Curves

_FIRST = "brain.Event:2"
_POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed


def _make_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _make_table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def make_record(data: bytes) -> bytes:
    """Return a record of an event file."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, _checksum(length), data, _checksum(data)])


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def make_event(wall_s: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return an event: seconds since 1970, a step, numbers by name."""
    summary = b"".join(
        _field(1, _field(1, name.encode()) + b"\x15" + struct.pack("<f", value))
        for name, value in values.items()
    )
    return b"\x09" + struct.pack("<d", wall_s) + b"\x10" + _varint(step) + _field(5, summary)


class EventFile:
    """The curves of one training; a resumed one replaces what was written before."""

    def __init__(self, folder: Path) -> None:
        """Write to `folder`, which becomes one run of TensorBoard."""
        self._folder = folder
        self._path: Path | None = None

    def write(self, curves: Curves) -> None:
        """Append the last epoch of the curves; the first call writes all epochs."""
        epochs = max(map(len, curves.values()))
        if self._path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for old in self._folder.glob("events.out.tfevents.*.edgekd"):
                old.unlink()
            self._path = self._folder / f"events.out.tfevents.{time.time():.6f}.edgekd"
            head = b"\x09" + struct.pack("<d", time.time()) + _field(3, _FIRST.encode())
            self._path.write_bytes(make_record(head))
            wanted: Sequence[int] = range(epochs)
        else:
            wanted = (epochs - 1,)
        with self._path.open("ab") as file:  # TensorBoard reads on while it grows
            for epoch in wanted:
                known = {name: curve[epoch] for name, curve in curves.items()}
                values = {name: value for name, value in known.items() if value is not None}
                file.write(make_record(make_event(time.time(), epoch + 1, values)))
