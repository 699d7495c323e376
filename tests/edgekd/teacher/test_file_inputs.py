"""What an ONNX file takes is read from the file: names, layout, channels, type and size."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

from edgekd.bundle.loader import LOADER, make_loaders
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import choose_preprocess
from edgekd.data.preprocess import ArrayPreprocess, ImagePreprocess, write_preprocess
from edgekd.data.source import Source, open_source
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import DataError, ModelError
from edgekd.exporters.file_facts import Entry
from edgekd.exporters.ort_session import predictor
from edgekd.teacher.file_inputs import check_words, image_spec, match_arrays, text_spec

Shape = tuple[int | str, ...]


def entry(shape: Shape, dtype: str = "float32", name: str = "images") -> Entry:
    return Entry(name, dtype, shape)


@pytest.mark.parametrize(
    ("shape", "dtype", "given"),
    [
        (("n", 3, 4, 6), "float32", (3, 4, 6)),
        (("n", 4, 6, 3), "float32", (4, 6, 3)),
        ((1, 4, 6, 1), "float32", (4, 6, 1)),
        ((32, 1, 4, 6), "float32", (1, 4, 6)),
        (("n", 4, 6, 3), "uint8", (4, 6, 3)),
        (("n", 3, 4, 6), "uint8", (3, 4, 6)),
        (("n", "c", "h", "w"), "float32", (1, 8, 10)),
        (("n", 1, 28, 1), "float32", (1, 28, 1)),
    ],
)
def test_pictures_become_tensors_of_the_files_own_form(
    shape: Shape, dtype: str, given: tuple[int, ...], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 10, 1), dtype=np.uint8)
    np.savez(tmp_path / "grey.npz", x=pixels, y=[0, 1, 0, 1])
    dataset = open_source(Source(path="grey.npz"), root=tmp_path)
    asked = InputSpec(mean=100.0, std=50.0)
    spec, notes = image_spec(asked, entry(shape, dtype), 1, file="m.onnx")
    encoder = choose_preprocess(spec, dataset, np.arange(4), root=tmp_path)
    assert isinstance(encoder, ImagePreprocess)
    tensor = encoder.encode(dataset.samples)["images"]
    assert tensor.shape == (4, *given)
    assert tensor.dtype == dtype
    assert bool(notes) == (3 in given)  # grey pictures for three channels: that is worth a word
    assert encoder.shape == given


def test_both_layouts_contain_the_same_numbers() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    for in_graph in (True, False):
        first, last = (
            ImagePreprocess(
                height=5, width=7, mean=mean, std=std, in_graph=in_graph, layout=layout
            ).encode({"image": pixels})["image"]
            for layout in ("nchw", "nhwc")
        )
        np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)
    np.testing.assert_allclose(last, (pixels - np.array(mean)) / np.array(std), rtol=1e-6)


@pytest.mark.parametrize(
    ("form", "asked", "said"),
    [
        (entry(("n", 4, 8, 8)), {}, r"4 channels in the layout nchw.*input\.layout"),
        (entry(("n", 12)), {}, "images have four axes"),
        (entry(("n", 3, 8, 8), "float16"), {}, "uint8 or float32"),
        (entry(("n", 3, 8, 8)), {"channels": 1}, r"input\.channels is 1; leave it out"),
        (entry(("n", 3, 8, 8)), {"size": 9}, r"input\.size is \(9, 9\); leave it out"),
    ],
)
def test_what_contradicts_the_file_is_refused(
    form: Entry, asked: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        image_spec(InputSpec.model_validate(asked), form, 3, file="m.onnx")


def test_no_input_name_is_reserved_and_one_array_needs_no_name() -> None:
    floats = np.zeros((1, 3, 4, 4), np.float32)
    for name in ("images", "image", "x", "text", "label", "y", "a/b:0"):
        form = (entry(("n", 3, 4, 4), name=name),)
        assert match_arrays(form, {name: floats}, file="m.onnx") == ((name,), [])
        arrays, notes = match_arrays(form, {"other": floats}, file="m.onnx")
        assert arrays == ("other",)
        assert len(notes) == 1
    renamed = ArrayPreprocess(names=("images",), arrays=("x",))
    assert renamed.encode({"x": floats, "id": np.zeros(1)}).keys() == {"images"}


def test_arrays_are_matched_by_name_and_what_the_file_does_not_take_is_named() -> None:
    forms = (entry(("n", 2), name="left"), entry(("n", 2), name="right"))
    array = np.zeros((1, 2), np.float32)
    sample = {"right": array, "id": array, "left": array}
    assert match_arrays(forms, sample, file="m") == (
        ("left", "right"),
        ["m does not take id: left out"],
    )
    with pytest.raises(ModelError, match="give an array of the name 'left'"):
        match_arrays(forms, {"a": array, "b": array}, file="m")


def test_whole_numbers_take_the_type_of_the_file_if_they_fit() -> None:
    narrow = ArrayPreprocess(names=("ids",), dtypes=("int8",))
    assert narrow.encode({"ids": np.array([[5]])})["ids"].dtype == np.int8
    with pytest.raises(DataError, match=r"has int64 values from 5 to 500"):
        narrow.encode({"ids": np.array([[5, 500]])})
    form = (Entry("ids", "int64", ("n", 3)),)
    assert match_arrays(form, {"ids": np.zeros((1, 3), np.int32)}, file="m")[0] == ("ids",)


@pytest.mark.parametrize(
    ("form", "array", "said"),
    [
        (entry(("n", 4, 4, 3)), np.zeros((1, 3, 4, 4), np.float32), "x.transpose(0, 2, 3, 1)"),
        (entry(("n", 3, 4, 4)), np.zeros((1, 4, 4, 3), np.float32), "x.transpose(0, 3, 1, 2)"),
        (entry(("n", 4)), np.zeros((1, 5), np.float32), "[n, 5]"),
        (entry(("n", 4)), np.zeros((1, 4), np.int64), "is int64 [n, 4]"),
        (entry(("n", 4)), np.zeros((1, 2, 2), np.float32), "[n, 2, 2]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_any_work(
    form: Entry, array: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(said)):
        match_arrays((form,), {"images": array}, file="m.onnx")


TEXTS: Shape = ("batch", "sequence")
BERT = """
<ir_version: 8, opset_import: ["": 17]>
bert (int64[n,s] input_ids, int64[n,s] attention_mask, int64[n,s] token_type_ids,
      int64[n,s] position_ids) => (float[n,s] seen)
