"""A version takes the options of the row at or below it, and says its own name."""

from __future__ import annotations

import pytest

from edgekd.benchmarks.trtexec.versions import (
    BOARDS,
    VERSIONS,
    found_on,
    target_version,
    version_in_banner,
    version_of,
)
from edgekd.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("8.0", "8.0"),
        ("8.0.1", "8.0"),
        ("8.4", "8.2"),
        ("8.5.2.2", "8.5"),
        ("8.6", "8.6"),
        ("10", "10.3"),
        ("10.3.0.30", "10.3"),
        ("10.9", "10.3"),
        ("10.13", "10.13"),
        ("10.20", "10.16"),
        ("11", "11"),
        ("11.4.1", "11"),
    ],
)
def test_options_are_those_of_the_row_below(name: str, row: str) -> None:
    assert version_of(name).name == row
    assert target_version(f"tensorrt-{name}")[0].name == row


@pytest.mark.parametrize(
    "name", ["7.2", "9.1", "10.0", "12", "", "x", "10.x", "-8", "8,5", "8.5\n"]
)
def test_other_versions_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"8\.0, 8\.2, 8\.5"):
        version_of(name)


@pytest.mark.parametrize(
    ("number", "version"),
    [
        ("v8001", "8.0.1"),
        ("v8500", "8.5.0"),
        ("v8503", "8.5.3"),
        ("v100300", "10.3.0"),
        ("v101303", "10.13.3"),
        ("v110300", "11.3.0"),
        ("v85", None),
        ("v1003000", None),
        ("v0", None),
        ("vx", None),
        ("v001234", None),
    ],
)
def test_the_banner_names_the_version(number: str, version: str | None) -> None:
    assert version_in_banner(f"&&&& RUNNING TensorRT.trtexec [TensorRT {number}] # x") == version
    assert version_in_banner(f"&&&& FAILED TensorRT.trtexec [TensorRT {number}] [b9] #") == version
    assert version_in_banner(f"x &&&& RUNNING TensorRT.trtexec [TensorRT {number}] # x") is None


def test_every_board_has_a_version() -> None:
    for name, (version, _) in BOARDS.items():
        assert target_version(name)[0].name == version
    with pytest.raises(RecipeError, match="target 'jetson' is unknown; known are tensorrt-VERSION"):
        target_version("jetson")


def test_a_version_names_its_releases_of_jetpack() -> None:
    assert found_on(version_of("10.3")) == "JetPack 6.1, 6.2"
    assert found_on(version_of("11")) == ""


def test_rows_are_in_order() -> None:
    numbers = [(v.major, v.minor) for v in VERSIONS]
    assert numbers == sorted(numbers)
    assert [v.highest_opset for v in VERSIONS] == sorted(v.highest_opset for v in VERSIONS)
