"""A run's record as the pipeline would write it, built from the same dataclasses."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import pytest

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.measurement import Conditions, Timing
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.evidence import Evidence, FileEvidence
from edgekd.evaluation.gate import REFERENCE, Findings, judge
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import (
    Calls,
    ChangedSample,
    Changes,
    ClassChange,
    DataInfo,
    Elsewhere,
    Final,
    Finalist,
    MetricInfo,
    OnTest,
    RungRecord,
    TaskInfo,
    Tested,
)
from edgekd.exporters.file_facts import Entry, OnnxFacts
from edgekd.exporters.lint.finding import Brief, BriefGroup
from edgekd.options import Budget
from edgekd.pipeline.examples.shipping import png_uri

Content = dict[str, Any]
LINT = Brief(
    runtime="cpu",
    by="ONNX Runtime 1.31.1 on this CPU",
    run_here=True,
    int8_layers=18,
    layers=20,
    left=4,
    groups=(
        BriefGroup(
            weight="warning",
            rule="no-kernel",
            count=2,
            nodes=("act.Tanh", "act_1.Tanh"),
            reason="ONNX Runtime has no 8-bit Tanh on the CPU",
            fix="take the Q/DQ pairs around Tanh nodes away",
        ),
        BriefGroup(
            weight="note", rule="edges", count=1, nodes=(), reason="the input is float", fix=""
        ),
    ),
)
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CONDITIONS = Conditions(
    device="local",
    cpu="AMD EPYC 7B13, 2 of 64 cores",
    runtime="onnxruntime 1.31.1",
    provider="CPUExecutionProvider",
    threads=1,
    os="Linux 6.8 x86_64",
    python="3.11.2",
    governor=None,
    emulated=False,
    load_average=0.31,
)
# title, label: top-1, bytes, parameters, milliseconds, spread of the calls
FILES = {
    ("teacher", "fp32"): (94.8, 13_486_204, 3_361_578, 1.4530, 0.03),
    ("teacher", "int8 preview"): (93.9, 3_571_004, 3_361_578, 0.8121, 0.03),
    ("distill", "fp32"): (92.4, 1_092_331, 272_474, 0.4522, 0.04),
    ("distill", "int8 preview"): (92.2, 301_877, 272_474, 0.2240, 0.05),
    ("prune", "fp32"): (92.1, 611_020, 151_402, 0.2431, 0.04),
    ("prune", "int8 preview"): (91.9, 190_310, 151_402, 0.1229, 0.05),
    ("prune 2", "fp32"): (87.3, 402_118, 99_120, 0.2260, 0.06),
    ("prune 2", "int8 preview"): (86.8, 131_540, 99_120, 0.1190, 0.07),
    ("quantize", "fp32"): (92.1, 611_020, 151_402, 0.2431, 0.04),
    ("quantize", "int8"): (92.0, 190_310, 151_402, 0.1229, 0.05),
}
BEFORE = {"distill": "teacher", "prune": "distill", "prune 2": "prune", "quantize": "prune"}
METRICS: tuple[tuple[str, Literal["higher", "lower"]], ...] = (
    ("top-1", "higher"),
    ("worst class", "higher"),
    ("calibration error", "lower"),
    ("agreement", "higher"),
)


def around(value: float, half: float, n: int) -> Estimate:
    return Estimate(value, value - half, value + half, n)


def by(value: float, share: float) -> Estimate:
    return Estimate(value, value / (1 + share), value * (1 + share), 6)


def top1(title: str, label: str) -> float:
    return FILES[title, label][0]


def seconds(title: str, label: str) -> float:
    return FILES[title, label][3] / 1e3


def file_evidence(title: str, label: str, *, timed: bool, n: int) -> FileEvidence:
    quality, size, parameters, _, spread = FILES[title, label]
    variant: Variant = "int8" if label.startswith("int8") else FP32
    before = top1(BEFORE.get(title, "teacher"), "fp32")
    evidence = FileEvidence(
        label=label,
        variant=variant,
        preview=label.endswith("preview"),
        sha256=f"{abs(hash((quality, size, parameters))):064x}"[:64],
        facts=OnnxFacts(
            parameters=parameters,
            macs=parameters * 120,
            int8_share=0.97 if variant == "int8" else 0.0,
            int8_bytes_share=0.93 if variant == "int8" else 0.0,
            size_bytes=size,
            opset=20,
            inputs=(Entry("image", "uint8", ("batch", 32, 32, 3)),),
            outputs=(Entry("logits", "float32", ("batch", 10)),),
            operators={"Conv": 21, "Gemm": 1, "Relu": 19},
        ),
        kernels=None,
        metrics={
            "top-1": around(quality, 0.7, n),
            "worst class": around(quality - 7.3, 2.4, n),
            "calibration error": around(1.9, 0.4, n),
            "agreement": around(quality + 2.1, 0.6, n),
        },
        gain=around(quality - 94.8, 0.55, n),
        step_gain=around(quality - before, 0.5, n),
    )
    if not timed:
        return evidence
    at = seconds(title, label)
    speed = by(seconds("teacher", "fp32") / at, 0.02)
    return replace(
        evidence,
        latency_s=by(at, spread / 3),
        p90_s=by(at * (1 + 2 * spread), spread / 2),
        load_s=0.0123 + size / 1e9,
        first_s=3 * at,
        peak_memory_bytes=61_000_000 + 3 * size,
        speedup=None if (title, label) == ("teacher", "fp32") else speed,
    )


def rung(title: str, *, timed: bool = True, n: int = 5000) -> RungRecord:
    labels = [label for owner, label in FILES if owner == title]
    own: Variant = "int8" if title == "quantize" else FP32
    old = BEFORE.get(title, "teacher")
    pair = (own, "fp32") if title == "quantize" else ("int8 preview", "int8 preview")
    first = title == "teacher"
    speed = by(seconds(old, pair[1]) / seconds(title, pair[0]), 0.024)
    findings = Findings(
        variant=own,
        device="local",
        compared=pair,
        unit="%",
        gain=around(top1(title, own) - 94.8, 0.55, n),
        step_gain=around(top1(title, own) - top1(old, "fp32"), 0.5, n),
        speedup=(Estimate(1.0, 1.0, 1.0, 6) if first else speed) if timed else None,
        steady=True,
        shrink=FILES[old, "fp32"][1] / FILES[title, own][1],
    )
    evidence = Evidence(
        files=tuple(file_evidence(title, label, timed=timed, n=n) for label in labels),
        findings=(findings,),
        floor=0.012 if timed else None,
        session=f"{title}.session.json" if timed else None,
        conditions=CONDITIONS if timed else None,
    )
    verdict = REFERENCE if first else judge(lambda _: "faster", [findings], Budget(max_drop=3.0))
    return RungRecord(
        title=title,
        outcome=verdict.outcome,
        reasons=verdict.reasons,
        verdict=verdict.text,
        rulings=verdict.rulings,
        stage=f"{title.split()[0]}-3f2a9c01aa77",
        left={},
        history=({"name": title.split()[0], "key": "3f2a9c01aa77"},),
        calibration={},
        lint={"int8": LINT} if own == "int8" else {},
        evidence=evidence,
    )


def skipped(title: str) -> RungRecord:
    """A stage whose step could do nothing."""
    return RungRecord(
        title=title,
        outcome="skipped",
        reasons=("it removes nothing",),
        verdict="it removes nothing",
        rulings=(),
        stage="teacher-3f2a9c01aa77",
        left={},
        history=({"name": "teacher", "key": "3f2a9c01aa77"},),
        calibration={},
        evidence=None,
    )


def final_of(rungs: Sequence[RungRecord], *, timed: bool) -> Final:
    files = []
    for title, own in ((r.title, file) for r in rungs if r.kept for file, _, _ in r.judged):
        file = file_evidence(title, own.label, timed=timed, n=5000)
        files.append(
            Finalist(
                title=title,
                label=file.label,
                variant=file.variant,
                sha256=file.sha256,
                size_bytes=FILES[title, own.label][1],
                latency_s=file.latency_s,
                p90_s=file.p90_s,
                speedup=file.speedup,
                level=True,
            )
        )
    return Final(
        files=tuple(files),
        floor=0.012,
        session="final-ab12.session.json",
        conditions=replace(CONDITIONS, emulated=not timed),
        chosen=len(files) - 1,
        bundled=(len(files) - 1,),
        elsewhere=(elsewhere_of(files, timed=timed),),
    )


def elsewhere_of(files: Sequence[Finalist], *, timed: bool) -> Elsewhere:
    """The same files on a device where the last of them does not run."""
    *run, last = (replace(file, latency_s=by(2e-3, 0.1) if timed else None) for file in files)
    refused = "the model could not be run: ValueError: there is no QLinearConv <here>"
    lost = replace(last, latency_s=None, p90_s=None, speedup=None, level=False, refused=refused)
    return Elsewhere(
        files=(*run, lost),
        floor=0.02,
        session="final-cd34.session.json",
        conditions=replace(CONDITIONS, runtime="openvino 2026.3", emulated=not timed),
        device="local, openvino, 2 threads",
        best=len(run) - 1 if timed and run else None,
    )


def calls(title: str, label: str, rng: np.random.Generator) -> tuple[float, ...]:
    spread = FILES[title, label][4]
    quiet = rng.lognormal(0, spread / 3, 380)
    busy = 1 + rng.exponential(spread * 6, 20)
    return tuple(float(v) for v in seconds(title, label) * np.concatenate([quiet, busy]))


def picture(rng: np.random.Generator) -> str:
    """A few soft blobs of colour, 32 pixels wide."""
    y, x = np.mgrid[0:32, 0:32]
    image = np.full((32, 32, 3), rng.integers(40, 220, 3), np.float64)
    for _ in range(4):
        a, b, r = rng.uniform(4, 28), rng.uniform(4, 28), rng.uniform(3, 9)
        near = np.exp(-((((x - a) / r) ** 2 + ((y - b) / r) ** 2) ** 2))[..., None]
        image = image * (1 - near) + near * rng.integers(0, 255, 3)
    return png_uri(image.clip(0, 255).astype(np.uint8))


def changes() -> Changes:
    rng = np.random.default_rng(7)
    classes = tuple(
        ClassChange(
            label=label,
            samples=1000,
            teacher=float(96 - (i * 7) % 11),
            shipped=float(96 - (i * 7) % 11 + (1.3 if i == 4 else -((i * 5) % 6) - 0.4)),
        )
        for i, label in enumerate(LABELS)
    )
    samples = []
    for i in range(18):
        truth, other, third = (str(w) for w in rng.choice(LABELS, 3, replace=False))
        teacher, shipped = ((truth, other), (other, truth), (other, third))[
            0 if i % 3 else i % 2 + 1
        ]
        samples.append(
            ChangedSample(
                index=int(rng.integers(0, 60_000)),
                label=truth,
                teacher=teacher,
                shipped=shipped,
                image=picture(rng),
            )
        )
    return Changes(classes=classes, changed=512, samples=tuple(samples))


def build(*, timed: bool = True, titles: tuple[str, ...] = ("teacher", *BEFORE)) -> Record:
    """Return the record of a run of these stages; `timed=False` is an emulated device."""
    rungs = tuple(rung(t, timed=timed) if (t, "fp32") in FILES else skipped(t) for t in titles)
    final = final_of(rungs, timed=timed)
    rng = np.random.default_rng(1)
    alone = final.ships.title == "teacher"
    return Record(
        name="cifar10",
        command="edgekd compress /home/alice/recipes/cifar10.toml --out /srv/runs/cifar10",
        recipe=recipe(titles[1:]),
        budget=Budget(max_drop=3.0, max_latency="0.2 ms"),
        devices=("local",),
        teacher_licence="Apache-2.0",
        versions={
            "python": "3.11.2",
            "onnxruntime": "1.31.1",
            "torch": "2.9.1",
            "edgekd": "0.1.0",
        },
        task=TaskInfo(
            metrics=tuple(
                MetricInfo(name=name, unit="%", better=better, is_percentage=True)
                for name, better in METRICS
            ),
            labels=tuple(LABELS),
        ),
        data=DataInfo(
            kind="image",
            licence="MIT",
            fingerprint="5f" * 32,
            skipped=("/home/alice/my data/cifar10/broken.png",),
            splits={"train": 45_000, "calibration": 1024, "validation": 5000, "test": 10_000},
        ),
        timing=Timing(),
        rungs=rungs,
        final=final,
        test=OnTest(samples=10_000, files=tuple(tested(rungs, f) for f in final.files)),
        changes=None if alone else changes(),
        calls=tuple(
            Calls(title=f.title, label=f.label, seconds=calls(f.title, f.label, rng))
            for f in final.files
            if timed
        ),
        over_budget=None,
    )


def recipe(titles: tuple[str, ...]) -> Content:
    return {
        "name": "cifar10",
        "seed": 0,
        "task": "classification",
        "effort": 1.0,
        "model": {
            "name": "teacher",
            "build": "/home/alice/nets/lite.py:lite0",
            "options": {"classes": 10},
            "weights": "cache:efficientnet-lite0",
            "licence": "Apache-2.0",
        },
        "data": {"path": "/home/alice/my data/cifar10", "augment": {"crop": 4, "flip": True}},
        "devices": ["local"],
        "budget": {"max_drop": 3.0, "max_latency": "0.2 ms", "strict": False},
        "steps": [{"name": t.split()[0], "gate": True} for t in titles],
    }


def tested(rungs: Sequence[RungRecord], file: Finalist) -> Tested:
    own, _, _ = next(r for r in rungs if r.title == file.title).judged[0]
    lost = top1(file.title, file.label) - 94.8
    return Tested(
        title=file.title,
        label=file.label,
        metrics={
            name: around(e.value - 0.4, (e.high - e.low) / 2.8, 10_000)
            for name, e in own.metrics.items()
        },
        gain=around(lost, 0.0 if file.title == "teacher" else 0.41, 10_000),
    )


@pytest.fixture
def make() -> Callable[..., Content]:
    """Return the builder, for other runs than the usual one."""
    return lambda **options: json.loads(json.dumps(build(**options).to_json()))


@pytest.fixture
def content(make: Callable[..., Content]) -> Content:
    """A run of four stages, one of them rolled back."""
    return make()


class _Text(HTMLParser):
    """Keeps the words of a page and the tags that could ask for something."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.record = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.record += data
        elif not self._inside:
            self.words.append(data)


