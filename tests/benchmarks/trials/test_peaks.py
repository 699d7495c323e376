from __future__ import annotations

import ctypes
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.layers.peaks import Kernel, fastest
from edgekd.benchmarks.trials import peak_engines
from edgekd.benchmarks.trials.peaks import C_LOOPS, Independent, _against, _compile, _usable


def test_the_best_of_the_others_counts() -> None:
    others = [
        Independent("fp32", "slow", 40e9),
        Independent("fp32", "fast", 50e9),
        Independent("fp32", "absent", None, reason="not available"),
        Independent("int8", "other", 100e9),
    ]
    told = _against("fp32", 46e9, others)
    assert (told["best"], told["within"]) == ("fast", True)
    assert told["difference"] == pytest.approx(-0.08)
    assert _against("fp32", 44e9, others)["within"] is False
    assert _against("fp32", 56e9, others)["within"] is False
    assert _against("int8", 44e9, others)["within"] is None  # stated, not asked
    assert _against("memory", 44e9, others)["best"] is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_c_loops_do_what_they_are_called(tmp_path: Path) -> None:
    """By hand on 20 numbers and two threads, from a = 1, b = 2, c = 0."""
    assert _compile(tmp_path) == ""
    library = ctypes.CDLL(str(tmp_path / "stream.so"))
    assert library.start(ctypes.c_ssize_t(20), 2) == 0
    library.at.restype = ctypes.c_double
    library.at.argtypes = [ctypes.c_int, ctypes.c_ssize_t]
    after = {
        "copy": (1, 2, 1),
        "triad": (5, 2, 1),
        "library": (5, 2, 5),
        "scale": (5, -2, 5),
        "streamed": (5, -2, 5),
    }
    for what, expected in after.items():
        getattr(library, what)()
        for i in range(20):
            assert tuple(library.at(which, i) for which in range(3)) == expected, what
    assert {what for what, _, _ in C_LOOPS} <= set(peak_engines.WHAT)


def test_openblas_multiplies() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))  # loads it
    version, call = peak_engines.openblas({"side": "8"}, 2)
    assert "OpenBLAS for " in version
    left, right = peak_engines.floats(16, 8), peak_engines.floats(16, 8)[:8]
    np.testing.assert_allclose(call(), left @ right, rtol=1e-5)


@pytest.mark.timing
def test_what_cannot_run_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 1)))
    engine = ["none", str(tmp_path / "x.npz"), "--engine", peak_engines.__file__]

    def kernel(what: str) -> Kernel:
        return Kernel([*engine, "--option", f"what={what}", "--option", "side=64"], 64**3)

    like = Independent("fp32", "some", None)
    usable, absent = _usable([(like, kernel("openblas")), (like, kernel("none")), (like, "gone")])
    assert [k.amount for _, k in usable] == [64**3]
    assert ["KeyError" in absent[0].reason, absent[1].reason] == [True, "gone"]
    (best_s,), runtime = fastest([usable[0][1].arguments], python=sys.executable)
    assert best_s > 0
    assert runtime.startswith("numpy")
