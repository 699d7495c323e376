"""The page shows what is in the record, nothing else, and is the same each time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edgekd.cli.report import report
from edgekd.errors import RunFolderError
from edgekd.evaluation.privacy import shareable
from edgekd.evaluation.record import from_json
from edgekd.report.run import write
from edgekd.report.run.notebook import as_html, as_text
from edgekd.report.run.sections import not_kept, rows
from edgekd.report.run.write import rebuild, write_report

Content = dict[str, Any]
HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'


def page(content: Content, *, samples: bool = True) -> str:
    """The page of a record that was read from JSON."""
    return write.page(from_json(content), samples=samples)


def test_every_figure_of_the_record_is_shown(content: Content, read: Any, expected: Any) -> None:
    text = read(page(content)).text
    missing = [figure for figure in expected(content) if figure not in text]
    assert not missing


def test_the_ladder_has_a_row_for_every_stage_and_preview(content: Content) -> None:
    ladder = page(content).partition("<tbody")[2].partition("</table>")[0]
    kinds = re.findall(r'<tr role="row" class="([a-z ]+)"', ladder)
    assert kinds == [
        *("own", "preview") * 3,
        *("own rolled", "preview rolled"),
        "own ships",
    ]


def test_each_quantized_file_of_the_bundle_says_what_is_not_int8(
    content: Content, read: Any
) -> None:
    text = " ".join(read(page(content)).text.split())
    assert "What runs in INT8" in text
    table = text.partition("What runs in INT8")[2].partition("Predictions")[0]
    assert "ONNX Runtime on this CPU" in table
    assert "18 of 20" in table
    assert "warning (2: act.Tanh, act_1.Tanh): ONNX Runtime has no 8-bit Tanh" in table
    assert "Fix: take the Q/DQ pairs" in table
    assert "the input is float" not in table  # a note
    for rung in content["rungs"]:
        rung["lint"] = {}
    assert "What runs in INT8" not in page(content)


def test_a_reference_that_is_no_float32_file_is_called_what_it_is(
    content: Content, read: Any
) -> None:
    """A file of float16 that was given keeps the file name of the reference, model.fp32.onnx."""
    teacher = content["rungs"][0]
    teacher["lint"] = {"fp32": {**content["rungs"][-1]["lint"]["int8"], "int8_layers": 0}}
    assert "teacher fp32" in " ".join(read(page(content)).text.split())
    for file in teacher["evidence"]["files"]:
        file["facts"]["float_type"] = "float16"
    text = " ".join(read(page(content)).text.split())
    assert "teacher fp32" not in text
    for heading in ("What runs in INT8", "The kept files side by side", "The test split"):
        assert "teacher float16" in text.partition(heading)[2], heading


def test_the_record_can_be_read_from_the_page(content: Content, read: Any) -> None:
    content["task"]["labels"][0] = f"{HOSTILE} <!-- & \u2028"
    assert json.loads(read(page(content)).record) == shareable(from_json(content)).to_json()


def test_equal_records_give_equal_bytes(content: Content, tmp_path: Path) -> None:
    shuffled = dict(reversed(content.items()))
    assert page(content) == page(shuffled) == page(json.loads(json.dumps(content)))
    write_report(from_json(content), tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    assert rebuild(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_bytes() == first


def test_both_files_are_written_and_nothing_else(content: Content, tmp_path: Path) -> None:
    write_report(from_json(content), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]
    text = (tmp_path / "report.json").read_text(encoding="utf8")
    assert json.loads(text) == content  # whole, paths too: this file stays with the run
    assert text == json.dumps(content, indent=1, sort_keys=True) + "\n"


def test_hostile_text_stays_text(content: Content, read: Any) -> None:
    content["name"] = content["rungs"][3]["title"] = content["data"]["licence"] = HOSTILE
    content["rungs"][3]["reasons"] = [HOSTILE]
    content["data"]["skipped"] = [HOSTILE]
    content["changes"]["classes"][0]["label"] = HOSTILE
    content["changes"]["samples"][0].update(label=HOSTILE, teacher=HOSTILE, shipped=HOSTILE)
    found = read(page(content))
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not [at for _, at in found.tags if "onerror" in at or at.get("src") == "x"]
    assert found.text.count('<script>alert("x")</script>') > 6


@pytest.mark.parametrize(
    "image",
    [
        "https://tracker.example/x.png",
        "data:image/svg+xml;base64,PHN2Zz4=",
        'data:image/png;base64,AAAA" onerror="alert(1)',
        "data:image/png;base64,AAAA\n",
    ],
)
def test_only_a_png_inside_the_page_is_an_image(content: Content, read: Any, image: str) -> None:
    content["changes"]["samples"] = content["changes"]["samples"][:1]
    content["changes"]["samples"][0]["image"] = image
    assert "img" not in [tag for tag, _ in read(page(content)).tags]


def test_the_page_asks_for_nothing_outside_itself(content: Content, read: Any) -> None:
    html = page(content)
    found = read(html)
    asked = [at[k] or "" for _, at in found.tags for k in ("src", "href", "srcset") if k in at]
    assert len(asked) == len(content["changes"]["samples"])
    assert all(url.startswith("data:image/png;base64,") for url in asked)
    assert not re.search(r"url\(|@import|https?://", html)
    assert "default-src 'none'" in html


def test_nothing_tells_where_or_by_whom_it_was_made(content: Content) -> None:
    html = page(content)
    assert not re.search(r"alice|/home/|/srv/|my data", html)
    assert "edgekd compress cifar10.toml --out cifar10" in html


def test_a_record_is_cleaned_to_its_depths_and_samples_stay(content: Content) -> None:
    content["rungs"][1]["history"] = [{"weights": "/home/alice/w.pt", "/home/alice/key": 1}]
    content["changes"]["samples"][0]["text"] = "look at /etc/passwd"
    clean = shareable(from_json(content)).to_json()
    assert clean["rungs"][1]["history"] == [{"weights": "w.pt", "key": 1}]
    assert clean["changes"] == content["changes"]
    assert clean["recipe"]["data"]["path"] == "cifar10"
    del clean["changes"]
    assert not re.search(r"alice|/srv", json.dumps(clean))


def test_the_headline_says_what_was_achieved(content: Content, read: Any) -> None:
    headline = read(page(content).partition("<h1>")[2].partition("</h1>")[0]).text
    assert headline == (
        "quantize (int8) is 71x smaller and 11.82x faster [11.59, 12.06] than the teacher, "
        "and loses 2.80 points [2.39, 3.21] of top-1 on the test split."
    )


@pytest.mark.parametrize(
    ("speed", "words"),
    [
        (
            (0.99, 0.97, 1.02),
            "than the teacher, with no difference in speed shown (0.99x [0.97, 1.02]), and loses",
        ),
        ((0.5, 0.4, 0.8), "and 2.00x slower [1.25, 2.50] than the teacher, and loses"),
    ],
)
def test_a_gain_that_is_not_there_is_not_claimed(
    content: Content, read: Any, speed: tuple[float, float, float], words: str
) -> None:
    ships = content["final"]["files"][content["final"]["chosen"]]
    ships["speedup"] |= dict(zip(("value", "low", "high"), speed, strict=True))
    assert words in read(page(content)).text


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (
            (4.0, -2.6, 10.29),
            "with no difference in top-1 shown on the test split (+4.00 [-2.60, +10.29] points).",
        ),
        ((0.0, -0.3, 0.3), "with no difference in top-1 shown on the test split (+0.00 [-0.30"),
        ((4.0, 0.6, 10.29), "and gains 4.00 points [0.60, 10.29] of top-1 on the test split."),
        ((0.0, 0.0, 0.0), "and loses no points"),
    ],
)
def test_a_change_is_claimed_only_if_its_interval_leaves_out_none(
    content: Content, read: Any, gain: tuple[float, float, float], words: str
) -> None:
    for file in content["test"]["files"]:
        file["gain"] |= dict(zip(("value", "low", "high"), gain, strict=True))
    headline = read(page(content).partition("<h1>")[2].partition("</h1>")[0]).text
    assert words in headline


def test_files_beside_the_one_that_ships_are_told_with_their_device(
    content: Content, read: Any
) -> None:
    """The teacher ships, since INT8 is slower here; INT8 is for a phone that is not here."""
    final = content["final"]
    last = len(final["files"]) - 1
    final |= {"chosen": 0, "bundled": [0, last]}
    slower = {"value": 0.5, "low": 0.4, "high": 0.8}
    for file in final["files"][1:]:
        file["speedup"] |= slower
    content["rungs"][-1]["rulings"][-1]["not_measured_on"] = "pixel-8"
    content["changes"] = None
    text = read(page(content)).text
    assert "none is proven faster than the teacher." in text
    assert "none is smaller" not in text
    assert "Also in the bundle: quantize (int8): 190 kB, 71x smaller than what ships; on " in text
    assert "2.00x slower [1.25, 2.50] (against the teacher); not measured on pixel-8." in text
    assert "kept, not measured on pixel-8" in text


def test_a_metric_without_a_unit_makes_a_sentence(content: Content, read: Any) -> None:
    content["task"]["metrics"][0] |= {"unit": "", "is_percentage": False}
    assert "and loses 2.80 [2.39, 3.21] of top-1 on the test split." in read(page(content)).text


def test_a_metric_whose_name_looks_like_a_path_is_shown(content: Content) -> None:
    text = json.dumps(content).replace('"top-1"', '"F1 /macro"')
    assert "F1 macro" in page(json.loads(text))


def test_no_stage_that_paid_is_said_first(make: Callable[..., Content], read: Any) -> None:
    text = read(page(make(titles=("teacher", "prune 2")))).text
    assert "No stage paid on this device: the teacher ships unchanged." in text
    assert "The teacher itself ships, so no prediction changed." in text


def test_unmeasured_is_never_a_number(make: Callable[..., Content], read: Any) -> None:
    html = page(make(timed=False))
    text = read(html).text
    assert "This device is emulated" in text
    assert "its speed was not measured" in text
    assert text.count("not measured") > 20
    assert not re.search(r"\b0(\.0+)? ?(µs|ms|x)\b|None|nan", text)
    assert "<svg" not in html


def test_a_missed_budget_stands_above_all(content: Content, read: Any) -> None:
    assert "banner" not in page(content).partition("<h1>")[0].partition("<body>")[2]
    content["over_budget"] = "0.1 ms at most were requested; quantize takes 0.12 ms"
    content["budget"]["max_drop"] = 2.0
    top = read(page(content).partition("<h1>")[0]).text
    assert "Latency budget missed: 0.1 ms at most were requested" in top
    assert "Quality budget missed on the test split: 2.80 points lost, 2 allowed." in top


def test_many_classes_are_cut_to_those_that_changed_most(content: Content, read: Any) -> None:
    content["changes"]["classes"] = [
        {"label": f"class {i:03d}", "samples": 50, "teacher": 80.0, "shipped": 80.0 + i / 10 - 5}
        for i in range(100)
    ]
    html = page(content)
    shown, _, folded = html.partition("All 100 classes")
    assert "class 000" in shown
    assert "class 099" in shown
    assert "class 050" not in shown
    assert folded.count("class 050") == 2  # the folded table and the record


def test_text_samples_are_shown_as_text(content: Content, read: Any) -> None:
    for sample in content["changes"]["samples"]:
        sample["image"] = None
        sample["text"] = "slow & <b>long</b>, see /etc/motd"
    text = read(page(content)).text
    assert text.count("slow & <b>long</b>, see /etc/motd") == len(content["changes"]["samples"])


def test_samples_can_be_left_out_for_their_licence(content: Content, read: Any) -> None:
    html = page(content, samples=False)
    assert "data:image/png;base64" not in html
    assert "They are left out of this copy" in read(html).text
    assert content["changes"]["samples"]  # the record itself is not changed


def test_no_change_has_words(content: Content, read: Any) -> None:
    content["changes"].update(changed=0, samples=[])
    assert "None of the 10,000 test samples changed its answer." in read(page(content)).text
    content["changes"] = None
    assert "Change per class is shown for tasks with" in read(page(content)).text


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no report\.json .*`edgekd compress`"):
        rebuild(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', "\udcff"])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("utf8", "surrogateescape"))
    with pytest.raises(RunFolderError, match="cannot be read as the record"):
        rebuild(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        (("final", "chosen"), 9, "file 9 ships, of 4"),
        (("rungs", 0, "evidence"), None, "the first rung is the teacher"),
        (("rungs", 1, "evidence", "findings"), [], r"the variants \[\] are judged"),
        (("rungs", 1, "rulings"), [], "distill lacks a ruling"),
        (("rungs", 1, "outcome"), "lost", r"rungs\.1\.outcome: Input should be 'kept'"),
        (("rungs", 1, "outcome"), "rolled back", "figures of distill, which was not measured"),
        (("rungs", 1, "evidence", "files", 0, "facts", "macs"), "many", "facts.macs"),
        (("test", "files", 0, "metrics"), {}, "a file lacks the metric top-1"),
        (("final", "files", 2, "p90_s"), None, "figures of prune, which was not measured"),
        (("task", "metrics"), [], "a task has at least one metric"),
        (("final", "elsewhere", 0, "best"), 7, "file 7 is best there, of 4"),
        (("final", "elsewhere", 0, "files"), [], "other files were measured on local, openvino"),
    ],
)
def test_parts_of_a_record_that_do_not_belong_together_are_named(
    content: Content, tmp_path: Path, place: tuple[Any, ...], value: Any, fault: str
) -> None:
    part: Any = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (tmp_path / "report.json").write_text(json.dumps(content), encoding="utf8")
    with pytest.raises(RunFolderError, match=fault):
        rebuild(tmp_path)


def test_a_skipped_stage_stands_in_the_ladder_with_its_reason(
    make: Callable[..., Content], read: Any
) -> None:
    content = make(titles=("teacher", "distill", "merge", "quantize"))
    html = page(content)
    ladder = html.partition("<tbody")[2].partition("</table>")[0]
    kinds = re.findall(r'<tr role="row" class="([a-z ]+)"', ladder)
    assert kinds == ["own", "preview", "own", "preview", "own rolled", "own ships"]
    assert read(html).text.count("it removes nothing") == 2
    record = from_json(content)
    assert "merge skipped: it removes nothing" in as_text(record)
    assert "<s>merge</s>" in as_html(record)


def test_a_further_device_is_shown_with_what_does_not_run_there(
    content: Content, read: Any
) -> None:
    text = read(page(content)).text
    section = text.partition("On local, openvino, 2 threads")[2].partition("Conditions")[0]
    assert "Here prune fp32 would ship" in section
    assert "2.00 ms [" in section
    assert "there is no QLinearConv <here>" in section
    closing = " ".join(as_text(from_json(content)).split())
    assert "on local, openvino, 2 threads it does not run (the model could not" in closing
    assert "prune (fp32) would ship there: 2.00 ms [" in closing


def test_a_dropped_variant_stands_beside_the_one_that_was_kept(content: Content) -> None:
    rung = content["rungs"][-1]
    evidence, name = rung["evidence"], "int8-xnnpack"
    evidence["files"].append({**evidence["files"][-1], "label": name, "variant": name})
    evidence["findings"].append({**evidence["findings"][0], "variant": name})
    ruling = {"variant": name, "kept": False, "reasons": ["slower"], "numbers": "2.00x slower"}
    rung["rulings"].append(ruling)
    record = from_json(content)
    states = [(r.label, r.state, r.reasons) for r in rows(record) if r.title == "quantize"]
    assert states == [("int8", "kept", ()), (name, "dropped", ("slower",))]
    assert not_kept(record)[-1].title == f"quantize {name}"
    assert re.search(rf"quantize {name} .* dropped", as_text(record))
    assert f"<s>quantize {name}</s>" in as_html(record)
    html = page(content)
    assert '<span class="pill dropped">dropped</span> <span class="why">slower</span>' in html
    for finding in evidence["findings"]:  # of the usual pair, which has no name
        finding["compared"] = ["fp32", "fp32"]
    assert not re.search(r", ?</dd>", page(content))


def test_the_command_builds_the_page_again(content: Content, tmp_path: Path) -> None:
    write_report(from_json(content), tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    (tmp_path / "report.html").unlink()
    app = typer.Typer()
    app.command()(report)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.html").read_bytes() == first


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_stand_out_in_both_themes(theme: str) -> None:
    css = (Path(write.__file__).parents[1] / "style.css").read_text(encoding="utf8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light if theme == "light" else dark))
    on_paper = [(name, "paper") for name in ("ink", "soft", "mute", "accent", "bad", "warn")]
    pills = [(f"{name}", f"{name}-soft") for name in ("accent", "bad", "warn")]
    for front, back in [*on_paper, *pills, ("soft", "panel"), ("paper", "accent")]:
        dim, bright = sorted(luminance(colours[name]) for name in (front, back))
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (front, back)
