"""How to copy memory in a child process, and how much of it exceeds every cache."""

from __future__ import annotations

import os
from pathlib import Path

from edgekd.benchmarks.layers.copying import KERNELS

COPYING = Path(__file__).with_name("copying.py")
CACHED_BYTES = (256 << 10, 2 << 20, 16 << 20)
CALL_BYTES = 64 << 20  # at least, moved by a call: some milliseconds
LEAST_BYTES, MOST_BYTES = 128 << 20, 1 << 30  # of the arrays in main memory


def moving(feeds: Path, kernel: str, size_bytes: int, *, threads: int) -> list[str]:
    """Return the runner's arguments that move `size_bytes` of memory again and again.

    Args:
        feeds: any .npz, whose content is not used.
        kernel: a key of `copying.KERNELS`.
        size_bytes: of all arrays together.
        threads: each has a part of the arrays.
    """
    options = {"kernel": kernel, "bytes": size_bytes, "repeats": _repeats(size_bytes)}
    return [
        *("memory", str(feeds), "--threads", str(threads), "--engine", str(COPYING)),
        *(word for key, value in options.items() for word in ("--option", f"{key}={value}")),
    ]


def moved(kernel: str, size_bytes: int) -> int:
    """Return the bytes that one such call reads and writes together."""
    arrays, touched, _ = KERNELS[kernel]
    return int(size_bytes / arrays * touched) * _repeats(size_bytes)


def _repeats(size_bytes: int) -> int:
    return max(1, CALL_BYTES // size_bytes)


def main_memory_bytes() -> int:
    """Return how much memory must be touched so that no cache contains it all.

    STREAM asks for arrays of four times the last cache each, three in all; a sixteenth of the
    machine's memory is the most that is taken.
    """
    sizes = [_cache_bytes(i) for i in range(8)]
    wanted = min(max(12 * max(sizes), LEAST_BYTES), MOST_BYTES)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        wanted = min(wanted, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 16)
    return max(wanted, 2 * CACHED_BYTES[-1])


def _cache_bytes(index: int) -> int:
    file = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}/size")
    try:
        return int(file.read_text().strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 0
