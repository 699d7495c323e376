"""The page of `edgekd bench`: it shows what was measured, opens offline, and fits a phone."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.history.comparison import BaselineResult, Comparison
from edgekd.benchmarks.history.entry import Entry
from edgekd.benchmarks.history.guard import Limit
from edgekd.benchmarks.layers.peaks import Bandwidth, Peaks
from edgekd.benchmarks.layers.profile import profile
from edgekd.benchmarks.layers.roofline import roofline
from edgekd.benchmarks.measurement import (
    Candidate,
    Conditions,
    Measurement,
    ProcessRun,
    Sample,
    Session,
    Timing,
)
from edgekd.benchmarks.result import BenchResult, Described, row
from edgekd.benchmarks.stats import Estimate, noise_floor
from edgekd.benchmarks.suites.result import ModelResult, SuiteResult
from edgekd.devices import open_device
from edgekd.report.bench.charts import Speedup, comparison
from edgekd.report.bench.many import write_baseline, write_suite
from edgekd.report.bench.page import write_bench

CONDITIONS = Conditions(
    device="secret-host",
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


@dataclass
class Drawn:
    """A session that never ran: one candidate for each entry of `call_s`, and the twin."""

    call_s: Sequence[float]
    rounds: int = 6
    blocks: int = 16
    calls: int = 4
    luck: float = 0.004
    noise: float = 0.01
    step: Mapping[int, float] = field(default_factory=dict)  # candidate -> slower from half on
    sensors: bool = False
    throttling: bool = False  # the clock falls where calls become slower
    steal: float = 0.0  # cores
    parts: Mapping[str, float] = field(default_factory=dict)
    rate_hz: float | None = None

    def session(self) -> Session:
        draw = np.random.default_rng(7)
        every = [*range(len(self.call_s)), 0]
        now = 1000.0
        runs: list[list[ProcessRun]] = [[] for _ in every]
        for number in range(self.rounds):
            now += 0.4 * len(every)
            blocks: list[list[tuple[float, ...]]] = [[] for _ in every]
            samples = [[self._sample(now, 0.0)] for _ in every]
            luck = draw.normal(0, self.luck, len(every))
            for _ in range(self.blocks):
                for place in draw.permutation(len(every)):
                    which = every[place]
                    late = number >= self.rounds / 2
                    slow = 1 + (self.step.get(which, 0.0) if late else 0.0)
                    level = luck[place] + draw.normal(0, self.noise)
                    tail = draw.lognormal(0, 0.02, self.calls) * (
                        1 + (draw.random(self.calls) < 0.04) * draw.uniform(0, 1, self.calls)
                    )
                    seconds = self.call_s[which] * slow * np.exp(level) * tail
                    now += float(seconds.sum()) + 0.002
                    blocks[place].append(tuple(seconds.tolist()))
                    samples[place].append(self._sample(now, (slow - 1) * self.throttling))
            for place in range(len(every)):
                runs[place].append(self._run(number, blocks[place], samples[place]))
        made = [
            Measurement("s", f"{which}", CONDITIONS, tuple(found))
            for which, found in zip(every, runs, strict=True)
        ]
        timing = Timing(rounds=self.rounds, blocks=self.blocks, rate_hz=self.rate_hz)
        return Session(tuple(made[:-1]), made[-1], timing)

    def _sample(self, now: float, slow: float) -> Sample:
        clock, heat = (3.2e9 / (1 + slow), 55 + (now - 1000) / 4) if self.sensors else (None, None)
        return Sample(
            at_s=now,
            own_s=now - 1000,
            busy_s=now - 1000,
            steal_s=self.steal * (now - 1000),
            clock_hz=clock,
            temperature_c=heat,
            throttled=None,
        )

    def _run(self, number: int, blocks: list[Any], samples: list[Sample]) -> ProcessRun:
        return ProcessRun(
            round=number,
            load_s=0.021,
            first_s=0.0043,
            blocks_s=tuple(blocks),
            peak_memory_bytes=71_000_000,
            harness_s=3.1e-7,
            elapsed_s=tuple(sum(block) for block in blocks),
            samples=tuple(samples),
            parts_s={name: (s, s * 1.02, s * 0.99) for name, s in self.parts.items()},
        )


def result_of(drawn: Drawn, names: Sequence[str], **more: Any) -> BenchResult:
    session = drawn.session()
    floor = noise_floor(session)
    rows = tuple(
        row(
            Described(Path("/home/someone/models") / name, name, 1, {"x": "float32 1x64"}, 13_486),
            measured,
            session,
            floor,
        )
        for name, measured in zip(names, session.measurements, strict=True)
    )
    return BenchResult(rows, session, "/home/someone/real.npz", **more)


NAMES = ("student.fp32.onnx", "student.int8.onnx")


def win(**changes: Any) -> BenchResult:
    return result_of(Drawn((2.31e-3, 1.24e-3), **changes), NAMES)


def unsteady() -> BenchResult:
    drawn = Drawn((2.31e-3, 1.24e-3), step={1: 0.21}, sensors=True, steal=0.05)
    return result_of(drawn, NAMES)


@dataclass(frozen=True)
class Page:
    """A page that was written, as text and as what it holds."""

    path: Path

    @property
    def html(self) -> str:
        return self.path.read_text(encoding="utf8")

    @property
    def record(self) -> Any:
        found = re.search(r'<script type="application/json" id="record">(.*?)</script>', self.html)
        assert found is not None
        return json.loads(found[1])

    @property
    def charts(self) -> list[ElementTree.Element]:
        """Of each pair the one for a desk, in the order of the page."""
        found = re.findall(r'<div class="chart wide">(<svg.*?</svg>)', self.html, re.S)
        return [ElementTree.fromstring(svg) for svg in found]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Page]:
    def written(result: BenchResult, **more: Any) -> Page:
        write_bench(result, tmp_path / "page.html", **more)
        return Page(tmp_path / "page.html")

    return written


Write = Callable[..., Page]


def of_class(image: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [node for node in image.iter() if name in node.get("class", "").split()]


def at(node: ElementTree.Element, key: str) -> float:
    return float(node.get(key, "nan"))


def text_of(html: str) -> str:
    plain = re.sub(r"<(script|style)[ >].*?</\1>", " ", html, flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", plain)))


def test_the_first_sentence_is_the_verdict(write: Write) -> None:
    result = win()
    page = write(result)
    speed = result.rows[1].speedup
    assert speed is not None
    said = f"{speed.value:.3f}x faster [{speed.low:.3f}, {speed.high:.3f}] than student.fp32.onnx."
    assert f"student.int8.onnx is {said}" in text_of(page.html)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda: result_of(Drawn((1e-3, 2e-3)), NAMES),
            r"student\.int8\.onnx is (1\.9|2\.0)\d+x slower \[",
        ),
        (lambda: result_of(Drawn((1e-3, 1e-3)), NAMES), "No difference is proven between"),
        (unsteady, "No steady state: student.int8.onnx against student.fp32.onnx is not decided."),
        (
            lambda: result_of(Drawn((1e-3,)), NAMES[:1]),
            r"student\.fp32\.onnx takes (0\.9\d+|1\.0\d*) ms|takes \d+ µs",
        ),
        (
            lambda: result_of(Drawn((1e-3, 1e-3, 1e-3)), ["a", "b", "c"]),
            "None of the others is proven faster than a.",
        ),
        (
            lambda: result_of(Drawn((3e-3, 2e-3, 1e-3)), ["a", "b", "c"]),
            "Of 2 against a: 2 faster.",
        ),
        (
            lambda: result_of(
                Drawn((2e-3, 1e-3), step={0: 0.2, 1: 0.2}, sensors=True, throttling=True), NAMES
            ),
            "Throttled: the processor slowed itself down",
        ),
    ],
)
def test_every_verdict_has_its_sentence(made: Any, words: str, write: Write) -> None:
    assert re.search(words, text_of(write(made()).html))


def test_the_page_shows_what_the_record_holds(write: Write) -> None:
    page = write(win(blocks=40, parts={"copy_in": 3e-5, "engine": 1.2e-3, "copy_out": 2e-5}))
    shown = text_of(page.html)
    for found_row in page.record["rows"]:
        for key in ("latency_s", "p90_s"):
            value, low, high = (1e3 * found_row[key][name] for name in ("value", "low", "high"))
            found = re.findall(r"([\d.]+) ms \[([\d.]+), ([\d.]+)\]", shown)
            assert any(
                all(abs(float(a) - b) < 6e-4 for a, b in zip(one, (value, low, high), strict=True))
                for one in found
            ), (key, value)
        assert f"{1e3 * found_row['p99_bound_s']:.3g} ms" in shown
        assert found_row["p99_s"] is None  # 160 calls of a process are too few
        assert f"{found_row['size_bytes'] / 1e3:.3g} kB" in shown
    assert "too few calls" in shown
    assert "Not measured: clock, temperature of the machine." in shown
    for part in ("copy in", "engine", "copy out"):
        assert part in shown


def test_a_bound_never_stands_in_the_column_of_the_percentile(write: Write) -> None:
    html = write(win(blocks=40)).html
    cells = re.findall(r'data-label="([^"]*)"><span>(.*?)</span></td>', html)
    titles = [title for title, _ in cells]
    assert titles.count("p99") == titles.count("p99 (early-stopping bound)") == 2
    assert [text for title, text in cells if title == "p99"] == ["too few calls"] * 2
    assert all("ms" in text for title, text in cells if title == "p99 (early-stopping bound)")


def test_intervals_stand_where_the_numbers_say(write: Write) -> None:
    """Three intervals by hand on the axis: log 2 right of 1 is as far as log 1/2 left of it."""
    half, two = Estimate(0.5, 0.4, 0.625, 6), Estimate(2.0, 1.6, 2.5, 6)
    rows = [Speedup("a", half, "slower", "slower"), Speedup("b", two, "faster", "faster")]
    chart = comparison(rows, reference="r", floor=0.05)
    wide, narrow = (ElementTree.fromstring(s) for s in re.findall(r"<svg.*?</svg>", chart, re.S))
    for image in (wide, narrow):
        one = at(of_class(image, "one")[0], "x1")
        slower, faster = (at(node, "cx") for node in of_class(image, "mark"))
        assert faster - one == pytest.approx(one - slower, abs=0.05)
        unit = (faster - one) / math.log(2)
        bars = [bar for bar in of_class(image, "bar") if "end" not in bar.get("class", "").split()]
        ends = [(at(bar, "x1"), at(bar, "x2")) for bar in bars]
        expected = [(0.4, 0.625), (1.6, 2.5)]
        for drawn, values in zip(ends, expected, strict=True):
            assert drawn == pytest.approx([one + unit * math.log(v) for v in values], abs=0.1)
        band = of_class(image, "floor")[0]
        edges = (at(band, "x"), at(band, "x") + at(band, "width"))
        assert edges == pytest.approx(
            [one - unit * math.log(1.05), one + unit * math.log(1.05)], abs=0.1
        )


def test_an_interval_of_two_processes_does_not_press_the_others_flat() -> None:
    wild = Speedup("wild", Estimate(1.0, 1e-9, 1e9, 2), "no-difference", "no difference")
    chart = comparison([wild], reference="r", floor=0.01)
    image = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", chart, re.S)[0])
    assert len([n for n in of_class(image, "bar") if "end" in n.get("class", "")]) == 0
    assert "0.1x" in "".join(image.itertext())


def test_every_block_is_drawn_and_every_event_stands_at_its_time(write: Write) -> None:
    result = unsteady()
    page = write(result)
    image = page.charts[2]
    dots = sum(node.get("d", "").count("M") for node in of_class(image, "dots"))
    assert dots == 3 * 6 * 16  # two files and their ratio
    events = of_class(image, "event")
    ticks = [
        n for n in of_class(image, "tick") if n.get("y") == of_class(image, "tick")[-1].get("y")
    ]
    (zero, first), (one, last) = [(at(n, "x"), float(n.text or "")) for n in (ticks[0], ticks[-1])]
    for event in events:
        at_s = first + (at(event, "x1") - zero) / (one - zero) * (last - first)
        sample = result.session.measurements[1].runs[3].samples[0].at_s
        start = min(r.samples[0].at_s for m in result.session.measurements for r in m.runs)
        assert at_s == pytest.approx(sample - start, abs=0.1)
    assert len(events) == 2
    assert [(n.text or "")[:8] for n in of_class(image, "event-text")] == ["1 step +", "2 step +"]
    rows = [node.text for node in of_class(image, "row")]
    assert rows[-3:] == ["clock, GHz", "temperature, °C", "steal time, % of a core"]


def test_blocks_without_samples_are_drawn_over_the_seconds_of_calls(write: Write) -> None:
    result = win()
    every = (*result.session.measurements, result.session.twin)
    bare = [replace(m, runs=tuple(replace(r, samples=()) for r in m.runs)) for m in every]
    session = replace(result.session, measurements=tuple(bare[:-1]), twin=bare[-1])
    shown = text_of(write(replace(result, session=session)).html)
    assert "seconds of calls" in shown
    assert "Not measured: clock, temperature, steal time of the machine." in shown


def test_a_fixed_rate_is_said_and_the_next_call_drawn(write: Write) -> None:
    page = write(win(rate_hz=300.0))
    shown = text_of(page.html)
    assert "Fixed rate: a call every 3.33 ms (300 per second)" in shown
    image = page.charts[1]
    due = at(of_class(image, "limit")[0], "x1")
    medians = [at(node, "x1") for node in of_class(image, "median")]
    # On a logarithmic axis: from 1.24 to 2.31 ms as log(2.31 / 1.24), on to 3.33 ms.
    unit = (medians[0] - medians[1]) / math.log(2.31 / 1.24)
    assert due - medians[0] == pytest.approx(unit * math.log(1e3 / 300 / 2.31), rel=0.05)
    assert "Late calls" in shown


def test_each_process_has_its_line_below_the_ridge(write: Write) -> None:
    image = write(win()).charts[1]
    lines = of_class(image, "process")
    assert [node.get("d", "").count("M") for node in lines] == [6, 6]


def test_no_path_and_no_host_leaves_the_machine(write: Write) -> None:
    result = result_of(
        Drawn((2e-3, 1e-3)), NAMES, unavailable={"cuda": "no /usr/lib/secret/libcudnn.so here"}
    )
    twice = tuple(replace(r, label=f"{r.file}, 2 threads") for r in result.rows)
    html = write(replace(result, rows=twice)).html
    for word in ("/home", "someone", "secret", "/usr/lib"):
        assert word not in html
    assert "student.int8.onnx, 2 threads" in html
    assert "real.npz" in html


def test_equal_names_in_two_folders_are_numbered(write: Write) -> None:
    result = result_of(Drawn((2e-3, 1e-3)), ["one/m.onnx", "two/m.onnx"])
    rows = tuple(replace(row, label=str(row.file)) for row in result.rows)
    assert "m.onnx (2) is 1.9" in text_of(write(replace(result, rows=rows)).html)


def test_hostile_names_stay_text(write: Write) -> None:
    names = ["<img src=x onerror=alert(1)>.onnx", '"></title><script>alert(2)</script>.onnx']
    page = write(result_of(Drawn((2e-3, 1e-3)), names))
    assert "<img" not in page.html
    assert page.html.count("<script") == 1
    assert [row["label"] for row in page.record["rows"]] == names


def test_raw_seconds_stay_out_where_they_would_be_too_many(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(win()).record["session"]["measurements"][0]["runs"][0]
    assert [np.median(block) for block in run["blocks_s"]] == run["block_medians_s"]
    monkeypatch.setattr("edgekd.report.bench.page.MOST_RAW_BYTES", 1000)
    small = write(win()).record["session"]["measurements"][0]["runs"][0]
    assert small["blocks_s"] is None
    assert small["block_medians_s"] == run["block_medians_s"]


def test_equal_results_give_equal_bytes(write: Write) -> None:
    assert write(unsteady()).html == write(unsteady()).html


def test_the_browser_shows_it_and_asks_nobody(write: Write, browse: Any, watch: Any) -> None:
    page = write(unsteady())
    dom = browse(page.path, "--dump-dom", *watch.options)
    assert watch.foreign() == []
    assert "is not decided" in text_of(dom)
    assert [row["verdict"] for row in page.record["rows"]] == ["", "no steady state"]


@pytest.mark.parametrize("width", [390, 761, 1280])
def test_the_page_fits_and_can_be_read(write: Write, measured: Any, width: int) -> None:
    long = "averyverylongnamewithoutanyblankinitatall" * 2
    parts = {"preprocess": 2e-4, "engine": 1e-3}
    result = result_of(Drawn((2e-3, 1e-3, 3e-4), step={1: 0.2}, parts=parts), [long, *NAMES])
    found = measured(write(result).path, width)
    assert found["scroll"] <= width
    assert found["charts"] == 4  # one of each pair is shown
    assert found["letters"] >= 11
    assert found["small"] >= 11


def suite() -> SuiteResult:
    models = (
        ModelResult("a convnet", "random weights", win()),
        ModelResult("<b>an encoder</b>", "", unsteady()),
    )
    refused = {"lost": "/home/someone/lost.onnx is no file"}
    return SuiteResult("What it costs", {}, models, refused, datetime.date(2026, 11, 28))


def test_a_suite_is_a_table_and_every_session(tmp_path: Path) -> None:
    found = suite()
    write_suite(found, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    shown = text_of(page.html)
    for cells in found.cells():
        assert all(cell in shown for cell in cells)
    assert shown.count("What it costs") == 2  # the window's title and the page's
    assert " 2026-11-28, AMD EPYC 7B13, 2 of 64 cores, onnxruntime" in shown
    assert "secret" not in page.html
    assert "a convnet: random weights" in shown
    assert "lost: not timed: lost.onnx is no file" in shown
    assert "faster [" in shown
    assert "is not decided" in shown
    assert page.html.count("<article>") == 2
    assert len(page.charts) == 6
    assert "/home" not in page.html
    assert "<b>" not in page.html
    names = [one["name"] for one in page.record["sessions"]]
    assert names == ["a convnet", "<b>an encoder</b>"]
    assert page.record["overview"]["rows"] == [list(cells) for cells in found.cells()]


def against(*verdicts: Any, sessions: Sequence[BenchResult] = ()) -> BaselineResult:
    moment = datetime.datetime(2026, 11, 1, 8, 30, tzinfo=datetime.UTC)
    entry = Entry(
        id=1,
        name="main",
        stored_at=moment,
        edgekd="0.1.0",
        rate_hz=None,
        feeds="random",
        feeds_sha256=None,
        rows=(),
    )
    then, now = Estimate(1e-3, 0.99e-3, 1.01e-3, 6), Estimate(1.2e-3, 1.19e-3, 1.21e-3, 6)
    rows = tuple(
        Comparison(
            label=f"/home/someone/{number}.onnx",
            file=Path("m"),
            stored="m.onnx",
            method="side by side",
            before_s=then,
            now_s=now,
            speedup=Estimate(0.833, 0.81, 0.85, 6),
            verdict=verdict,
        )
        for number, verdict in enumerate(verdicts)
    )
    return BaselineResult(entry, rows, tuple(sessions))


def test_a_comparison_with_a_baseline_says_first_what_is_slower(tmp_path: Path) -> None:
    found = against("slower", "no difference", sessions=[win(), win()])
    write_baseline(found, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    shown = text_of(page.html)
    assert "1 of 2 proven slower than main" in shown
    assert "Stored 2026-11-01 08:30 UTC." in shown
    assert "0.833x [0.810, 0.850]" in shown
    assert "A/A floor of each session" in shown
    assert [one["name"] for one in page.record["sessions"]] == [
        "Session 1 of 2",
        "Session 2 of 2",
    ]
    assert "/home" not in page.html
    assert "secret" not in page.html


def test_a_file_that_is_unchanged_needs_no_session(tmp_path: Path) -> None:
    write_baseline(against("unchanged"), tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert "Nothing is proven slower than main" in text_of(page.html)
    assert page.html.count("<article>") == 0


@pytest.mark.parametrize(
    ("verdicts", "broken", "title"),
    [
        (("slower", "undecided"), ("size",), "1 of 2 proven slower than main; also worse: size"),
        (("undecided",), ("size", "memory"), "Worse than main: size, memory"),
        (("faster", "undecided"), (), "Could not tell whether it is worse than main"),
    ],
)
def test_the_title_follows_the_exit_code(
    tmp_path: Path, verdicts: tuple[str, ...], broken: tuple[str, ...], title: str
) -> None:
    limits = tuple(
        Limit(label="m", what=what, before="", now="", allowed="", verdict="failed")
        for what in broken
    )
    write_baseline(replace(against(*verdicts), limits=limits), tmp_path / "page.html")
    assert title in text_of(Page(tmp_path / "page.html").html)


def test_raw_seconds_of_many_sessions_share_one_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each session has 18 processes of 64 calls: 25 kB at most."""
    monkeypatch.setattr("edgekd.report.bench.page.MOST_RAW_BYTES", 30_000)
    write_baseline(against("slower", sessions=[win()]), tmp_path / "one.html")
    write_baseline(against("slower", sessions=[win(), win()]), tmp_path / "two.html")
    for name, kept in (("one", True), ("two", False)):
        for one in Page(tmp_path / f"{name}.html").record["sessions"]:
            run = one["session"]["measurements"][0]["runs"][0]
            assert (run["blocks_s"] is not None) is kept


