"""A folder of transformers becomes a bundle that optimum loads; nothing is downloaded."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.input_options import InputSpec
from edgekd.devices import DEVICES
from edgekd.devices.local import LocalDevice
from edgekd.errors import ModelError, RecipeError
from edgekd.exporters.hf_export import (
    copy_settings,
    export_hf,
    find_folder,
    infer_task,
    label_names,
)
from edgekd.pipeline.compress import Result, compress
from edgekd.recipe.flag_values import seen_from
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.recipe import parse_recipe
from edgekd.teacher.hf import HfTeacher
from edgekd.teacher.hf_model import _of_images

os.environ.setdefault("HF_HUB_OFFLINE", "1")
WORDS = (*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), *"abcdefghijklmnopqrstuvwxyz")
NAMES = ("neg", "neutral", "pos")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers, optimum and torch warn freely


def package(name: str) -> Any:
    """Return a module that has no types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def save(folder: Path, kind: str, **settings: Any) -> Path:
    """Save a random BERT of 2 layers and its tokenizer."""
    import torch

    torch.manual_seed(0)
    transformers = package("transformers")
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
        **settings,
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("EDGEKD_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with two models, and texts with and without labels."""
    folder = tmp_path_factory.mktemp("texts")
    save(folder / "my bert", "BertForSequenceClassification")
    save(folder / "encoder", "BertModel")
    drawn = np.random.default_rng(0)
    texts = [" ".join(drawn.choice(list(WORDS[5:]), drawn.integers(1, 30))) for _ in range(60)]
    (folder / "texts.txt").write_text("\n".join(texts))
    rows = [f"{text},{NAMES[i % 2]}" for i, text in enumerate(texts)]
    (folder / "labelled.csv").write_text("\n".join(["text,label", *rows]))
    return folder


def run(job: Path, model: str, data: str, emulator: type[LocalDevice], **more: Any) -> Result:
    table = make_recipe_table(
        model=model, data=data, samples=8, ship=["int8"], device="emulator", only="quantize"
    )
    table |= {"allow_poor_teacher": True, **more}
    table["steps"][0]["gate"] = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DEVICES, "emulator", emulator)
        out = job / "runs" / model.removeprefix("hf:")
        return compress(parse_recipe(table, origin="test"), root=job, out=out)


@pytest.fixture(scope="module")
def classifier(job: Path, emulator: type[LocalDevice]) -> Result:
    return run(job, "hf:my bert", "labelled.csv", emulator)


def asked(source: Path, loads: str, bundle: Path, file: str) -> tuple[Any, Any, Any]:
    """Return what transformers and optimum make of the same texts, and optimum's model."""
    import torch

    transformers, optimum = package("transformers"), package("optimum.onnxruntime")
    tokenizer = transformers.AutoTokenizer.from_pretrained(bundle)
    batch = tokenizer(["a b c", "z y x w v a"], return_tensors="pt", padding=True)
    network = getattr(
        transformers, loads.replace("ORT", "Auto").replace("ForFeatureExtraction", "")
    )
    with torch.no_grad():
        want = network.from_pretrained(source).eval()(**batch)
    model = getattr(optimum, loads).from_pretrained(bundle, file_name=file)
    return want, model(**batch), model


@pytest.mark.parametrize(("variant", "off"), [("fp32", 1e-5), ("int8", 5e-3)])
def test_optimum_loads_the_files_of_the_bundle(
    classifier: Result, job: Path, variant: str, off: float
) -> None:
    loads = "ORTModelForSequenceClassification"
    want, got, model = asked(job / "my bert", loads, classifier.bundle, f"model.{variant}.onnx")
    np.testing.assert_allclose(got.logits.numpy(), want.logits.numpy(), atol=off)
    assert model.config.id2label == dict(enumerate(NAMES))
    assert f"{loads}.from_pretrained" in (classifier.bundle / "MODEL_CARD.md").read_text()


