"""Two bundles beside each other: what is equal, what changed, and what is a regression."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekd.bundle.diff import diff
from edgekd.bundle.diff_parts import Difference, Line, OnData
from edgekd.bundle.sums import write_sums
from edgekd.cli.main import main
from edgekd.errors import BadInput
from edgekd.store import file_sha256

Copy = Callable[[str], Path]
Bundles = Callable[[str], Path]


def reseal(folder: Path) -> None:
    """Write hashes again after a change, as the maker of another bundle would."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for model in manifest["models"]:
        model["sha256"] = file_sha256(folder / model["file"])
    path.write_text(json.dumps(manifest))
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)


def change(folder: Path, **values: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    reseal(folder)


def scale_weights(folder: Path, factors: list[float]) -> None:
    """Multiply the classes of the float file, and let it be the one that ships."""
    path = folder / "model.fp32.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "weight":
            weight = numpy_helper.to_array(tensor) * np.array(factors, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(weight.astype(np.float32), "weight"))
    onnx.save(model, path)
    change(folder, shipped={"file": "model.fp32.onnx", "variant": "fp32"})


def compare(old: Path, new: Path, **more: Any) -> Difference:
    return diff(old, new, speed=False, **more)


def line(found: Difference, start: str) -> Line:
    (one,) = [one for one in found.lines if one.what.startswith(start)]
    return one


@pytest.mark.parametrize("kind", ["pixels", "planes", "text", "array"])
def test_a_bundle_is_equal_to_itself(kind: str, bundles: Bundles) -> None:
    found = compare(bundles(kind), bundles(kind))
    assert not found.regressions
    assert all("equal" in one.change for one in found.lines), found
    assert json.dumps(found.to_json())


def test_another_variant_changes_operators_and_size(bundles: Bundles, copy: Copy) -> None:
    other = copy("pixels")
    scale_weights(other, [1, 1, 1])
    found = compare(bundles("pixels"), other)
    assert line(found, "golden").change.startswith("same answers, differs by")
    assert "DequantizeLinear -" in line(found, "operators").change
    assert line(found, "preprocessing").change == "equal"


def test_other_answers_are_a_regression_until_labels_decide(
    bundles: Bundles, copy: Copy, tmp_path: Path
) -> None:
    other = copy("pixels")
    scale_weights(other, [-1, -1, -1])
    found = compare(bundles("pixels"), other)
    assert line(found, "golden").regression
    assert "--data with labels" in line(found, "golden").change
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 8, 6, 3), dtype=np.uint8)
    names = np.array(["cat", "dog", "a | b"])
    np.savez(tmp_path / "data.npz", x=images, y=names[generator.integers(0, 3, 60)])
    on = OnData(data="data.npz", task="classification", root=tmp_path)
    found = compare(bundles("pixels"), other, on=on)
    assert not line(found, "golden").regression
    assert line(found, "answers on the data").values["changed"] > 30
    top1 = line(found, "top-1")
    assert top1.regression == (top1.values["gain"]["high"] < 0)


def test_proven_loss_on_labels_is_a_regression(
    bundles: Bundles, copy: Copy, tmp_path: Path
) -> None:
    """The labels are the older bundle's own answers, so the newer one can only lose."""
    import onnxruntime

    other = copy("pixels")
    scale_weights(other, [-1, -1, -1])
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 6, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(bundles("pixels") / "model.int8.onnx")
    answers = session.run(None, {"image": images})[0].argmax(1)
    np.savez(tmp_path / "d.npz", x=images, y=np.array(["cat", "dog", "a | b"])[answers])
    on = OnData(data="d.npz", task="classification", root=tmp_path)
    top1 = line(compare(bundles("pixels"), other, on=on), "top-1")
    assert top1.old.startswith("100.0")
    assert top1.regression
    assert not line(compare(other, bundles("pixels"), on=on), "top-1").regression


