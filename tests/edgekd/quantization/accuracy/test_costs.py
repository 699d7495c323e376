"""What layers cost is measured once: a killed call ends in the bytes of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.quantization.makers import calibrate_for, make
from edgekd.quantization.quantized import QuantizedFacts

Build = Callable[..., Path]
LIMIT_S = 120.0
SPREAD = 6.0

UNLIKE = """(float[batch, 8, 8, 8] x) => (float[batch, 4, 8, 8] y) {
    c1 = Conv<pads = [1, 1, 1, 1]>(x, w1)
    r1 = Relu(c1)
    c2 = Conv<pads = [1, 1, 1, 1]>(r1, w2)
    r2 = Relu(c2)
    c3 = Conv<pads = [1, 1, 1, 1]>(r2, w3)
    r3 = Relu(c3)
    c4 = Conv<pads = [1, 1, 1, 1]>(r3, w4)
    r4 = Relu(c4)
    c5 = Conv<pads = [1, 1, 1, 1]>(r4, w5)
    r5 = Relu(c5)
    y = Conv<pads = [1, 1, 1, 1]>(r5, w6)
}"""


def write(source: Path, target: Path, work: Path) -> QuantizedFacts:
    """Leave layers of a file in float where that is needed."""
    x = np.random.default_rng(0).standard_normal((24, 8, 8, 8)).astype("f")
    calibrated = calibrate_for(["int8"], source, lambda: iter([{"x": x}]))
    return make("int8", calibrated, target, accuracy=("layers-in-float",), work=work)


@pytest.fixture
def unlike(build: Build) -> Path:
    """Channels of two tensors have ranges from 1/6 to 6: one of them in float is enough."""
    rng = np.random.default_rng(1)
    own = {f"w{i}": rng.standard_normal((8, 8, 3, 3)) for i in range(1, 6)}
    own["w6"] = rng.standard_normal((4, 8, 3, 3))
    sizes = np.geomspace(1 / SPREAD, SPREAD, 8)
    for one, other in (("w2", "w3"), ("w4", "w5")):
        own[one] *= sizes.reshape(-1, 1, 1, 1)
        own[other] /= sizes.reshape(1, -1, 1, 1)
    return build(UNLIKE, {name: value.astype("f") for name, value in own.items()})


def kill_when_measured(source: Path, target: Path, work: Path) -> None:
    """Write the file in a process that is killed as soon as it has stored what it measured."""
    command = [sys.executable, __file__, str(source), str(target), str(work)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    limit = time.monotonic() + LIMIT_S
    while not list(work.glob("[!.]*.json")):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.001)
    process.kill()
    process.wait(LIMIT_S)


def test_a_killed_call_ends_in_the_bytes_of_one_that_was_not(unlike: Path, tmp_path: Path) -> None:
    killed, whole, other = (tmp_path / name for name in ("killed", "whole", "other"))
    target = tmp_path / "q.onnx"
    kill_when_measured(unlike, target, killed)
    assert not target.exists()
    measured = (killed / "q.costs.json").read_bytes()
    whole.mkdir()
    (whole / "q.costs.json").write_bytes(measured)
    found = []
    for work in (killed, whole):
        facts = write(unlike, target, work)
        assert len(facts.left) == 1
        assert (work / "q.costs.json").read_bytes() == measured, "it was measured again"
        found.append(target.read_bytes())
    assert found[0] == found[1]
    # It would have been another file with other costs: the layer that was left is the dearest now.
    other.mkdir()
    (left,) = facts.left
    costs = dict.fromkeys(json.loads(measured), 0.01)
    (other / "q.costs.json").write_text(json.dumps(costs | {left: 0.99}))
    assert set(write(unlike, target, other).left) != {left}
    assert target.read_bytes() != found[0]


def test_costs_of_another_graph_are_measured_anew(unlike: Path, tmp_path: Path) -> None:
    stored = tmp_path / "q.costs.json"
    stored.write_text('{"another layer": 1.0}')
    facts = write(unlike, tmp_path / "q.onnx", tmp_path)
    measured = json.loads(stored.read_text())
    assert set(measured) == {row["layer"] for row in facts.sensitivity}
    assert sum(measured.values()) == pytest.approx(1)


if __name__ == "__main__":
    write(*(Path(text) for text in sys.argv[1:]))
