"""Do the peaks of the roofline agree with independent measurements?

    python -m edgekd.benchmarks.trials.peaks --json benchmarks/results/peaks.json

Measures the peaks of `edgekd.benchmarks.layers.peaks` and, in the same interleaved session, what
else this machine can be made to do: matrix products by numpy's OpenBLAS, torch, OpenVINO and
oneDNN, and the copy and the triad of STREAM in C, compiled on the spot. Each works in a process of
its own; the best call counts. Asked: FP32 and main memory within 10 % of the best independent one.
The difference in INT8 is stated: kernels for bytes differ more than those for floats do. So is that
of each loop over memory to its like in C: STREAM's own copy gets far less than the best, because
what its stores fetch before they write is not counted, and the C library's copy, which edgekd's
calls, avoids that for large arrays.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgekd.benchmarks import runtimes
from edgekd.benchmarks.children import arguments_of
from edgekd.benchmarks.layers import memory, workloads
from edgekd.benchmarks.layers.peaks import Kernel, fastest, kernels, of_rates, rates
from edgekd.benchmarks.measurement import Candidate, Setup
from edgekd.benchmarks.trials import peak_engines
from edgekd.benchmarks.trials.report import conclude
from edgekd.errors import MeasureError

ASKED = 0.10
ROUNDS = 12
SIDES = (512, 1024)  # of the matrices of the others
FLOATS = "seen to be computed in float: brgemm_avx2_f32, OpenVINO 2026.4.1 on AVX2"
C_LOOPS = (
    ("copy", "STREAM's copy", 2),
    ("triad", "STREAM's triad", 3),
    ("library", "memcpy", 2),
    ("streamed", "copy around the cache", 2),
    ("scale", "change in place", 2),
)
"""What, in words, and how often an array is read or written."""

ALIKE = {"copy": "copy", "triad": "add", "scale": "negate"}
"""A loop in C, and the one of edgekd that reads and writes as many arrays."""

ENVIRONMENT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Would make OpenBLAS compute for another processor than this one."""


@dataclass(frozen=True)
class Independent:
    """One way to work hard that has nothing to do with edgekd's peaks."""

    peak: str  # that it is held against: fp32, int8, memory
    name: str
    rate: float | None  # multiply-accumulates or bytes per second
    reason: str = ""  # why there is none
    note: str = ""
    version: str = ""


def measure(threads: int) -> dict[str, Any]:
    """Measure the peaks and the others with a number of threads; rates are per second."""
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        ours = kernels(Path(folder), threads)
        others, absent = _usable(_others(Path(folder), threads))
        both = [*ours.values(), *(kernel for _, kernel in others)]
        best_s, runtime = fastest([k.arguments for k in both], python=sys.executable, rounds=ROUNDS)
    count = len(ours)
    peaks = of_rates(threads, runtime, rates(ours, best_s[:count]))
    found = [
        replace(like, rate=kernel.amount / seconds)
        for (like, kernel), seconds in zip(others, best_s[count:], strict=True)
    ]
    here = {
        "fp32": peaks.fp32_macs_per_s,
        "memory": peaks.memory_bytes_per_s,
        "int8": peaks.int8_macs_per_s,
    }
    return {
        "threads": threads,
        "peaks": peaks.to_json(),
        "independent": [asdict(item) for item in (*found, *absent)],
        "compared": {peak: _against(peak, rate, found) for peak, rate in here.items()},
        "alike": _alike(peaks.memory[-1].kernels, found),
    }


def _alike(ours: Mapping[str, float], found: Sequence[Independent]) -> dict[str, Any]:
    """Hold each of edgekd's loops over main memory against the loop in C that does the same."""
    others = {item.name: item.rate for item in found if item.peak == "memory" and item.rate}
    pairs = {ALIKE[what]: f"C, {title}" for what, title, _ in C_LOOPS if what in ALIKE}
    return {
        kernel: {
            **{"edgekd": ours[kernel], "other": name, "rate": others[name]},
            "difference": ours[kernel] / others[name] - 1,
        }
        for kernel, name in pairs.items()
        if name in others
    }


def _against(peak: str, rate: float, found: Sequence[Independent]) -> dict[str, Any]:
    others = {item.name: item.rate for item in found if item.peak == peak and item.rate}
    if not others:
        return {"peak": rate, "best": None, "rate": None, "difference": None, "within": None}
    best = max(others, key=lambda name: others[name])
    difference = rate / others[best] - 1
    within = None if peak == "int8" else abs(difference) <= ASKED
    return {
        **{"peak": rate, "best": best, "rate": others[best]},
        **{"difference": difference, "within": within},
    }


