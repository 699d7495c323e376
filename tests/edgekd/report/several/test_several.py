"""Several runs side by side: as a table, as a page, and by the command."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgekd.cli.report import SEVERAL, report
from edgekd.errors import RecipeError
from edgekd.evaluation.record import from_json, write_record
from edgekd.report.several.page import page, short_names, write_several
from edgekd.report.several.settings import differing_machines, differing_options
from edgekd.report.several.table import cells, side_by_side

Content = dict[str, Any]


def test_each_run_has_a_row(make: Callable[..., Content]) -> None:
    timed, untimed = from_json(make()), from_json(make(timed=False))
    runs = [(Path("runs/[a]"), timed), (Path("runs/b"), untimed)]
    console = Console(width=200)
    with console.capture() as capture:
        console.print(side_by_side(runs))
    text = capture.get()
    for word in ("[a]", "b", timed.ships.title, "not measured", "session of its own"):
        assert word in text
    assert len({len(cells(run.name, record)) for run, record in runs}) == 1


def changed(content: Content, **conditions: object) -> Content:
    other = copy.deepcopy(content)
    other["final"]["conditions"].update(conditions)
    return other


def texts(read: Any, *contents: Content) -> Any:
    runs = [(Path(f"runs/run{i}"), from_json(one)) for i, one in enumerate(contents)]
    return read(page(runs, folder=Path("runs")))


def test_the_page_shows_every_file_of_every_run(content: Content, read: Any, expected: Any) -> None:
    other = copy.deepcopy(content)
    for figure in other["rungs"][1]["evidence"]["files"][0]["metrics"].values():
        figure.update(value=88.8, low=87.7, high=89.9)
    found = texts(read, content, other)
    for one in (content, other):
        for rung in one["rungs"]:
            for file in (rung["evidence"] or {"files": []})["files"]:
                best = file["metrics"]["top-1"]
                assert f"{best['value']:.1f} [{best['low']:.1f}, {best['high']:.1f}]" in found.text
                assert file["label"] in found.text
    assert "88.8 [87.7, 89.9]" in found.text
    first = json.loads(found.record)[0]
    assert first["run"] == "run0"
    assert first["record"]["rungs"] == content["rungs"]
    assert "data:image" not in found.record, "samples are the data's"
    assert "/home/alice" not in found.record
    assert ("a", {"href": "run1/report.html"}) in found.tags


def test_times_share_a_chart_only_where_machine_and_samples_are_the_same(
    content: Content, read: Any
) -> None:
    def charts(*others: Content) -> tuple[int, str]:
        found = texts(read, content, *others)
        return [tag for tag, _ in found.tags].count("svg") // 2, found.text

    count, text = charts(content)
    assert count == 1
    assert "each in a session of its own" in text
    assert "Quality is of the same samples" in text
    assert "edgekd bench run1/bundle/model.int8.onnx --vs run0/bundle/model.int8.onnx" in text
    count, text = charts(changed(content, cpu="Cortex-A76", threads=4))
    assert count == 2
    assert "different machines or setups" in text
    assert "Cortex-A76, onnxruntime 1.31.1, 4 threads" in text
    other = copy.deepcopy(content)
    other["data"]["fingerprint"] = "00" * 32
    count, text = charts(other)
    assert count == 2
    assert "not of the same samples" in text
    assert "--vs" not in text, "files of other data are not worth a session"
    quick = copy.deepcopy(content)
    quick["recipe"]["quick"] = True
    count, text = charts(quick)
    assert count == 2
    assert "run1: a quick look, which decides nothing" in text
    assert "--vs" not in text, "a quick look has no bundle"


def test_the_command_finds_runs_in_unlike_folders(content: Content, tmp_path: Path) -> None:
    record = from_json(content)
    html = page([(tmp_path / "a/run", record), (tmp_path / "b/run", record)], folder=tmp_path)
    assert "edgekd bench b/run/bundle/model.int8.onnx --vs a/run/bundle/model.int8.onnx" in html
    assert str(tmp_path) not in html


def test_what_was_not_timed_is_said(make: Callable[..., Content], read: Any) -> None:
    text = texts(read, make(), make(timed=False)).text
    assert "Speed was not measured, so there is no chart" in text


def test_a_model_that_is_only_compared_with_itself_has_no_chart(
    make: Callable[..., Content], read: Any
) -> None:
    alone = make(titles=("teacher",))
    alone["task"]["metrics"][0]["against_teacher"] = True
    text = texts(read, make(), alone).text
    assert "Only the model itself was kept" in text
    assert "top-1" not in " ".join(cells("run", from_json(alone)))


def test_only_what_differs_is_listed(content: Content) -> None:
    other = copy.deepcopy(content)
    other["name"] = other["recipe"]["name"] = "another"
    records = [from_json(content), from_json(other)]
    assert differing_options(records) == differing_machines(records) == []
    other["recipe"]["data"]["augment"]["crop"] = 8
    other["recipe"]["steps"][1]["ratio"] = 0.5
    other["recipe"]["steps"].pop()
    other["versions"]["torch"] = "2.10.0"
    records = [from_json(content), from_json(other)]
    assert differing_options(records) == [
        ("steps", ("distill, prune, prune 2, quantize", "distill, prune, prune 2")),
        ("data.augment.crop", ("4", "8")),
        ("prune: ratio", ("not there", "0.5")),
    ]
    assert differing_machines(records) == [("version of torch", ("2.9.1", "2.10.0"))]


def test_names_are_as_long_as_tells_them_apart() -> None:
    assert short_names([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert short_names([Path("/a/run"), Path("/b/run")]) == ["a/run", "b/run"]
    assert short_names([Path("/a/run"), Path("/a/run")]) == ["run", "run"]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits(content: Content, tmp_path: Path, measured: Any, width: int) -> None:
    far = changed(content, cpu="averylongnamewithoutanyblankinitatall" * 2)
    runs = [(tmp_path / name, from_json(one)) for name, one in (("a" * 40, content), ("b", far))]
    write_several(runs, tmp_path / "all.html")
    found = measured(tmp_path / "all.html", width)
    assert found["scroll"] <= width
    assert found["charts"] == 2
    assert found["overlaps"] == 0
    assert found["letters"] >= 11
    assert found["small"] >= 11


def test_the_command_writes_the_pages(content: Content, tmp_path: Path, capsys: Any) -> None:
    runs = [tmp_path / "a", tmp_path / "b"]
    for run in runs:
        run.mkdir()
        write_record(from_json(content), run)
    report(runs)
    report(runs)
    said = capsys.readouterr().out
    assert str(tmp_path / SEVERAL) in said
    assert (tmp_path / SEVERAL).is_file()
    report(runs, out=tmp_path / "own.html")
    assert (tmp_path / "own.html").read_text() == (tmp_path / SEVERAL).read_text()
    with pytest.raises(RecipeError, match="exists already"):
        report(runs, out=tmp_path / "own.html")
    with pytest.raises(RecipeError, match="page of several runs"):
        report(runs[:1], out=tmp_path / "one.html")
