"""Text encoders of transformers as networks: families, heads, students, export, the whole way."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekd.bundle.verify import verify
from edgekd.devices import DEVICES
from edgekd.devices.local import LocalDevice
from edgekd.distill.fewer_layers import shortened
from edgekd.errors import EdgekdError, ModelError, RecipeError
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.torch_to_onnx import export_onnx
from edgekd.models import hf_text
from edgekd.networks.trainable import Model, open_model
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.compress import compress
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.recipe import parse_recipe
from edgekd.teacher.hf import HfTeacher
from edgekd.teacher.hf_network import HfNetwork

os.environ.setdefault("HF_HUB_OFFLINE", "1")
WORDS = (*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), *"abcdefghijklmnopqrstuvwxyz")
NAMES = ("neg", "pos")
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": SIZES,
    "Roberta": {**SIZES, "pad_token_id": 0},
    "MPNet": {**SIZES, "pad_token_id": 0},
    "Electra": {**SIZES, "embedding_size": 8},
    "DistilBert": {
        "vocab_size": len(WORDS),
        "dim": 16,
        "n_layers": 4,
        "n_heads": 2,
        "hidden_dim": 32,
        "max_position_embeddings": 24,
    },
}
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and torch warn freely


def transformers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("transformers")


def save(folder: Path, family: str, kind: str = "Model", **settings: Any) -> Path:
    """Save a random network of 4 blocks and its tokenizer."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    config = getattr(transformers(), f"{family}Config")(**FAMILIES[family], **settings)
    getattr(transformers(), f"{family}{kind}")(config).save_pretrained(folder)
    tokenizer = transformers().BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with models of each family, and texts that their letters tell apart."""
    folder = tmp_path_factory.mktemp("texts")
    for family in FAMILIES:
        save(folder / family, family)
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {"neg": 0, "pos": 1}}
    save(folder / "classifier", "Bert", "ForSequenceClassification", **names)
    drawn = np.random.default_rng(0)
    letters = (list(WORDS[5:18]), list(WORDS[12:]))
    rows = [
        f"{' '.join(drawn.choice(letters[i % 2], drawn.integers(1, 20)))},{NAMES[i % 2]}"
        for i in range(160)
    ]
    (folder / "labelled.csv").write_text("\n".join(["text,label", *rows]))
    (folder / "texts.txt").write_text("\n".join(row.split(",")[0] for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKD_CACHE", str(folder / "cache"))
        yield folder


def opened(job: Path, model: dict[str, Any], **more: Any) -> Bench:
    table = {
        "name": "opened",
        "data": {"path": "labelled.csv", "validation": 0.2, "test": 0.2, "calibration": 8},
        "model": {"trainable": True, **model},
        "allow_poor_teacher": True,
        **more,
    }
    recipe = parse_recipe(table, origin="test")
    return set_up(recipe, root=job, folder=job / "none", progress=Silent(), export=False)


def built(job: Path, model: dict[str, Any], **more: Any) -> tuple[Model, Bench]:
    bench = opened(job, model, **more)
    torch.manual_seed(0)

    def nothing() -> Model:
        raise AssertionError("a teacher starts from nothing")

    step = bench.recipe.model
    assert isinstance(step, HfNetwork)
    return step.build_model(nothing, nothing, bench.context(None)), bench


def batch(bench: Bench, model: Model, size: int) -> dict[str, Any]:
    return dict(next(bench.data.batches("train", model.preprocess, size=size)).inputs[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_head_reads_the_mean_of_the_checkpoint_s_own_vectors(job: Path, family: str) -> None:
    model, bench = built(job, {"hf": family})
    inputs = {k: torch.as_tensor(v) for k, v in batch(bench, model, 5).items()}
    assert 0 < inputs["attention_mask"].float().mean() < 1  # some are padded
    own = transformers().AutoModel.from_pretrained(job / family).eval()
    with torch.no_grad():
        words = own(**inputs).last_hidden_state
        seen = inputs["attention_mask"][:, :, None]
        mean = (words * seen).sum(1) / seen.sum(1)
        body: Any = model.body.eval()
        got = body(**inputs)["logits"]
        torch.testing.assert_close(got, body.head(mean), rtol=1e-4, atol=1e-5)
    assert got.shape == (5, 2)
    assert bench.recipe.model.training is not None  # a new head is always trained
    small = shortened(model, "half")
    assert small.blueprint.edits[0]["keep"] == [1, 3]
    with torch.no_grad():
        assert not torch.equal(small.body.eval()(**inputs)["logits"], got)


@pytest.mark.parametrize("family", ["Bert", "MPNet", "DistilBert"])
def test_a_student_is_rebuilt_and_exported_for_any_batch_and_length(
    job: Path, family: str, tmp_path: Path
) -> None:
    model, bench = built(job, {"hf": family})
    student = shortened(model, 1)
    student.save(tmp_path)
    again = open_model(tmp_path, root=tmp_path)  # without the folder of the checkpoint
    deployed = again.deployed(bench.task).eval()
    names = tuple(again.preprocess.input_names)
    inputs = batch(bench, again, 2)
    path = tmp_path / "model.onnx"
    export_onnx(
        deployed,
        [torch.as_tensor(inputs[name]) for name in names],
        path,
        input_names=names,
        output_names=("logits",),
        dynamic_axes=again.preprocess.dynamic_axes,
        opset=20,
    )
    run = predictor(path)
    for rows, length in ((1, 3), (5, 11)):
        ids = np.arange(rows * length).reshape(rows, length) % len(WORDS)
        mask = np.ones_like(ids)
        mask[0, length // 2 :] = 0
        with torch.no_grad():
            want = student.body.eval()(torch.as_tensor(ids), torch.as_tensor(mask))["logits"]
        got = run(dict(zip(names, (ids, mask), strict=True)))["logits"]
        np.testing.assert_allclose(got, want.numpy(), atol=1e-5)


def test_a_checkpoint_with_a_head_is_taken_as_it_is(job: Path) -> None:
    model, bench = built(job, {"hf": "classifier", "fine_tune": "if-needed", "train": {}})
    assert bench.recipe.model.training is None
    assert bench.dataset.labels == NAMES
    inputs = {k: torch.as_tensor(v) for k, v in batch(bench, model, 4).items()}
    own = transformers().AutoModelForSequenceClassification.from_pretrained(job / "classifier")
    with torch.no_grad():
        want = own.eval()(**inputs).logits
        torch.testing.assert_close(model.body.eval()(**inputs)["logits"], want)


def test_an_embedding_is_the_pooled_vector(job: Path, tmp_path: Path) -> None:
    model, bench = built(job, {"hf": "MPNet", "task": "feature-extraction"})
    inputs = {k: torch.as_tensor(v) for k, v in batch(bench, model, 3).items()}
    with torch.no_grad():
        found = model.body.eval()(**inputs)["embedding"]
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert list(bench.task.signals) == ["embedding"]
    folder = Path(shutil.copytree(job / "MPNet", tmp_path / "first"))
    (folder / "1_Pooling").mkdir()
    stated = folder / "1_Pooling" / "config.json"
    stated.write_text(json.dumps({"pooling_mode_cls_token": True}))
    other, _ = built(job, {"hf": str(folder), "task": "feature-extraction"})
    assert other.blueprint.options["pooling"] == "first"
    stated.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ModelError, match="pools by pooling_mode_max_tokens"):
        built(job, {"hf": str(folder), "task": "feature-extraction"})


def test_a_network_is_chosen_where_a_step_needs_one() -> None:
    table: dict[str, Any] = {"name": "a", "data": {"path": "a.csv"}, "model": {"hf": "m"}}
    quantize = {"name": "quantize"}
    distill = {"name": "distill", "student": {"from": "teacher", "layers": 2}}
    cases = [([quantize], HfTeacher), ([distill, quantize], HfNetwork), ([], HfTeacher)]
    for steps, kind in cases:
        assert type(parse_recipe({**table, "steps": steps}, origin="t").model) is kind
    trained = {**table, "model": {"hf": "m", "train": {}}}
    assert type(parse_recipe(trained, origin="t").model) is HfNetwork
    kept = {**table, "model": {"hf": "m", "trainable": False}, "steps": [distill]}
    with pytest.raises(RecipeError, match="starts from a network"):
        parse_recipe(kept, origin="t")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"hf": "classifier", "task": "image-classification"}, "model.trainable = false"),
        ({"hf": "nobody/knows-this"}, "neither a folder .* huggingface-cli download"),
        ({"hf": "no folder at all"}, "there is no folder"),
    ],
)
def test_what_cannot_be_trained_is_refused(job: Path, model: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        built(job, model)


def test_labels_that_a_head_does_not_have_are_refused(job: Path, tmp_path: Path) -> None:
    rows = (job / "labelled.csv").read_text().splitlines()
    third = [row.replace("pos", "other") if i % 4 == 0 else row for i, row in enumerate(rows)]
    (job / "third.csv").write_text("\n".join(third))
    data = {"path": "third.csv", "validation": 0.2, "test": 0.2, "calibration": 8}
    with pytest.raises(RecipeError, match="a head of 2 outputs, and the data has 3 labels"):
        built(job, {"hf": "classifier"}, data=data)
    model, _ = built(job, {"hf": "classifier", "train": {}}, data=data)
    assert "start fresh" in model.notes[-1]
    bare = Path(shutil.copytree(job / "Bert", tmp_path / "bare"))
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    with pytest.raises(ModelError, match=r"lacks encoder\.layer\.4"):
        built(job, {"hf": str(bare)})
    (bare / "config.json").write_text(json.dumps({**config, "model_type": "no-such"}))
    with pytest.raises(ModelError, match="cannot read these settings"):
        built(job, {"hf": str(bare)})
    (bare / "model.safetensors").write_bytes(b"not weights")
    (bare / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot load the weights") as caught:
        built(job, {"hf": str(bare)})
    assert "\n" not in str(caught.value)


def test_an_encoder_with_a_decoder_is_refused() -> None:
    with pytest.raises(EdgekdError, match="encoder with a decoder"):
        hf_text({"model_type": "t5", "d_model": 16, "vocab_size": 9})


@pytest.mark.slow
def test_two_flags_go_all_the_way(job: Path, emulator: type[LocalDevice], tmp_path: Path) -> None:
    """A folder and a table: a head is added, half of the blocks learn, and the bundle answers."""
    table = make_recipe_table(
        model="hf:Electra", data="labelled.csv", samples=8, device="emulator", epochs=2
    )
    table["budget"] = {"max_drop": 100.0}
    for step in table["steps"]:
        step["gate"] = False
    said: list[str] = []

    class Listener(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DEVICES, "emulator", emulator)
        recipe = parse_recipe(table, origin="test")
        done = compress(recipe, root=job, out=tmp_path / "run", progress=Listener())
    assert any("has no head for labels: one is added" in line for line in said)
    assert any("the student starts from 2 of the 4 blocks" in line for line in said)
    assert any("hidden: layers found" in line for line in said)
    verify(done.bundle)
    ask = [sys.executable, "load.py", "a b c"]
    found = subprocess.run(ask, cwd=done.bundle, capture_output=True, text=True, check=True)
    assert any(name in found.stdout for name in NAMES)
    assert (done.bundle / "preprocess" / "tokenizer.json").is_file()
