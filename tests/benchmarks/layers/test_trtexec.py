"""Real files of trtexec are read; damaged ones are refused, and no number is made up."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgekd.benchmarks.layers.nodes import Profile
from edgekd.benchmarks.layers.trtexec import read_profile, read_times
from edgekd.benchmarks.operators import KINDS
from edgekd.errors import BadInput

SAMPLES = Path(__file__).parents[3] / "../shared/samples/trtexec"
REAL = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of trtexec are not here")


def row(name: str, ms: float, *, median: float | None = None, count: int = 10) -> dict[str, Any]:
    given = {"name": name, "timeMs": ms * count, "averageMs": ms, "percentage": 1.0}
    return given if median is None else {**given, "medianMs": median}


PROFILE = [
    {"count": 10},
    row("Reformatting CopyNode for Input Tensor 0 to conv", 0.1, median=0.1),
    row("QuantizeLinear_2", 0.2, median=0.2),
    row("conv", 0.5, median=0.6),
    row("pool", 0.1, median=0.1),
]


def tensor(datatype: str, key: str = "Format/Datatype") -> dict[str, Any]:
    return {"Name": "t", "Location": "Device", "Dimensions": [1, 8, 4, 4], key: datatype}


def layer(name: str, operator: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Name": name, "LayerType": operator, "Inputs": [given], "Outputs": [given], **more}


LAYERS = {
    "Layers": [
        layer(PROFILE[1]["name"], "Reformat", tensor("Row major linear FP32"), Origin="REFORMAT"),
        layer("QuantizeLinear_2", "Reformat", tensor("Row major linear FP32"), Origin="QDQ"),
        layer("conv", "CaskConvolution", tensor("Four wide channel vectorized Int8 format")),
        layer("pool", "kgen", tensor("Half", "Datatype")),  # as TensorRT 11 writes it
    ],
    "Bindings": ["x", "y"],
}


def save(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf8")
    return path


def test_by_hand(tmp_path: Path) -> None:
    layers = save(tmp_path / "layers.json", LAYERS)
    found = read_profile(save(tmp_path / "profile.json", PROFILE), layers=layers)
    assert [node.kind for node in found.nodes] == ["layout", "qdq", "int8", "other"]
    assert [node.time_s for node in found.nodes] == pytest.approx([1e-4, 2e-4, 6e-4, 1e-4])
    assert found.share("int8") == pytest.approx(0.6)
    assert found.nodes[3].inputs[0].type == "float16"
    assert found.calls == 10
    assert Profile.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_means_stand_in_where_there_are_no_medians(tmp_path: Path) -> None:
    found = read_profile(save(tmp_path / "p.json", [{"count": 10}, row("conv", 0.5)]))
    assert found.nodes[0].time_s == 0.0005
    assert found.nodes[0].kind is None
    assert found.share("int8") is None


@REAL
def test_a_real_engine_with_its_layers() -> None:
    """All medians of the file add up to 1.09568 ms; 21 of 37 layers are products of bytes."""
    found = read_profile(
        SAMPLES / "trex_A100_resnet-qat.profile.json",
        layers=SAMPLES / "trex_A100_resnet-qat.graph.json",
        times=SAMPLES / "trex_timing_head.json",
    )
    assert len(found.nodes) == 37
    assert found.total_s == pytest.approx(1.09568e-3)
    assert found.call_s == pytest.approx(0.8826e-3, rel=1e-3)  # of 742 queries
    assert sum(found.share(kind) or 0 for kind in KINDS) == pytest.approx(1)
    assert found.share("int8") == pytest.approx(0.6486, abs=1e-4)
    assert sum(node.kind == "int8" for node in found.nodes) == 21
    assert found.top(1)[0].name == "conv1.weight + QuantizeLinear_7 + Conv_9"
    assert found.share_of(found.top(1)[0]) == pytest.approx(0.184112, abs=1e-6)  # as trtexec says


@REAL
def test_names_alone_tell_no_precision() -> None:
    found = read_profile(
        SAMPLES / "detr.profile.json", layers=SAMPLES / "detr.layerinfo_names_only.json"
    )
    assert (len(found.nodes), found.calls) == (840, 641)
    assert found.share("int8") is None
    assert {node.kind for node in found.nodes} == {None, "layout"}


@REAL
def test_times_of_every_query() -> None:
    times = read_times(SAMPLES / "trex_timing_head.json")
    assert len(times.latency_s) == 742
    assert times.compute_s[0] == pytest.approx(0.909312e-3)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "begins with a count"),
        ("[]", "begins with a count"),
        ([{"count": 0}, row("a", 1)], "begin with a count"),
        ([{"count": True}, row("a", 1)], "begin with a count"),
        ([{"count": 10**400}, row("a", 1)], "begin with a count"),
        ([{"count": 10}], "has no layers"),
        ([{"count": 10}, {"name": "a"}], "averageMs should be"),
        ([{"count": 10}, {**row("a", 1), "averageMs": "1"}], "averageMs should be"),
        ([{"count": 10}, {**row("a", 1), "medianMs": None}], "medianMs should be"),
        ([{"count": 10}, {**row("a", 1), "timeMs": -10}], "timeMs should be"),
        ('[{"count": 1}, {"name": "a", "timeMs": NaN, "averageMs": 1}]', "timeMs should be"),
        ('[{"count": 1}, {"name": "a", "timeMs": 1e999, "averageMs": 1}]', "timeMs should be"),
        ([{"count": 10}, {**row("a", 1), "name": 3}], "without a name"),
        ([{"count": 10}, {**row("a", 1), "timeMs": 11}], "contradict each other"),
    ],
)
def test_what_does_not_fit_is_refused(content: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=what):
        read_profile(save(tmp_path / "profile.json", content))


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    profile = save(tmp_path / "profile.json", PROFILE)
    with pytest.raises(BadInput, match="names none of the layers"):
        read_profile(profile, layers=save(tmp_path / "l.json", {"Layers": ["another"]}))
    with pytest.raises(BadInput, match="no list of layers"):
        read_profile(profile, layers=save(tmp_path / "l.json", {"Layers": []}))
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_profile(tmp_path / "none.json")
    with pytest.raises(BadInput, match="h2dMs should be"):
        read_profile(profile, times=save(tmp_path / "t.json", [{"latencyMs": 1}]))


ODD = (b"null", b"NaN", b"-1", b"1e999", b"[", b'"', b"{")


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Flip, cut, repeat, or put something odd in a few places."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data))
        choice = generator.randrange(5)
        if choice == 0:
            data[at] = generator.randrange(256)
        elif choice == 1:
            del data[at : at + generator.randint(1, 40)]
        elif choice == 2:
            data[at:at] = data[at : at + generator.randint(1, 400)]
        elif choice == 3:
            data[at : at + generator.randint(0, 8)] = generator.choice(ODD)
        else:
            del data[at:]
        data = data or bytearray(b" ")
    return bytes(data)


def truths(content: bytes) -> set[tuple[str, float]]:
    """Every name with every number that stands beside it, read without the parser."""
    rows = json.loads(content)
    return {
        (row["name"], row[key] / 1e3)
        for row in rows[1:]
        for key in ("medianMs", "averageMs")
        if key in row
    }


def fuzz(profile: bytes, layers: bytes, folder: Path, *, tries: int) -> int:
    """Damage both files in turn; return how often the result was still read."""
    generator, read = random.Random(0), 0
    for number in range(tries):
        first, second = (
            (damaged(profile, generator), layers)
            if number % 2
            else (profile, damaged(layers, generator))
        )
        (folder / "p.json").write_bytes(first)
        (folder / "l.json").write_bytes(second)
        with contextlib.suppress(BadInput):
            found = read_profile(folder / "p.json", layers=folder / "l.json")
            assert {(node.name, node.time_s) for node in found.nodes} <= truths(first)
            assert len(found.nodes) == len(json.loads(first)) - 1
            json.dumps(found.to_json(), allow_nan=False)
            read += 1
    return read


def test_damage_never_crashes_and_invents_nothing(tmp_path: Path) -> None:
    profile, layers = json.dumps(PROFILE).encode(), json.dumps(LAYERS).encode()
    assert 0 < fuzz(profile, layers, tmp_path, tries=1000) < 1000


@REAL
def test_damage_to_real_files(tmp_path: Path) -> None:
    profile = (SAMPLES / "trex_A100_resnet-qat.profile.json").read_bytes()
    layers = (SAMPLES / "trex_A100_resnet-qat.graph.json").read_bytes()
    assert 0 < fuzz(profile, layers, tmp_path, tries=1000) < 1000


@REAL
def test_damage_to_real_times(tmp_path: Path) -> None:
    content, generator = (SAMPLES / "trex_timing_head.json").read_bytes()[:4000], random.Random(1)
    whole = content[: content.rindex(b"}") + 1] + b"]"
    for _ in range(1000):
        spoiled = damaged(whole, generator)
        (tmp_path / "t.json").write_bytes(spoiled)
        with contextlib.suppress(BadInput):
            times = read_times(tmp_path / "t.json")
            assert list(times.compute_s) == [row["computeMs"] / 1e3 for row in json.loads(spoiled)]