@pytest.mark.parametrize("width", [390, 1280])
def test_several_sessions_fit_and_ask_nobody(
    tmp_path: Path, measured: Any, browse: Any, watch: Any, width: int
) -> None:
    write_suite(suite(), tmp_path / "page.html")
    found = measured(tmp_path / "page.html", width)
    assert found["scroll"] <= width
    assert min(found["letters"], found["small"]) >= 11
    browse(tmp_path / "page.html", "--dump-dom", *watch.options)
    assert watch.foreign() == []


@pytest.mark.timing
def test_a_real_session_with_its_operators(tmp_path: Path, measured: Any) -> None:
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in "xy")
    w = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["h"], name="product")]
    nodes.append(onnx.helper.make_node("Relu", ["h"], ["y"]))
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [w])
    opset = onnx.helper.make_opsetid("", 18)
    model = tmp_path / "m.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), model)
    timing = Timing(rounds=3, blocks=3, block_s=0.002, warmup_s=0.002, parts=True)
    result = bench([model], device=open_device("local"), timing=timing)
    found = profile(Candidate(model, feeds_of(tmp_path)))
    peaks = Peaks(1, "onnxruntime", {"MatMul": 5e10}, {"MatMul": 1e11}, (Bandwidth(1 << 20, 1e10),))
    path = tmp_path / "page.html"
    write_bench(result, path, profiles=[("m.onnx", found, roofline(found, peaks))])
    shown = text_of(path.read_text(encoding="utf8"))
    for word in ("m.onnx", "MatMul", "Of the limit", "End to end", "copy in", "A/A"):
        assert word in shown
    assert str(tmp_path) not in path.read_text(encoding="utf8")
    assert Page(path).record["profiles"][0]["profile"]["calls"] == found.calls
    assert measured(path, 390)["scroll"] <= 390


def feeds_of(folder: Path) -> Path:
    save_feeds(folder / "f.npz", {"x": np.ones((2, 1, 64), np.float32)})
    return folder / "f.npz"
