"""Matrix products and moved memory without ONNX Runtime, as an engine of the runner.

The model's place is taken by options: `what` (a key of `WHAT`), `side` of the matrices, and for
memory `bytes` of all arrays and `library`, which was compiled from `STREAM`.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

STREAM = """
#define _GNU_SOURCE
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
static double *restrict a, *restrict b, *restrict c;
static ptrdiff_t n;
static double *room(size_t bytes) {
    double *p = aligned_alloc(2 << 20, (bytes + (2 << 20)) >> 21 << 21);
    if (p) madvise(p, bytes, MADV_HUGEPAGE); /* as numpy asks for its arrays */
    return p;
}
int start(ptrdiff_t count, int threads) {
    n = count;
    omp_set_num_threads(threads);
    a = room(n * sizeof *a); b = room(n * sizeof *a); c = room(n * sizeof *a);
    if (!a || !b || !c) return 1;
    #pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) { a[i] = 1; b[i] = 2; c[i] = 0; }
    return 0;
}
double at(int which, ptrdiff_t i) { return (which == 0 ? a : which == 1 ? b : c)[i]; }
void copy(void) {
    #pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) c[i] = a[i];
}
void streamed(void) { /* a copy that writes around the cache, where the processor has that */
    #pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n / 2; i++)
#ifdef __SSE2__
        _mm_stream_pd(c + 2 * i, _mm_load_pd(a + 2 * i));
#else
        { c[2 * i] = a[2 * i]; c[2 * i + 1] = a[2 * i + 1]; }
#endif
}
void library(void) { /* the C library's copy, a part for each thread */
    #pragma omp parallel
    {
        ptrdiff_t part = n / omp_get_num_threads(), from = part * omp_get_thread_num();
        memcpy(c + from, a + from, part * sizeof *a);
    }
}
void scale(void) { /* in place */
    #pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) b[i] = -b[i];
}
void triad(void) {
    #pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) a[i] = b[i] + 3.0 * c[i];
}
"""
"""Copy and triad of STREAM (J. McCalpin), 16 and 24 bytes for each element, and what moves as many
bytes as copy but lets no store fetch what it overwrites: copies that write around the cache, and a
change in place."""


ARRAYS = 3


class Engine:
    """One call: one product, or one pass over memory."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Make the operands."""
        options = dict(pair.split("=", 1) for pair in arguments.option)
        self.version, self.call = WHAT[options["what"]](options, arguments.threads)

    def calls(self) -> list[Any]:
        """Return the one call."""
        return [self.call]


def openblas(options: Any, threads: int) -> Any:
    """Return numpy's float32 product, by the OpenBLAS that numpy brings."""
    maps = Path("/proc/self/maps").read_text(encoding="utf8").splitlines()
    files = {line.split(maxsplit=5)[5] for line in maps if "openblas" in line}
    if len(files) != 1:
        raise ValueError("this numpy has no OpenBLAS of its own")
    library = ctypes.CDLL(files.pop())
    names = [f"{start}openblas_%s{end}" for start in ("scipy_", "") for end in ("64_", "")]
    ending = next(name for name in names if hasattr(library, name % "get_corename"))
    getattr(library, ending % "set_num_threads")(threads)
    core = getattr(library, ending % "get_corename")
    core.restype = ctypes.c_char_p
    left, right, out = (floats(threads * int(options["side"]), int(options["side"])) for _ in "abc")
    right = right[: right.shape[1]]
    version = f"numpy {np.__version__} with OpenBLAS for {core().decode()}"
    return version, lambda: np.matmul(left, right, out=out)


def torch_mm(options: Any, threads: int) -> Any:
    """Return torch's float32 product."""
    import torch

    torch.set_num_threads(threads)
    side = int(options["side"])
    left, right = (
        torch.from_numpy(floats(threads * side, side)),
        torch.from_numpy(floats(side, side)),
    )
    out = torch.empty(threads * side, side)
    return f"torch {torch.__version__}", lambda: torch.mm(left, right, out=out)


def onednn_int8(options: Any, threads: int) -> Any:
    """Return oneDNN's product of unsigned and signed bytes, as torch's quantized layers call it."""
    import torch

    torch.set_num_threads(threads)
    side = int(options["side"])
    left = torch.randint(0, 256, (threads * side, side), dtype=torch.uint8)
    weight = torch.randint(-128, 128, (side, side), dtype=torch.int8)
    operators = torch.ops.onednn
    packed = operators.qlinear_prepack(weight.t().contiguous().t(), None)
    scales, zeros = torch.full((side,), 0.01), torch.zeros(side, dtype=torch.int64)
    given: Any = (
        left,
        0.01,
        128,
        packed,
        scales,
        zeros,
        None,
        1.0,
        128,
        torch.uint8,
        "none",
        [],
        "",
    )
    return f"oneDNN in torch {torch.__version__}", lambda: operators.qlinear_pointwise(*given)


def stream(options: Any, threads: int) -> Any:
    """Return a pass of the C code."""
    library = ctypes.CDLL(options["library"])
    library.start.argtypes = [ctypes.c_ssize_t, ctypes.c_int]
    if library.start(int(options["bytes"]) // 8 // ARRAYS, threads):
        raise ValueError("there is not enough memory")
    return "C", getattr(library, options["what"])


def floats(rows: int, columns: int) -> Any:
    """Return normal values."""
    return np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)


WHAT: Any = {
    "openblas": openblas,
    "torch": torch_mm,
    "onednn": onednn_int8,
    "copy": stream,
    "streamed": stream,
    "library": stream,
    "scale": stream,
    "triad": stream,
}
