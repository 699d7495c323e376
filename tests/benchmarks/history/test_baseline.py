from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from edgekd.benchmarks.bench import Inputs, bench
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.history.baseline import against
from edgekd.benchmarks.history.comparison import (
    BaselineResult,
    Comparison,
    Verdict,
    concluded,
    settled,
    verdict_of,
)
from edgekd.benchmarks.history.guard import Guard
from edgekd.benchmarks.history.store import History
from edgekd.benchmarks.history.table import baseline_table, list_table, trend_table
from edgekd.benchmarks.measurement import Session, Setup, Timing
from edgekd.benchmarks.result import BenchResult
from edgekd.benchmarks.stats import Estimate, Event, Steadiness
from edgekd.benchmarks.stats.events import Kind
from edgekd.devices import open_device
from edgekd.errors import CouldNotTell, DataError, HistoryError, WorseThanBaseline

Save = Callable[..., Path]
Timed = Callable[..., BenchResult]

QUICK = Timing(rounds=3, blocks=4, block_s=0.003, warmup_s=0.003)
LOCAL = open_device("local")
MEANT = Guard(unlike_names=True)
MS = [1.0e-3, 1.01e-3, 0.99e-3]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "h.sqlite")


def shown(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return " ".join(capture.get().split())  # captions are folded


@pytest.mark.timing
def test_a_heavier_model_is_proven_slower(history: History, chain: Save, tmp_path: Path) -> None:
    model, heavy = chain("m.onnx", layers=8), tmp_path / "new" / "m.onnx"
    result = bench([model], device=LOCAL, timing=QUICK)
    history.store(result, name="main")
    stored = model.read_bytes()
    chain("m.onnx", layers=80)  # the user goes on working on the same file
    heavy.parent.mkdir()
    model.rename(heavy)
    shares: list[float] = []
    found = against(history, "main", [heavy], device=LOCAL, timing=QUICK, progress=shares.append)
    (row,) = found.rows
    assert (row.method, row.stored, row.file) == ("side by side", "m.onnx", heavy)
    assert row.speedup is not None
    assert row.speedup.high < 0.5
    assert row.before_s is not None
    assert row.now_s is not None
    assert row.before_s.value < row.now_s.value
    assert row.verdict == "slower"
    assert 2 <= len(found.sessions) <= 3  # it was confirmed
    with pytest.raises(WorseThanBaseline, match="slower than the baseline 'main'"):
        found.check()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    text = shown(baseline_table(found))
    for word in ("against main, stored", "m.onnx", "interleaved with the new one", row.verdict):
        assert word in text
    document = json.loads(json.dumps(found.to_json()))
    assert document["proven_slower"] is True
    session = Session.from_json(document["sessions"][0]["session"])
    assert session == found.sessions[0].session

    # what the copy was for: bytes equal to the stored ones were not changed by anybody
    model.write_bytes(stored)
    same = against(history, "main", [model], device=LOCAL, timing=QUICK)
    assert [row.verdict for row in same.rows] == ["unchanged"]
    assert same.sessions == ()
    assert not same.proven_slower
    same.check()
    assert "all recorded conditions are the same as for the baseline" in shown(baseline_table(same))


@pytest.mark.timing
def test_equal_bytes_under_other_conditions(history: History, chain: Save, timed: Timed) -> None:
    model = chain("m.onnx")
    here = LOCAL.conditions(Setup())
    old = replace(here, runtime="onnxruntime 0.1")
    history.store(timed((model, MS), at=old), name="main")
    history.store(timed((model, MS), at=replace(old, cpu="another one")), name="elsewhere")
    found = against(history, "main", [model], device=LOCAL, timing=QUICK)
    assert [row.verdict for row in found.rows] == ["undecided"]
    assert "1 steady stored session, 3 needed" in found.rows[0].reason
    assert found.notes == (f"conditions have changed: onnxruntime 0.1 then, {here.runtime} now",)
    found = against(history, "elsewhere", [model], device=LOCAL, timing=QUICK)
    assert "another machine" in found.rows[0].reason
    assert "stored on another machine (another one, " in shown(baseline_table(found))
    with pytest.raises(CouldNotTell, match=r"m\.onnx: undecided \(the baseline was stored on an"):
        found.check()


@pytest.mark.timing
def test_setups_have_counterparts_and_stored_feeds_are_used(
    history: History, chain: Save, timed: Timed, tmp_path: Path
) -> None:
    a, b, feeds = chain("a.onnx"), chain("b.onnx", layers=3), tmp_path / "f.npz"
    save_feeds(feeds, {"x": np.ones((2, 8, 128), np.float32)})
    inputs = Inputs(feeds)
    history.store(timed((a, MS), (b, MS), feeds=str(feeds)), name="main")
    feeds.unlink()
    b = chain("b.onnx", layers=1)
    setups = [Setup(), Setup(threads=2)]
    found = against(history, "main", [b], device=LOCAL, timing=QUICK, setups=setups)
    assert [row.label for row in found.rows] == ["b.onnx, 1 thread", "b.onnx, 2 threads"]
    assert {(row.stored, row.method) for row in found.rows} == {("b.onnx", "side by side")}
    entry = history.latest("main")
    assert entry.feeds_sha256 is not None
    assert found.sessions[0].feeds == str(history.copy(entry.feeds_sha256))
    with pytest.raises(DataError, match="cannot be read"):
        against(history, "main", [b], device=LOCAL, timing=QUICK, inputs=inputs)


def test_who_is_compared_with_whom(history: History, chain: Save, timed: Timed) -> None:
    a, b, c = chain("a.onnx"), chain("b.onnx", layers=3), chain("c.onnx", layers=4)
    history.store(timed((a, MS), (b, MS)), name="main")
    for files in ([c], [], [a, b, c], [c, c]):
        with pytest.raises(
            HistoryError, match=r"contains a.onnx, b.onnx, and got .*--unlike-names"
        ):
            against(history, "main", files, device=LOCAL, timing=QUICK)
    with pytest.raises(HistoryError, match="contains no session 'dev'; it contains: main"):
        against(history, "dev", [a], device=LOCAL, timing=QUICK)
    for copy in history.files.rglob("*.onnx"):
        copy.write_bytes(b"damaged")
    with pytest.raises(HistoryError, match="was changed after it was stored"):
        against(history, "main", [c, c], device=LOCAL, timing=QUICK, guard=MEANT)


def row(verdict: Verdict, number: int = 0) -> Comparison:
    gain = Estimate(0.9, 0.85, 0.95, 6)
    now, before = Estimate(2e-3, 1.9e-3, 2.1e-3, 6), Estimate(1.8e-3, 1.7e-3, 1.9e-3, 6)
    file = Path(f"{number}.onnx")
    return Comparison(
        label=file.name,
        file=file,
        stored="old.onnx",
        method="side by side",
        before_s=before,
        now_s=now,
        speedup=gain,
        verdict=verdict,
    )


SLOWER: Verdict = "slower"
EQUAL: Verdict = "no difference"
UNSURE: Verdict = "no steady state"
TOLD: Verdict = "undecided"


@pytest.mark.parametrize(
    ("verdicts", "sessions", "end"),
    [
        ([EQUAL, SLOWER, SLOWER], 1, EQUAL),
        (["faster", SLOWER, SLOWER], 1, "faster"),
        ([TOLD, SLOWER, SLOWER], 1, TOLD),
        ([SLOWER, SLOWER, EQUAL], 2, SLOWER),
        ([SLOWER, EQUAL, SLOWER], 3, SLOWER),
        ([SLOWER, UNSURE, SLOWER], 3, SLOWER),
        ([SLOWER, EQUAL, EQUAL], 3, "not confirmed"),
        ([SLOWER, UNSURE, UNSURE], 3, "not confirmed"),
        ([UNSURE, SLOWER, SLOWER], 3, SLOWER),
        ([UNSURE, SLOWER, EQUAL], 3, "not confirmed"),
        ([UNSURE, EQUAL, SLOWER], 2, EQUAL),
        ([UNSURE, "throttled", SLOWER], 2, "throttled"),
    ],
)
def test_a_slow_down_is_confirmed(verdicts: Sequence[Verdict], sessions: int, end: str) -> None:
    done = next(n for n in itertools.count(1) if settled([[row(v)] for v in verdicts[:n]]))
    assert done == sessions
    (last,) = concluded([[row(v)] for v in verdicts[:done]])
    assert last.verdict == end
    if end == "not confirmed":
        assert last.reason == "1 of 3 sessions found it slower, 2 are needed"


def test_every_row_has_its_own_proof() -> None:
    found = [[row(SLOWER, 1), row(EQUAL, 2)], [row(SLOWER, 1), row(SLOWER, 2)]]
    assert not settled(found)  # the second row is not sure any more
    found.append([row(EQUAL, 1), row(EQUAL, 2)])
    assert settled(found)
    assert [r.verdict for r in concluded(found)] == [SLOWER, "not confirmed"]


def test_what_one_session_proves() -> None:
    def moved(*sizes: float, kind: Kind = "step", throttled: bool = False) -> Steadiness:
        events = tuple(Event(kind, 1.0, size, "") for size in sizes)
        return Steadiness(steady=False, events=events, throttled=throttled)

    calm, hot = Steadiness(steady=True), moved(0.4, kind="throttling", throttled=True)
    slow, fast = Estimate(0.7, 0.6, 0.8, 6), Estimate(1.2, 1.1, 1.3, 6)
    assert verdict_of(slow, calm, calm) == "slower"
    assert verdict_of(fast, calm, calm) == "faster"
    assert verdict_of(Estimate(0.9, 0.8, 1.0, 6), calm, calm) == "no difference"
    # 0.8 times 1.24 is less than 1; times 1.26 it is not, and 1 / 0.79 is 1.27
    for pair in ((calm, moved(0.1, 0.24)), (moved(-0.19), calm), (calm, moved(9, kind="warm-up"))):
        assert verdict_of(slow, *pair) == "slower"
    for pair in ((calm, moved(0.1, 0.26)), (moved(-0.21), calm), (moved(0.26), moved(0.1))):
        assert verdict_of(slow, *pair) == "no steady state"
    assert verdict_of(fast, calm, moved(0.01)) == "no steady state"
    assert verdict_of(slow, hot, calm) == "throttled"
    assert verdict_of(slow, Steadiness(steady=False, enough=False), calm) == "no steady state"


def test_a_proof_is_exit_code_1(history: History, chain: Save, timed: Timed) -> None:
    history.store(timed((chain("old.onnx"), MS)), name="main")
    found = BaselineResult(history.latest("main"), (row(SLOWER), row(EQUAL, 1)), ())
    assert found.proven_slower
    with pytest.raises(WorseThanBaseline) as caught:
        found.check()
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert "0.onnx takes 2.00 ms [1.90, 2.10] and took 1.80 ms [1.70, 1.90]" in message
    assert "0.90x [0.85, 0.95] the speed" in message
    assert "1.onnx" not in message
    calm = replace(found, rows=(row(EQUAL), row("slower, allowed"), row("unchanged")))
    calm.check()
    assert not calm.proven_slower


@pytest.mark.parametrize(
    "verdict", ["not confirmed", "undecided", "throttled", "no steady state", "too wide to tell"]
)
def test_what_could_not_be_told_is_exit_code_3(
    history: History, chain: Save, timed: Timed, verdict: Verdict
) -> None:
    history.store(timed((chain("old.onnx"), MS)), name="main")
    found = BaselineResult(history.latest("main"), (row(EQUAL), row(verdict, 1)), ())
    with pytest.raises(CouldNotTell, match=f"1.onnx: {verdict}") as caught:
        found.check()
    assert caught.value.exit_code == 3
    wanted, other = ("new baseline", "--time") if verdict == TOLD else ("--time", "new baseline")
    assert wanted in str(caught.value)
    assert other not in str(caught.value)
    with pytest.raises(WorseThanBaseline):  # a proof comes first
        replace(found, rows=(row(SLOWER), row(verdict))).check()


def test_a_tolerance_must_be_shown_to_hold() -> None:
    calm = Steadiness(steady=True)
    cases: list[tuple[tuple[float, float], Verdict]] = [
        ((0.90, 0.96), "slower"),  # 1 / 1.03 is 0.971
        ((0.95, 0.99), "too wide to tell"),
        ((0.95, 1.02), "too wide to tell"),
        ((0.98, 0.99), "slower, allowed"),
        ((0.98, 1.01), "no difference"),
        ((1.01, 1.02), "faster"),
    ]
    for (low, high), verdict in cases:
        middle = Estimate((low + high) / 2, low, high, 6)
        assert verdict_of(middle, calm, allow=0.03) == verdict
    assert not settled([[row("too wide to tell")]])  # it is measured again


def test_tables_over_time(history: History, chain: Save, timed: Timed) -> None:
    assert "nothing is stored" in shown(list_table(()))
    model = chain("[m].onnx")
    history.store(timed((model, MS)), name="main")
    history.store(timed((chain("[m].onnx", layers=4), [1.1 * s for s in MS])), name="main")
    history.store(timed((model, MS)), name="other")
    text = shown(list_table(history.entries()))
    assert text.count("[m].onnx") == 3
    assert text.count("other") == 1
    text = shown(trend_table(history.entries("main")))
    assert text.count("[m].onnx") == 1
    for word in ("main over time", "+10.0 %", "the file", "only --baseline"):
        assert word in text