def test_without_labels_outputs_are_compared(bundles: Bundles, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the film\ngood\nbad bad film\n")
    found = compare(
        bundles("text"), bundles("text"), on=OnData(data="t.txt", task="reference", root=tmp_path)
    )
    assert line(found, "SNR").change.startswith("150.00")
    assert not found.regressions


def test_what_an_app_must_change_is_a_regression(bundles: Bundles, copy: Copy) -> None:
    other = copy("pixels")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["outputs"][0]["name"] = "scores"
    (other / "labels.json").write_text(json.dumps(["dog", "cat", "a | b"]))
    preprocess = json.loads((other / "preprocess.json").read_text())
    preprocess["colours"] = "bgr"
    (other / "preprocess.json").write_text(json.dumps(preprocess))
    change(other, outputs=manifest["outputs"])
    found = compare(bundles("pixels"), other)
    worse = {one.what for one in found.regressions}
    assert {"outputs", "labels", "preprocessing"} <= worse
    assert line(found, "preprocessing").old == "colours = rgb"
    change(other, labels=None)
    assert line(compare(bundles("pixels"), other), "labels").new == "none"


def test_a_scale_that_the_graph_applies_is_no_change_for_an_app(
    bundles: Bundles, copy: Copy
) -> None:
    """Another training split gives another mean; of planes the app itself takes it off."""
    for kind, changed in (("pixels", False), ("planes", True)):
        other = copy(kind)
        preprocess = json.loads((other / "preprocess.json").read_text())
        preprocess["mean"] = [121.0, 90.0, 60.0]
        (other / "preprocess.json").write_text(json.dumps(preprocess))
        reseal(other)
        assert line(compare(bundles(kind), other), "preprocessing").regression == changed
        shutil.rmtree(other)


def test_samples_of_another_kind_are_not_compared(bundles: Bundles) -> None:
    found = diff(bundles("text"), bundles("array"))
    assert "samples of other kinds: text and array" in line(found, "golden").change
    assert "not measured" in line(found, "speed").change
    assert {"inputs", "outputs"} <= {one.what for one in found.regressions}


def test_nan_and_a_larger_file_are_regressions(bundles: Bundles, copy: Copy) -> None:
    other = copy("pixels")
    scale_weights(other, [float("nan"), 1, 1])
    model = onnx.load(other / "model.fp32.onnx")
    ballast = numpy_helper.from_array(np.zeros(9999, np.float32), "ballast")
    model.graph.initializer.append(ballast)
    onnx.save(model, other / "model.fp32.onnx")
    reseal(other)
    found = compare(bundles("pixels"), other)
    assert "NaN or infinite that were finite" in line(found, "golden").change
    assert {"golden samples: logits", "size"} <= {one.what for one in found.regressions}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "is not a folder"),
        ("empty", "is not a bundle: it has no manifest.json; give `bundle`"),
        ("flipped", "is damaged .*sha256"),
        ("labels", "is not a list of labels"),
        ("manifest", "cannot be read"),
    ],
)
def test_a_damaged_bundle_is_refused(
    damage: str, message: str, bundles: Bundles, copy: Copy, tmp_path: Path
) -> None:
    other = tmp_path / "bundle"
    if damage == "empty":
        other.mkdir()
    elif damage != "missing":
        other = copy("pixels")
    if damage == "flipped":
        (other / "model.int8.onnx").write_bytes(b"x")
    if damage == "labels":
        (other / "labels.json").write_text('{"cat": 0}')
        reseal(other)
    if damage == "manifest":
        (other / "manifest.json").write_text("{")
        (other / "SHA256SUMS").unlink()
        write_sums(other)
    with pytest.raises(BadInput, match=message):
        compare(bundles("pixels"), other)


def test_data_that_does_not_fit_is_one_paragraph(bundles: Bundles, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((9, 4), np.float32), y=np.arange(9) % 3)
    with pytest.raises(BadInput, match="the data does not fit") as caught:
        compare(bundles("pixels"), bundles("pixels"), on=OnData(data="d.npz", root=tmp_path))
    assert "\n" not in str(caught.value)
    (tmp_path / "t.txt").write_text("good\nbad\n")
    with pytest.raises(BadInput, match="has no labels"):
        compare(
            bundles("text"),
            bundles("text"),
            on=OnData(data="t.txt", task="classification", root=tmp_path),
        )


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_ends_with_1_on_a_regression_and_2_on_a_bad_call(
    as_json: bool,
    bundles: Bundles,
    copy: Copy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = copy("pixels")
    (other / "labels.json").write_text(json.dumps(["\x1b[31mdog", "[bold]cat", "c"]))
    reseal(other)
    ended = []
    for pair in ((bundles("pixels"), other), (bundles("pixels"), other / "nowhere")):
        words = ["edgekd", "diff", *map(str, pair), "--no-speed", *["--json"][: int(as_json)]]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            main()
        ended.append(left.value.code)
    assert ended == [1, 2]
    said = capsys.readouterr()
    assert "or an app must change for it: labels" in " ".join(said.err.split())
    assert "\x1b[31m" not in said.out
    if as_json:
        assert json.loads(said.out)["regression"] is True
    else:
        assert "WORSE" in said.out
        assert "[bold]cat" in said.out
