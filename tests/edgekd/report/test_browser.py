"""A real browser opens the page: it shows the record, fits a phone, and asks nobody."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from edgekd.report.record import Record
from edgekd.report.write import write_report

Content = dict[str, Any]
Browse = Callable[..., str]
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--disable-extensions", "--disable-default-apps"),
)
ITS_OWN = (".google.com", ".googleapis.com", ".gstatic.com", ".gvt1.com")
"""Hosts that Chromium may ask for itself, whatever page is open."""
PHONE = 390
PROBE = """<script>
const size = (node) => node.getBoundingClientRect();
const charts = [...document.querySelectorAll("svg")].filter((svg) => size(svg).width > 0);
const names = charts.flatMap((svg) => [...svg.querySelectorAll(".name, .limit-text")]);
const boxes = names.map(size);
const covers = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;  // a line is higher than its letters
const found = {
  inner: innerWidth,
  scroll: document.documentElement.scrollWidth,
  charts: charts.length,
  overlaps: boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => covers(a, b))).length,
  letters: Math.min(...charts.flatMap((svg) => [...svg.querySelectorAll("text")]
    .map((t) => parseFloat(getComputedStyle(t).fontSize) * svg.getScreenCTM().a))),
  small: Math.min(...[...document.querySelectorAll("main *")]
    .filter((n) => !n.closest("svg") && n.textContent.trim() && size(n).width > 0)
    .map((n) => parseFloat(getComputedStyle(n).fontSize))),
};
parent.postMessage(JSON.stringify(found), "*");
</script>"""


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Return a call that opens a file in headless Chromium and gives what it writes to stdout."""
    programs = [found for found in map(shutil.which, NAMES) if found]
    if not programs:
        reason = f"no browser on PATH ({', '.join(NAMES)}); install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)

    def run(path: Path, *options: str) -> str:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [programs[0], *QUIET, profile, *options, path.as_uri()]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        return done.stdout.decode()

    return run


@pytest.fixture
def report(content: Content, tmp_path: Path) -> Path:
    content["over_budget"] = "0.1 ms were asked for; the nearest rung is quantize (int8)"
    content["task"]["labels"][0] = "</script>"
    write_report(Record(content), tmp_path)
    return tmp_path / "report.html"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers nothing and writes down who was asked for."""

    asked: list[str]

    def refuse(self) -> None:
        url = self.path if "//" in self.path else f"//{self.path}"
        self.asked.append(urlsplit(url).hostname or self.path)
        self.send_error(502)

    do_GET = do_POST = do_CONNECT = do_HEAD = refuse

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Recorder", (Proxy,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def through(address: str) -> tuple[str, ...]:
    return (f"--proxy-server={address}", "--proxy-bypass-list=<-loopback>")


def foreign(asked: list[str]) -> list[str]:
    return [host for host in asked if not f".{host}".endswith(ITS_OWN)]


def test_the_browser_shows_what_the_record_holds_and_asks_nobody(
    report: Path,
    browse: Browse,
    proxy: tuple[str, list[str]],
    read: Any,
    expected: Any,
) -> None:
    content = json.loads((report.parent / "report.json").read_text(encoding="utf8"))
    address, asked = proxy
    dom = browse(report, "--dump-dom", *through(address))
    assert foreign(asked) == []
    found = read(dom)
    missing = [figure for figure in expected(content) if figure not in found.text]
    assert not missing
    embedded = json.loads(found.record)
    assert embedded["rungs"] == content["rungs"]
    assert embedded["test"] == content["test"]
    assert [tag for tag, _ in found.tags].count("script") == 1


def test_the_proxy_would_see_a_request(
    tmp_path: Path, browse: Browse, proxy: tuple[str, list[str]]
) -> None:
    """The counter-example to the test above: this page does ask, and is caught."""
    address, asked = proxy
    page = tmp_path / "asks.html"
    page.write_text('<img src="http://tracker.example/x.png">', encoding="utf8")
    browse(page, "--dump-dom", *through(address))
    assert "tracker.example" in foreign(asked)


def test_the_policy_stops_what_an_edit_would_ask_for(
    report: Path, browse: Browse, proxy: tuple[str, list[str]]
) -> None:
    address, asked = proxy
    html = report.read_text(encoding="utf8")
    bad = '<main><img src="http://tracker.example/x.png"><script>document.title = "ran"</script>'
    report.write_text(html.replace("<main>", bad), encoding="utf8")
    dom = browse(report, "--dump-dom", *through(address))
    assert foreign(asked) == []
    assert "<title>ran</title>" not in dom


def measured(report: Path, browse: Browse, width: int) -> dict[str, float]:
    """Open a copy with a probe in a frame of this width; a window has a least width of its own."""
    html = report.read_text(encoding="utf8")
    html = re.sub(r"<meta http-equiv=.*?>", "", html).replace("</body>", f"{PROBE}</body>")
    (report.parent / "probed.html").write_text(html, encoding="utf8")
    frame = report.parent / "frame.html"
    frame.write_text(
        f'<iframe src="probed.html" style="border:0;width:{width}px;height:800px"></iframe>'
        "<script>onmessage = (event) => document.title = event.data</script>",
        encoding="utf8",
    )
    dom = browse(frame, "--dump-dom", "--virtual-time-budget=3000", "--window-size=1400,900")
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None, dom[:300]
    found: dict[str, float] = json.loads(title[1].replace("&quot;", '"'))
    assert found["inner"] == width
    return found


@pytest.mark.parametrize("width", [PHONE, 620, 761, 1280])
def test_the_page_fits_and_can_be_read(report: Path, browse: Browse, width: int) -> None:
    found = measured(report, browse, width)
    assert found["scroll"] <= width
    assert found["charts"] == 2  # one of each pair is shown
    assert found["overlaps"] == 0
    assert found["letters"] >= 11
    assert found["small"] >= 11


def test_long_words_and_many_classes_fit_a_phone_too(
    content: Content, tmp_path: Path, browse: Browse
) -> None:
    long = "averyverylongnamewithoutanyblankinitatall" * 2
    content["name"] = content["data"]["licence"] = long
    content["command"] = f"edgekd compress {long}.toml"
    content["final"]["conditions"]["cpu"] = long
    content["over_budget"] = long
    for row in content["changes"]["classes"]:
        row["label"] = long
    for sample in content["changes"]["samples"]:
        sample.update(label=long, text=long, image="")
    for rung in content["rungs"]:
        rung["reasons"] = [long]
    write_report(Record(content), tmp_path)
    assert measured(tmp_path / "report.html", browse, PHONE)["scroll"] <= PHONE


def test_a_screenshot_is_not_empty(report: Path, browse: Browse) -> None:
    image = report.parent / "page.png"
    browse(report, f"--screenshot={image}", "--window-size=1280,2000")
    with Image.open(image) as picture:
        assert picture.size == (1280, 2000)
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 100