def _others(folder: Path, threads: int) -> list[tuple[Independent, Kernel | str]]:
    """Return all others; a reason in the place of a kernel that cannot be had here."""
    found: list[tuple[Independent, Kernel | str]] = []
    for side in SIDES:
        macs = threads * side**3
        for peak, what, title, module in (
            ("fp32", "openblas", "numpy, OpenBLAS", "numpy"),
            ("fp32", "torch", "torch.mm", "torch"),
            ("int8", "onednn", "oneDNN matrix product, u8 x s8", "torch"),
        ):
            like = Independent(peak, f"{title}, {side}", None)
            if importlib.util.find_spec(module) is None:
                found.append((like, f"not available: the package {module} is not installed"))
            else:
                found.append((like, _kernel(folder, threads, macs, what=what, side=side)))
    return [*found, *_openvino(folder, threads), *_stream(folder, threads)]


def _kernel(folder: Path, threads: int, amount: int, **options: object) -> Kernel:
    words = [word for pair in options.items() for word in ("--option", "{}={}".format(*pair))]
    feeds = folder / f"{workloads.FP32[0]}.npz"  # not used
    engine = ("--threads", str(threads), "--engine", peak_engines.__file__)
    return Kernel(["none", str(feeds), *engine, *words], amount)


def _openvino(folder: Path, threads: int) -> list[tuple[Independent, Kernel | str]]:
    """Return the files of edgekd's own peaks, computed by OpenVINO."""
    found: list[tuple[Independent, Kernel | str]] = []
    for peak, operators in (("fp32", workloads.FP32), ("int8", workloads.INT8)):
        for operator in operators:
            note = FLOATS if operator == "MatMulInteger" else ""
            like = Independent(peak, f"OpenVINO, {operator}", None, note=note)
            work = workloads.write(folder, operator, threads=threads)
            setup = Setup(runtime="openvino", threads=threads)
            words = arguments_of(Candidate(work.file, work.feeds, setup))
            found.append((like, runtimes.missing("openvino") or Kernel(words, work.macs)))
    return found


def _stream(folder: Path, threads: int) -> list[tuple[Independent, Kernel | str]]:
    size = memory.main_memory_bytes()
    library, reason = folder / "stream.so", _compile(folder)
    given = {"bytes": size, "library": library}
    each = size // peak_engines.ARRAYS
    return [
        (
            Independent("memory", f"C, {title}", None),
            reason or _kernel(folder, threads, touched * each, what=what, **given),
        )
        for what, title, touched in C_LOOPS
    ]


def _compile(folder: Path) -> str:
    """Compile the C code; return why it cannot be, "" if it was."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "not available: no C compiler"
    source = folder / "stream.c"
    source.write_text(peak_engines.STREAM, encoding="utf8")
    flags = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
    command = [compiler, *flags, "-o", str(folder / "stream.so"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "not available: the C compiler refused OpenMP's code"


def _usable(
    others: Sequence[tuple[Independent, Kernel | str]],
) -> tuple[list[tuple[Independent, Kernel]], list[Independent]]:
    """Try each once: what cannot run here must not end the session of all."""
    usable, absent = [], []
    for like, kernel in others:
        reason = kernel if isinstance(kernel, str) else ""
        if not isinstance(kernel, str):
            try:
                _, version = fastest([kernel.arguments], python=sys.executable, rounds=1)
                usable.append((replace(like, version=version), kernel))
            except MeasureError as error:
                reason = f"not available: {str(error).splitlines()[0]}"
        if reason:
            absent.append(replace(like, reason=reason))
    return usable, absent


def _rows(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows = []
    for result in results:
        for peak, told in result["compared"].items():
            unit = "GB/s" if peak == "memory" else "GMAC/s"
            cells = ["not measured", "", "", ""]
            if told["best"] is not None:
                verdict = {True: "yes", False: "no", None: "stated"}[told["within"]]
                other = f"{told['rate'] / 1e9:.1f}"
                cells = [other, told["best"], f"{100 * told['difference']:+.1f} %", verdict]
            threads = str(result["threads"])
            rows.append([threads, peak, f"{told['peak'] / 1e9:.1f} {unit}", *cells])
        for kernel, told in result["alike"].items():
            cells = [
                f"{told['rate'] / 1e9:.1f}",
                told["other"],
                f"{100 * told['difference']:+.1f} %",
            ]
            ours = f"{told['edgekd'] / 1e9:.1f} GB/s"
            rows.append([str(result["threads"]), f"memory, {kernel}", ours, *cells, "stated"])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and where asked write; 1 if a peak is not within what was asked."""
    parser = argparse.ArgumentParser(description="the peaks against independent measurements")
    parser.add_argument("--threads", default="1", help="one or more numbers, as in 1,2")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args(arguments)
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    busy = {"load_average": round(os.getloadavg()[0], 2)}  # of the last minute, before the start
    results = [measure(int(threads)) for threads in given.threads.split(",")]
    columns = ["threads", "peak", "edgekd", "best other", "which", "difference", "within 10 %"]
    conclude(
        "peaks", columns, _rows(results), {"asked": ASKED, **busy, "results": results}, given.json
    )
    missed = [told for r in results for told in r["compared"].values() if told["within"] is False]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
