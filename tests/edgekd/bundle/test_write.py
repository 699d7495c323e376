from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from edgekd.bundle.golden import without_filling
from edgekd.bundle.manifest import read_manifest
from edgekd.bundle.private import private_words
from edgekd.bundle.verify import verify
from edgekd.bundle.write import OUR_SOURCES, Contents, write
from edgekd.data.preprocess import FILE
from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import traces
from edgekd.store import file_sha256

KINDS = ("pixels", "planes", "text", "array")
Get = Callable[[str], Path]
Stage = Callable[[str], Contents]


def manifest_of(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_measured_ships_to_the_byte(bundles: Get, stage: Stage, kind: str) -> None:
    folder, source = bundles(kind), stage(kind).artifact
    for name in (FILE, *(f"model.{v}.onnx" for v in stage(kind).variants)):
        assert (folder / name).read_bytes() == (source / name).read_bytes()


def test_equal_inputs_give_equal_bytes(bundles: Get, stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "again", stage("pixels"))
    assert file_sha256(tmp_path / "again" / "SHA256SUMS") == file_sha256(
        bundles("pixels") / "SHA256SUMS"
    )


def test_an_old_bundle_is_replaced_whole(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "old").write_text("old")
    write(folder, stage("array"))
    assert not (folder / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_numbers_belong_to_the_bytes(bundles: Get) -> None:
    folder = bundles("pixels")
    models = json.loads((folder / "manifest.json").read_text())["models"]
    assert {m["file"] for m in models} == {p.name for p in folder.glob("*.onnx")}
    for model in models:
        assert model["sha256"] == file_sha256(folder / model["file"])
        if model["batch"] is None:
            assert model["measured"]["latency_s"]["value"] == 1e-4
            assert model["measured"]["test"]["top-1"]["value"] == 80.0
        else:
            assert model["measured"] is None, "its bytes were not measured"
    assert models[1]["facts"]["int8_share"] == 1.0


def test_the_manifest_tells_what_a_program_needs(bundles: Get) -> None:
    found = json.loads((bundles("pixels") / "manifest.json").read_text())
    assert found["shipped"]["file"] == "model.int8.onnx"
    assert found["opset"] == 20
    assert found["inputs"] == [{"name": "image", "dtype": "uint8", "shape": ["batch", 8, 6, 3]}]
    assert found["outputs"][0]["kind"] == "classes"
    types = {"activations": "uint8", "weights": "int8", "ranges": {"mse": 3}}
    calibration = {"data_fingerprint": "f" * 64, "samples": 64, "key": "0" * 64, **types}
    assert found["calibration"]["int8"].items() >= calibration.items()
    assert found["licences"] == {"data": "CC0", "teacher": "not stated"}
    rows = {(r["runtime"], r["provider"]): r for r in found["runtimes"]}
    assert rows["onnxruntime", "CPUExecutionProvider"]["file"] == "model.int8.onnx"
    assert rows["onnxruntime", "QNNExecutionProvider"]["file"] == "model.int8.batch1.onnx"
    lacking = rows["tensorrt", ""]
    assert (lacking["file"], lacking["in_bundle"]) == ("model.fp32.onnx", False)


def test_verify_is_told_how_many_threads_were_timed(stage: Stage, tmp_path: Path) -> None:
    here = stage("array")
    final = here.record.final
    final = replace(final, conditions=replace(final.conditions, threads=2))
    write(tmp_path / "bundle", replace(here, record=replace(here.record, final=final)))
    assert read_manifest(tmp_path / "bundle").timing.threads == 2


def test_no_sample_of_the_data_is_in_a_manifest(bundles: Get) -> None:
    assert "SECRET PIXELS" not in (bundles("pixels") / "manifest.json").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_files_have_no_symbol_left(bundles: Get, kind: str) -> None:
    files = sorted(bundles(kind).glob("*.batch1.onnx"))
    assert len(files) == len(list(bundles(kind).glob("*.onnx"))) / 2
    for file in files:
        model = onnx.load(file)
        shapes = [v.type.tensor_type.shape for v in [*model.graph.input, *model.graph.output]]
        assert all(dim.HasField("dim_value") for shape in shapes for dim in shape.dim)


def test_a_fixed_text_file_takes_the_longest_text(bundles: Get) -> None:
    model = onnx.load(bundles("text") / "model.fp32.batch1.onnx")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 20]


def test_files_are_fixed_only_where_asked_and_needed(stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "one", replace(stage("array"), fixed_shape=False))
    assert [p.name for p in (tmp_path / "one").glob("*.onnx")] == ["model.fp32.onnx"]


def test_golden_answers_are_clear_and_differ(bundles: Get) -> None:
    answers = np.load(bundles("pixels") / "golden" / "outputs.int8.npz")
    winners = {int(answers[f"{i}/logits"].argmax()) for i in range(4)}
    assert len(winners) >= 2
    found = json.loads((bundles("pixels") / "manifest.json").read_text())
    limit = found["golden"]["output_tolerance"]["int8"]["logits"]
    assert limit["same_winner"]
    for i in range(4):
        second, first = np.sort(answers[f"{i}/logits"][0])[-2:]
        assert first - second > limit["absolute"]


def test_the_card_says_how_fast_it_is_on_every_device(bundles: Get) -> None:
    card = (bundles("array") / "MODEL_CARD.md").read_text(encoding="utf8")
    assert "On the device `local`:" in card
    assert re.search(r"On `phone` \(a phone, onnxruntime [^)]*\) what ships takes \d", card)
    assert "measured on `local` and `phone` alone" in card


def test_made_up_samples_are_called_so(bundles: Get, stage: Stage, tmp_path: Path) -> None:
    assert json.loads((bundles("array") / "manifest.json").read_text())["golden"]["synthetic"]
    write(tmp_path / "real", replace(stage("array"), synthetic=None))
    golden = json.loads((tmp_path / "real" / "manifest.json").read_text())["golden"]
    assert not golden["synthetic"]


def test_a_model_that_gives_nan_is_refused_and_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    samples = [{n: a * np.float32(np.nan) for n, a in s.items()} for s in stage("array").samples]
    with pytest.raises(ModelError, match="NaN"):
        write(tmp_path / "bundle", replace(stage("array"), samples=samples))
    assert list(tmp_path.iterdir()) == []


BARE = """
import runpy, sys
for name in ("edgekd", "torch", "onnx", "pydantic"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(folder: Path, code: str, *arguments: str) -> list[str]:
    """Run code of a card beside the files of a bundle, where edgekd cannot be imported."""
    (folder / "tried.py").write_text(code, encoding="utf8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BARE, "tried.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def code_of(folder: Path) -> str:
    """Return the last Python of a card: the loader, or where there is none the call."""
    text = (folder / "MODEL_CARD.md").read_text(encoding="utf8")
    *_, found = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(found)


@pytest.mark.parametrize("kind", ["pixels", "planes", "array", "text"])
def test_the_loader_of_the_card_goes_from_the_files_to_the_answers(copy: Get, kind: str) -> None:
    folder = copy(kind)
    code = code_of(folder)
    assert code == (folder / "load.py").read_text(encoding="utf8")
    modules = re.findall(r"^(?:from|import) (\S+)", code, re.MULTILINE)
    assert len(modules) == len(set(modules)), "each is imported once"
    lines = run_alone(folder, code)
    assert len(lines) == 4
    for line in lines:
        inputs, outputs = map(float, re.findall(r"off by (\S+) and (\S+)$", line)[0])
        assert inputs == 0, "to the last bit"
        assert outputs < 1e-4
    if kind in ("pixels", "planes"):
        first, answer = re.findall(r"^(\S+?)[,:] .*?(cat|dog|a \| b|value)", lines[0])[0]
        assert answer in run_alone(folder, code, first)[0]


def test_the_loader_shows_an_answer_without_a_number_where_one_is_stored(copy: Get) -> None:
    folder = copy("array")
    stored = folder / "golden" / "outputs.fp32.npz"
    arrays = dict(np.load(stored))
    next(iter(arrays.values())).flat[0] = np.nan
    np.savez(stored, **arrays)
    lines = run_alone(folder, code_of(folder))
    assert [line.endswith("and inf") for line in lines] == [True, False, False, False]


def test_the_card_says_that_nothing_is_known_of_photographs_behind_arrays(
    bundles: Get, stage: Stage, tmp_path: Path
) -> None:
    write(tmp_path / "bundle", replace(stage("pixels"), from_files=False))
    sentence = "The data came as arrays of 6 x 8 pixels (width x height)"
    assert sentence in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert sentence not in (bundles("pixels") / "MODEL_CARD.md").read_text()


def test_the_loader_says_the_label_and_how_sure_the_model_is(copy: Get) -> None:
    folder = copy("pixels")
    Image.new("RGBA", (31, 90), (0, 0, 0, 0)).save(folder / "clear.png")
    Image.new("RGB", (31, 90), (255, 255, 255)).save(folder / "white.png")
    clear, white = run_alone(folder, code_of(folder), "clear.png", "white.png")
    assert re.fullmatch(r"clear.png: (cat|dog|a \| b) 0\.\d{3}", clear)
    assert clear.split(": ")[1] == white.split(": ")[1], "the background is white"


def test_the_loader_of_texts_takes_sentences_and_files(copy: Get) -> None:
    folder, said = copy("text"), "The FILM was good, 😀!"
    (folder / "said.txt").write_bytes(said.encode())
    sentence, file, empty = run_alone(folder, code_of(folder), said, "said.txt", "")
    assert sentence.startswith(f"{said}: ")
    assert sentence.removeprefix(said) == file.removeprefix("said.txt")
    assert re.search(r": .*\d", empty), "a text without a word has an answer too"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_ships_tells_about_the_developer(bundles: Get, kind: str) -> None:
    for path in bundles(kind).rglob("*"):
        if path.is_file():
            known = {"nets/net.py"} | OUR_SOURCES
            found = [find for find in traces(path) if find not in known]
            assert not found, path


def test_absolute_paths_that_were_typed_are_cut(stage: Stage, tmp_path: Path) -> None:
    here = stage("array")
    record = replace(
        here.record,
        command="edgekd compress '/home/ann b/r.toml' --out=/data/x/runs",
        recipe={"model": {"build": "/home/ann/nets/net.py:make"}},
    )
    write(tmp_path / "bundle", replace(here, record=record))
    for name in ("manifest.json", "MODEL_CARD.md"):
        text = (tmp_path / "bundle" / name).read_text()
        assert "r.toml" in text
        assert "ann" not in re.findall(r"\w+", text)
        assert "/data" not in text


def test_a_model_that_names_its_source_is_refused(stage: Stage, tmp_path: Path) -> None:
    here = stage("array")
    artifact = tmp_path / "stage"
    artifact.mkdir()
    (artifact / FILE).write_bytes((here.artifact / FILE).read_bytes())
    model = onnx.load(here.artifact / "model.fp32.onnx")
    model.graph.doc_string = "File nets/net.py, line 3"  # the record may say so, a model may not
    onnx.save(model, artifact / "model.fp32.onnx")
    with pytest.raises(ModelError, match=r"model\.fp32.*nets/net\.py"):
        write(tmp_path / "bundle", replace(here, artifact=artifact))
    assert not (tmp_path / "bundle").exists()


def test_a_folder_of_the_developer_is_refused_wherever_it_stands(
    stage: Stage, tmp_path: Path
) -> None:
    report = f"<html>made in {tmp_path.resolve()}</html>"
    with pytest.raises(ModelError, match=r"report\.html"):
        write(tmp_path / "b", replace(stage("array"), report=report, folders=(tmp_path,)))


def test_a_name_that_the_record_uses_is_no_trace(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "annabel")
    record = stage("array").record
    assert "annabel" in private_words(record, [])
    named = replace(record, task=replace(record.task, labels=("annabel",)))
    assert "annabel" not in private_words(named, [])


def test_more_outputs_than_the_task_names_are_refused(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="matched by order"):
        write(tmp_path / "b", replace(stage("array"), signals={"value": "values"}))


def test_our_own_examples_may_stand_in_the_report(stage: Stage, tmp_path: Path) -> None:
    """A page that says how to give a student ended the job at the bundle."""
    advice = "give a student of your own: edgekd compress --student {}:build"
    write(tmp_path / "ours", replace(stage("array"), report=advice.format("net.py")))
    theirs = replace(stage("array"), report=advice.format("secret.py"))
    with pytest.raises(ModelError, match=r"report\.html contains 'secret\.py'"):
        write(tmp_path / "theirs", theirs)


def test_a_bundle_with_a_file_for_tensorrt_has_scripts_for_boards(
    stage: Stage, tmp_path: Path
) -> None:
    """They are part of what is sealed, and only versions that read the operator set have one."""
    here = stage("planes")
    model = onnx.load(here.artifact / "model.int8.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "zero":
            tensor.CopyFrom(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    onnx.save(model, here.artifact / "model.int8-tensorrt.onnx")
    write(tmp_path / "bundle", replace(here, variants=(*here.variants, "int8-tensorrt")))
    names = sorted(p.name for p in (tmp_path / "bundle/tensorrt").iterdir())
    assert names == ["10.13.sh", "10.16.sh", "10.3.sh", "11.sh"]
    assert verify(tmp_path / "bundle").ok
    script = (tmp_path / "bundle/tensorrt/10.3.sh").read_text()
    assert '"$models"/model.int8-tensorrt.onnx' in script
    assert "run build-fp16-chosen" in script
    assert "`tensorrt/10.3.sh`" in (tmp_path / "bundle/MODEL_CARD.md").read_text()
    found = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert found["boards"] == [f"tensorrt/{n}.sh" for n in ("10.3", "10.13", "10.16", "11")]


def test_a_fixed_file_may_give_more_for_what_fills_its_inputs() -> None:
    """An output for each word of a padded text is cut before it is compared; a shorter one not."""
    short, padded = np.ones((1, 3, 2)), np.arange(10.0).reshape(1, 5, 2)
    assert without_filling(short, padded).shape == (1, 3, 2)
    assert without_filling(padded, short).shape == (1, 3, 2)
    assert without_filling(short, np.ones(3)).shape == (3,)


def test_free_sides_of_a_picture_are_fixed_at_those_of_the_preprocessing(
    make_stage: Callable[[Path, str], Contents], tmp_path: Path
) -> None:
    """As optimum exports networks of pictures: height and width have names."""
    here = make_stage(tmp_path / "stage", "planes")
    for variant in here.variants:
        path = here.artifact / f"model.{variant}.onnx"
        model = onnx.load(path)
        for dim, name in zip(
            model.graph.input[0].type.tensor_type.shape.dim[2:], ("high", "wide"), strict=True
        ):
            dim.dim_param = name
        onnx.save(model, path)
    write(tmp_path / "bundle", here)
    fixed = onnx.load(tmp_path / "bundle" / "model.int8.batch1.onnx").graph.input[0]
    assert [dim.dim_value for dim in fixed.type.tensor_type.shape.dim] == [1, 3, 8, 6]