<float[5] words = {0.5, 1.5, -2.0, 3.0, 4.0}, float[2] kinds = {10.0, 20.0},
 float[3] places = {100.0, 200.0, 300.0}>
{
  a = Gather(words, input_ids)
  b = Gather(kinds, token_type_ids)
  c = Gather(places, position_ids)
  ab = Add(a, b)
  abc = Add(ab, c)
  mask = Cast<to=1>(attention_mask)
  seen = Mul(abc, mask)
}
"""


def texts(*names: str, shape: Shape = TEXTS, dtype: str = "int64") -> list[Entry]:
    return [entry(shape, dtype, name) for name in names]


def test_a_file_of_texts_gets_what_its_inputs_are_called(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(BERT)
    onnx.save(model, tmp_path / "m.onnx")
    entries = texts(*(value.name for value in model.graph.input))
    asked = InputSpec(max_length=3)
    spec, names, notes = text_spec(asked, entries, file="m.onnx")
    assert (spec, notes) == (asked, [])
    words = TextPreprocess(vocabulary=("a", "b", "c")).changed(max_length=3, **names)
    given = words.encode({"text": np.array(["b c a c", "a"], object)})
    assert {name: array.dtype for name, array in given.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids", "position_ids"), np.int64
    )
    (seen,) = predictor(tmp_path / "m.onnx")(given).values()
    # words b, c, a of 3, 4, -2; kind 0; places 0, 1, 2; the second text is padded
    np.testing.assert_allclose(seen, [[113, 214, 308], [108, 0, 0]])
    write_preprocess(tmp_path, words)
    (tmp_path / "manifest.json").write_text(json.dumps({"labels": None, "shipped": {"file": ""}}))
    (tmp_path / LOADER).write_text(make_loaders(words)[LOADER])
    loaded = runpy.run_path(str(tmp_path / LOADER))["encode"]("b c a c")
    for name, array in words.encode({"text": np.array(["b c a c"], object)}).items():
        np.testing.assert_array_equal(loaded[name], array)


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (texts("ids"), ("ids", None, None, None)),
        (texts("input.1"), ("input.1", None, None, None)),
        (texts("mask", "tokens"), ("tokens", "mask", None, None)),
        (texts("input_ids", "input_mask", "segment_ids"), ("input_ids", "input_mask",
         "segment_ids", None)),
        (texts("x", "positions", dtype="int32"), ("x", None, None, "positions")),
    ],
)  # fmt: skip
def test_usual_names_of_inputs_of_texts(
    entries: list[Entry], names: tuple[str | None, ...]
) -> None:
    _, found, notes = text_spec(InputSpec(), entries, file="m.onnx")
    assert tuple(found[role] for role in ("ids", "mask", "types", "positions")) == names
    assert found["dtype"] == entries[0].dtype
    assert bool(notes) == (names[1] is None)


def test_a_fixed_length_is_the_files() -> None:
    fixed = texts("input_ids", "attention_mask", shape=(1, 64))
    spec, _, _ = text_spec(InputSpec(), fixed, file="m.onnx")
    assert (spec.max_length, spec.fixed_length) == (64, True)
    with pytest.raises(ModelError, match=r"max_length is 32; leave it out"):
        text_spec(InputSpec(max_length=32), fixed, file="m.onnx")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (texts("input_ids", "pixel_values"), "What 'pixel_values' gets is not known"),
        (texts("input_ids", "decoder_input_ids"), "What 'decoder_input_ids' gets is not known"),
        (texts("input_ids", "tokens"), "What 'tokens' gets is not known"),
        (texts("input_ids", "lengths"), "What 'lengths' gets is not known"),
        (texts("mask", "positions"), "none of these is called like input_ids"),
        (texts("input_ids", dtype="float32"), "int64 or int32"),
        (texts("input_ids", shape=("n",)), "int64 or int32"),
        ([*texts("input_ids"), *texts("mask", dtype="int32")], "must be of one type"),
    ],
)
def test_a_file_that_takes_no_texts_is_refused(entries: list[Entry], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        text_spec(InputSpec(), entries, file="m.onnx")


def test_a_trained_file_needs_its_numbers_of_words() -> None:
    with pytest.raises(ModelError, match=r"m\.onnx was trained with words numbered in some way"):
        check_words(InputSpec(), "m.onnx")
    check_words(InputSpec(tokenizer="tokenizer.json"), "m.onnx")
