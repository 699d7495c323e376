"""Build and time through a stand-in for trtexec of three versions: right flags and wrong ones."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.benchmarks.trtexec.commands import Precision
from edgekd.benchmarks.trtexec.shapes import Shapes
from edgekd.benchmarks.trtexec.versions import version_of
from edgekd.devices.engines import build_with_package, keep_engine
from edgekd.devices.trtexec import (
    Trtexec,
    TrtexecBuilder,
    find_trtexec,
    probe_trtexec,
    read_timed,
)
from edgekd.errors import MeasureError

Make = Callable[[str], Path]
SHAPES = {"x": Shapes(least=(1, 4), usual=(2, 4), most=(8, 4))}
THREE = ("8.5", "10.3", "11")


def write_model(path: Path, *, domain: str = "", times: int = 1) -> Path:
    names = ["x", *(f"h{i}" for i in range(times - 1)), "y"]
    nodes = [
        helper.make_node("Relu", [a], [b], domain=domain) for a, b in itertools.pairwise(names)
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("x", "y")]
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))


def builder(
    trtexec: Trtexec, file: Path, precision: Precision = "fp32", **shapes: Shapes
) -> TrtexecBuilder:
    return TrtexecBuilder(
        trtexec=trtexec, file=file, precision=precision, shapes=shapes or dict(SHAPES)
    )


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "cache/engines/calls").read_text().splitlines()


@pytest.mark.parametrize("version", THREE)
def test_an_engine_is_built_and_timed(version: str, fake_trtexec: Make, tmp_path: Path) -> None:
    trtexec = probe_trtexec(str(fake_trtexec(version)), hardware="here")
    assert trtexec.version == version_of(version)
    wanted = builder(trtexec, write_model(tmp_path / "m.onnx"))
    plan = keep_engine(wanted)
    assert plan.suffix == ".plan"
    timed = trtexec.time(wanted.engine(plan))
    assert timed.output.passed
    assert len(timed.times.compute_s) == timed.output.queries
    assert timed.profile is not None
    assert (timed.profile.share("int8") or 0) > 0.5
    caches = list(plan.parent.glob("*.timing"))
    assert [cache.read_bytes() for cache in caches] == [b"kernels"]


@pytest.mark.parametrize("version", THREE)
@pytest.mark.parametrize("other", THREE)
def test_flags_of_another_version_are_refused(
    version: str, other: str, fake_trtexec: Make, tmp_path: Path
) -> None:
    """What 8.5 is told stops 10.3, and so on; the message names what to give."""
    real = probe_trtexec(str(fake_trtexec(version)), hardware="here")
    wrong = Trtexec(program=real.program, installed="", version=version_of(other), hardware="here")
    wanted = builder(wrong, write_model(tmp_path / "m.onnx"), "int8")
    if version == other:
        keep_engine(wanted)
        return
    unknown = {"8.5": "--buildOnly", "11": "--skipInference"}.get(other, "--skipInference")
    if (other, version) == ("11", "10.3"):  # it takes fewer options, all of which 10.3 knows
        keep_engine(wanted)
        return
    if (other, version) == ("10.3", "11"):
        unknown = "--int8"
    with pytest.raises(MeasureError, match=f"does not know .*{unknown}.*--for tensorrt-{version}"):
        keep_engine(wanted)
    assert not list((tmp_path / "cache/engines").glob("*.plan"))
    assert not list((tmp_path / "cache/engines").glob("*.partial"))


def test_an_engine_is_kept_by_all_that_it_depends_on(fake_trtexec: Make, tmp_path: Path) -> None:
    old, new = (probe_trtexec(str(fake_trtexec(v)), hardware="here") for v in ("8.5", "10.3"))
    moved = probe_trtexec(new.program, hardware="another GPU")
    first = write_model(tmp_path / "m.onnx")
    same = write_model(tmp_path / "same.onnx")
    longer = write_model(tmp_path / "longer.onnx", times=2)
    wider = Shapes(least=(1, 4), usual=(2, 4), most=(16, 4))
    wanted = [
        builder(new, first),
        builder(new, first, x=wider),
        builder(new, first, "fp16-chosen"),
        builder(new, longer),
        builder(old, first),
        builder(moved, first),
    ]
    plans = [keep_engine(one) for one in wanted]
    assert len(set(plans)) == len(wanted) == len(calls(tmp_path))
    assert [keep_engine(one) for one in wanted] == plans
    assert keep_engine(builder(new, same)) == plans[0]
    assert len(calls(tmp_path)) == len(wanted)


def test_an_engine_of_another_version_is_not_timed(fake_trtexec: Make, tmp_path: Path) -> None:
    new, old = (probe_trtexec(str(fake_trtexec(v)), hardware="") for v in ("10.3", "8.5"))
    wanted = builder(new, write_model(tmp_path / "m.onnx"))
    with pytest.raises(MeasureError, match="built by another version of TensorRT"):
        old.time(wanted.engine(keep_engine(wanted)))


def test_what_it_cannot_read_is_told(fake_trtexec: Make, tmp_path: Path) -> None:
    trtexec = probe_trtexec(str(fake_trtexec("10.3")), hardware="")
    odd = write_model(tmp_path / "odd.onnx", domain="my.dom")
    with pytest.raises(MeasureError, match=r"cannot read the ONNX file: .*No importer"):
        keep_engine(builder(trtexec, odd))
    with pytest.raises(MeasureError, match="Dynamic dimensions required for input: x"):
        keep_engine(builder(trtexec, write_model(tmp_path / "m.onnx"), other=SHAPES["x"]))


def test_programs_that_are_not_trtexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeasureError, match="cannot be started"):
        probe_trtexec(str(tmp_path / "none"), hardware="")
    with pytest.raises(MeasureError, match="did not say which TensorRT"):
        probe_trtexec("/bin/echo", hardware="")
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_trtexec() in ("", "/usr/src/tensorrt/bin/trtexec")


def test_results_of_two_runs_are_refused(fake_trtexec: Make, tmp_path: Path) -> None:
    trtexec = probe_trtexec(str(fake_trtexec("11")), hardware="")
    wanted = builder(trtexec, write_model(tmp_path / "m.onnx"))
    output = trtexec.time(wanted.engine(keep_engine(wanted))).output
    rows = [{"h2dMs": 0, "computeMs": 9, "d2hMs": 0, "latencyMs": 9}] * (output.queries or 0)
    (tmp_path / "times.json").write_text(json.dumps(rows))
    with pytest.raises(MeasureError, match="the summary of trtexec contradicts its times"):
        read_timed(output, folder=tmp_path)
    (tmp_path / "times.json").write_text("[")
    with pytest.raises(MeasureError, match="is not JSON"):
        read_timed(output, folder=tmp_path)


def test_without_a_gpu_the_package_builds_nothing(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"no engine can be built of m\.onnx"):
        build_with_package(write_model(tmp_path / "m.onnx"), SHAPES, fingerprint="")