def test_the_classes_are_those_of_the_settings(classifier: Result) -> None:
    """The data has two of the three; their numbers are the model's."""
    assert json.loads((classifier.bundle / "labels.json").read_text()) == list(NAMES)
    manifest = json.loads((classifier.bundle / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["inputs"]] == [
        *("input_ids", "attention_mask", "token_type_ids"),
    ]
    assert manifest["transformers"]["loads"] == "ORTModelForSequenceClassification"
    compared = [row for file in classifier.record.rungs[0].files for row in file.fidelity]
    assert {row.inputs for row in compared} >= {"a batch of 1", "1 token", "24 tokens"}


def test_an_encoder_is_compared_with_itself_and_loads_too(
    job: Path, emulator: type[LocalDevice]
) -> None:
    """Its output is a vector for each token, which labels cannot judge."""
    found = run(job, "hf:encoder", "labelled.csv", emulator)
    assert found.record.is_against_teacher
    want, got, _ = asked(
        job / "encoder", "ORTModelForFeatureExtraction", found.bundle, "model.int8.onnx"
    )
    error = got.last_hidden_state.numpy() - want.last_hidden_state.numpy()
    assert np.abs(error).mean() < 0.1 * np.abs(want.last_hidden_state.numpy()).mean()


def test_nothing_of_the_developer_is_in_the_settings(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    content = {"_name_or_path": "/home/me/secret", "model_type": "bert"}
    (source / "config.json").write_text(json.dumps(content))
    (source / "vocab.txt").write_text("a\n")
    (source / ".hidden.json").write_text("{}")
    (source / "model.safetensors").write_bytes(b"0")
    copy_settings(source, tmp_path / "b")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["config.json", "vocab.txt"]
    assert json.loads((tmp_path / "b" / "config.json").read_text()) == {"model_type": "bert"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "contains no config.json"),
        (("config.json",), "contains no weights"),
        (None, "neither a folder .* nor a model that was downloaded"),
    ],
)
def test_what_is_no_model_is_refused_by_what_is_missing(
    files: Sequence[str] | None, message: str, tmp_path: Path
) -> None:
    if files is not None:
        (tmp_path / "m").mkdir()
        for name in files:
            (tmp_path / "m" / name).write_text("{}")
    with pytest.raises(ModelError, match=message):
        find_folder("m", root=tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [("{", "cannot be read"), ("[]", "is not a table"), ("{}", "names the architecture")],
)
def test_damaged_settings_are_named(config: str, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(b"0")
    with pytest.raises(ModelError, match=message):
        HfTeacher(hf="m").natural_task(tmp_path)


def test_a_model_that_optimum_cannot_export_is_one_paragraph(job: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(job / "encoder", tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="optimum cannot export broken") as caught:
        export_hf(broken, task="feature-extraction", opset=None)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="for the task question-answer"):
        export_hf(job / "encoder", task="question-answer", opset=None)


def test_a_model_of_several_files_is_refused(tmp_path: Path, cache: Path) -> None:
    transformers = package("transformers")
    config = transformers.T5Config(
        vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match="makes 2 files of t5"):
        export_hf(tmp_path / "t5", task="text2text-generation", opset=None)
    assert not list((cache / "hf").glob("*.partial"))


def test_tasks_follow_the_architecture() -> None:
    assert infer_task({"architectures": ["BertModel"]}) == "feature-extraction"
    assert infer_task({"architectures": ["RobertaForTokenClassification"]}) == (
        "token-classification"
    )
    with pytest.raises(ModelError, match="text-classification"):
        infer_task({})


def test_made_up_names_of_classes_are_none() -> None:
    assert label_names({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}) == ()
    assert label_names({"id2label": {"1": "b", "0": "a"}}) == ("a", "b")
    assert label_names({"id2label": {"0": "a", "7": "b"}}) == ()
    assert label_names({}) == ()


def test_flags_name_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_recipe_table(model="hf:my bert", data="texts.txt", only="quantize")
    assert table["model"] == {"hf": "my bert"}
    assert table["name"] == "my-bert-texts"
    assert [step["name"] for step in table["steps"]] == ["quantize"]
    whole = make_recipe_table(model="hf:my bert", data="texts.txt", epochs=3)
    assert [step["name"] for step in whole["steps"]] == ["distill", "quantize"]
    assert whole["model"]["train"]["epochs"] == whole["steps"][0]["train"]["epochs"] == 3
    with pytest.raises(RecipeError, match="is only quantized, as it is"):
        make_recipe_table(model="hf:my bert", data="texts.txt", epochs=3, only="quantize")
    (tmp_path / "here" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert seen_from(Path("recipes"), "model", "hf:here/bert") == "hf:../here/bert"
    assert seen_from(Path("recipes"), "model", "hf:org/bert") == "hf:org/bert"


def test_pixels_are_scaled_as_the_preprocessor_states() -> None:
    settings = {
        "size": {"height": 224, "width": 192},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.5, 0.5],
    }
    found = _of_images(settings, InputSpec())
    assert found == {
        "size": (224, 192),
        "mean": (127.5, 127.5, 127.5),
        "std": (63.75, 127.5, 127.5),
    }
    crop = {"do_center_crop": True, "crop_size": {"height": 8, "width": 8}, "do_normalize": False}
    assert _of_images({**settings, **crop}, InputSpec()) == {
        "size": (8, 8),
        "mean": 0.0,
        "std": 255.0,
    }
    assert _of_images(settings, InputSpec(size=8, mean=1.0, std=2.0)) == {}


@pytest.mark.slow
def test_a_real_encoder_gives_files_that_optimum_loads(
    job: Path, emulator: type[LocalDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MiniLM-L6; `edgekd data minilm-l6` fetches it once."""
    monkeypatch.delenv("EDGEKD_CACHE")
    found = run(job, "hf:cache:minilm-l6", "texts.txt", emulator)
    loads, source = "ORTModelForFeatureExtraction", find_folder("cache:minilm-l6", root=job)
    for file, off in (("model.fp32.onnx", 1e-4), ("model.int8.onnx", 1.0)):
        want, got, _ = asked(source, loads, found.bundle, file)
        error = got.last_hidden_state.numpy() - want.last_hidden_state.numpy()
        assert np.square(error).mean() < off**2 * np.square(want.last_hidden_state.numpy()).mean()
