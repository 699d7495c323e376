"""A real browser opens the page: it shows the record, fits a phone, and asks nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgekd.evaluation.record import from_json
from edgekd.report.run.write import write_report

Content = dict[str, Any]
PHONE = 390


@pytest.fixture
def report(content: Content, tmp_path: Path) -> Path:
    content["over_budget"] = "0.1 ms at most were requested; quantize takes 0.12 ms"
    content["task"]["labels"][0] = "</script>"
    write_report(from_json(content), tmp_path)
    return tmp_path / "report.html"


def test_the_browser_shows_what_the_record_holds_and_asks_nobody(
    report: Path,
    browse: Any,
    watch: Any,
    read: Any,
    expected: Any,
) -> None:
    content = json.loads((report.parent / "report.json").read_text(encoding="utf8"))
    dom = browse(report, "--dump-dom", *watch.options)
    assert watch.foreign() == []
    found = read(dom)
    missing = [figure for figure in expected(content) if figure not in found.text]
    assert not missing
    embedded = json.loads(found.record)
    assert embedded["rungs"] == content["rungs"]
    assert embedded["test"] == content["test"]
    assert [tag for tag, _ in found.tags].count("script") == 1


def test_the_proxy_would_see_a_request(tmp_path: Path, browse: Any, watch: Any) -> None:
    """The counter-example to the test above: this page does ask, and is caught."""
    page = tmp_path / "asks.html"
    page.write_text('<img src="http://tracker.example/x.png">', encoding="utf8")
    browse(page, "--dump-dom", *watch.options)
    assert "tracker.example" in watch.foreign()


def test_the_policy_stops_what_an_edit_would_ask_for(report: Path, browse: Any, watch: Any) -> None:
    html = report.read_text(encoding="utf8")
    bad = '<main><img src="http://tracker.example/x.png"><script>document.title = "ran"</script>'
    report.write_text(html.replace("<main>", bad), encoding="utf8")
    dom = browse(report, "--dump-dom", *watch.options)
    assert watch.foreign() == []
    assert "<title>ran</title>" not in dom


@pytest.mark.parametrize("width", [PHONE, 620, 761, 1280])
def test_the_page_fits_and_can_be_read(report: Path, measured: Any, width: int) -> None:
    found = measured(report, width)
    assert found["scroll"] <= width
    assert found["charts"] == 2  # one of each pair is shown
    assert found["overlaps"] == 0
    assert found["letters"] >= 11
    assert found["small"] >= 11


def test_long_words_and_many_classes_fit_a_phone_too(
    content: Content, tmp_path: Path, measured: Any
) -> None:
    long = "averyverylongnamewithoutanyblankinitatall" * 2
    content["name"] = content["data"]["licence"] = long
    content["command"] = f"edgekd compress {long}.toml"
    content["final"]["conditions"]["cpu"] = long
    content["over_budget"] = long
    for row in content["changes"]["classes"]:
        row["label"] = long
    for sample in content["changes"]["samples"]:
        sample.update(label=long, text=long, image=None)
    for rung in content["rungs"]:
        rung["reasons"] = [long]
    write_report(from_json(content), tmp_path)
    assert measured(tmp_path / "report.html", PHONE)["scroll"] <= PHONE


def test_a_screenshot_is_not_empty(report: Path, browse: Any) -> None:
    image = report.parent / "page.png"
    browse(report, f"--screenshot={image}", "--window-size=1280,2000")
    with Image.open(image) as picture:
        assert picture.size == (1280, 2000)
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 100