@dataclass(frozen=True)
class Page:
    """What a reader of a page finds in it."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]]
    record: str


@pytest.fixture
def read() -> Callable[[str], Page]:
    """Return the parser of a page; blanks are single in its text."""

    def parse(html: str) -> Page:
        found = _Text()
        found.feed(html)
        found.close()
        return Page(" ".join("".join(found.words).split()), found.tags, found.record)

    return parse


def bracketed(estimate: Content, form: str) -> str:
    value, low, high = (form.format(estimate[k]) for k in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def at_least(content: Content) -> list[str]:
    """All that a page must show of a record, written here once more."""
    shown = [content["name"], content["data"]["licence"], content["data"]["fingerprint"]]
    shown.append(content["teacher_licence"])
    for r in content["rungs"]:
        shown += [r["title"], *r["reasons"]]
        if r["evidence"] is None:
            continue
        if r["title"] != "teacher":
            speeds = [found["speedup"] for found in r["evidence"]["findings"]]
            shown += [_times(speed) for speed in speeds if speed]
        for file in r["evidence"]["files"]:
            shown += [bracketed(e, "{:.1f}") for e in file["metrics"].values()]
            shown += [bracketed(file["gain"], "{:+.2f}"), bracketed(file["step_gain"], "{:+.2f}")]
            shown += [f"{file['facts'][k]:,}" for k in ("size_bytes", "parameters", "macs")]
            shown += [file["label"], file["sha256"][:16], *_speed(file)]
    for file in content["final"]["files"]:
        shown += _speed(file)
    for t in content["test"]["files"]:
        shown += [bracketed(e, "{:.1f}") for e in t["metrics"].values()]
        if t["title"] != "teacher":
            shown.append(bracketed(t["gain"], "{:+.2f}"))
    for row in (content["changes"] or {"classes": []})["classes"]:
        shown.append(row["label"])
        shown += [f"{row['teacher']:.1f}", f"{row['shipped']:.1f}"]
    shown += [str(v) for v in content["final"]["conditions"].values() if isinstance(v, str)]
    shown += [f"{count:,} samples" for count in content["data"]["splits"].values()]
    return shown + list(content["versions"].values())


def _times(estimate: Content) -> str:
    return bracketed(estimate, "{:.2f}").replace(" ", "x ", 1)


def _speed(file: Content) -> list[str]:
    if file["latency_s"] is None:
        return ["not measured"]
    shown = []
    for name in ("latency_s", "p90_s"):
        e = file[name]
        scale, unit, form = (1e3, "ms", "{:.2f}") if e["value"] >= 1e-3 else (1e6, "µs", "{:.0f}")
        text = bracketed({k: e[k] * scale for k in ("value", "low", "high")}, form)
        shown.append(text.replace(" ", f" {unit} ", 1))
    return shown + ([_times(file["speedup"])] if file["speedup"] else [])


@pytest.fixture
def expected() -> Callable[[Content], list[str]]:
    """Return the list of texts that a page must show of a record."""
    return at_least


Browse = Callable[..., str]
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--disable-extensions", "--disable-default-apps"),
)
ITS_OWN = (".google.com", ".googleapis.com", ".gstatic.com", ".gvt1.com")
"""Hosts that Chromium may ask for itself, whatever page is open."""
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


@dataclass(frozen=True)
class Watch:
    """Sees every request that a browser with these options makes."""

    address: str
    asked: list[str]

    @property
    def options(self) -> tuple[str, ...]:
        return (f"--proxy-server={self.address}", "--proxy-bypass-list=<-loopback>")

    def foreign(self) -> list[str]:
        return [host for host in self.asked if not f".{host}".endswith(ITS_OWN)]


@pytest.fixture
def watch() -> Iterator[Watch]:
    asked: list[str] = []
    handler = type("Recorder", (Proxy,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Watch(f"127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def measured(browse: Browse) -> Callable[[Path, int], dict[str, float]]:
    """Open a copy with a probe in a frame of this width; a window has a least width of its own."""

    def run(report: Path, width: int) -> dict[str, float]:
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

    return run
