"""Tokenizers of users: tokenizer.json, vocabularies, functions that return whatever they like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import choose_preprocess
from edgekd.data.preprocess import (
    ArrayPreprocess,
    ImagePreprocess,
    read_preprocess,
    write_preprocess,
)
from edgekd.data.text_preprocess import TextInputs
from edgekd.data.tokenizer_files import describe_lost
from edgekd.data.tokenizer_results import parse_row, parse_rows
from edgekd.data.tokenizers import AnyText, TokenizerPreprocess
from edgekd.data.vocabulary import words
from edgekd.errors import DataError, ModelError
from edgekd.wording import speaking

TEXTS = ["a cat", "the dog sat", "a cat sat on the mat"]
DATA = Dataset("text", {"text": np.array(TEXTS, dtype=object)}, {})


def chosen(folder: Path, tokenizer: str, **given: Any) -> AnyText:
    spec = InputSpec(tokenizer=tokenizer, **given)
    found = choose_preprocess(spec, DATA, np.arange(3), root=folder)
    assert not isinstance(found, (ImagePreprocess, ArrayPreprocess))
    return found


def encoded(preprocess: TextInputs, *texts: str) -> list[list[int]]:
    found: list[list[int]] = preprocess.encode({"text": np.array(texts)})["tokens"].tolist()
    return found


def named_words(folder: Path, name: str = "tokenizer.json") -> Path:
    """Write a vocabulary with special tokens, as many are in the field."""
    path = folder / name
    path.write_text(json.dumps({"<pad>": 0, "<unk>": 1, "cat": 2, "the": 3, "sat": 4}))
    return path


def test_words_with_given_numbers(tmp_path: Path) -> None:
    named_words(tmp_path, "vocab.json")
    found = chosen(tmp_path, "vocab.json", max_length=3)
    assert encoded(found, "The CAT, sat!", "dog") == [[3, 2, 4], [1, 0, 0]]
    assert encoded(found, "", "cat sat cat sat") == [[1, 0, 0], [2, 4, 2]]
    assert found.known_ids == 5


def test_a_tokenizer_json_comes_back_with_its_length(tmp_path: Path) -> None:
    named_words(tmp_path, "vocab.json")
    first = chosen(tmp_path, "vocab.json")
    (tmp_path / "own").mkdir()
    write_preprocess(tmp_path / "own", first.changed(max_length=2, min_length=2))
    stored = read_preprocess(tmp_path / "own")
    assert isinstance(stored, TextInputs)
    assert encoded(stored, "the cat sat", "cat") == [[3, 2], [2, 0]]
    again = chosen(tmp_path, "own/preprocess/tokenizer.json")  # as any tokenizer.json
    assert again.max_length == 2, "its own truncation"
    assert encoded(chosen(tmp_path, "own/preprocess"), "sat") == [[4]]


def test_pieces_of_words(tmp_path: Path) -> None:
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s", "the"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines))
    found = chosen(tmp_path, "vocab.txt")
    assert encoded(found, "The cats", "zzz") == [[2, 7, 5, 6, 3], [2, 1, 3, 0, 0]]


FUNCTIONS = {
    "one_list": "def tok(text): return [ord(c) % 50 for c in text]",
    "array": "import numpy as np\ndef tok(text): return np.array([ord(c) % 50 for c in text])",
    "tensor": "import torch\ndef tok(text): return torch.tensor([[ord(c) % 50 for c in text]])",
    "table": (
        "def tok(text):\n    ids = [ord(c) % 50 for c in text]\n"
        "    return {'input_ids': ids + [0, 0], 'attention_mask': [1] * len(ids) + [0, 0]}"
    ),
    "batch": "def tok(texts): return [[ord(c) % 50 for c in t] for t in texts]",
    "padded_batch": (
        "import numpy as np\ndef tok(texts):\n    n = max(map(len, texts))\n"
        "    ids = np.array([[ord(c) % 50 for c in t.ljust(n)] for t in texts])\n"
        "    mask = np.array([[1] * len(t) + [0] * (n - len(t)) for t in texts])\n"
        "    return {'ids': ids, 'mask': mask}"
    ),
    "factory": "def tok(): return lambda text: [ord(c) % 50 for c in text]",
}


@pytest.mark.parametrize("code", FUNCTIONS.values(), ids=FUNCTIONS)
def test_whatever_a_function_returns_becomes_the_same_numbers(code: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(code)
    found = chosen(tmp_path, "net.py:tok")
    wanted = [[ord(c) % 50 for c in "cat"], [ord("a") % 50, 0, 0]]
    assert encoded(found, "cat", "a") == wanted
    assert found.encode({"text": np.array(["cat", "a"])})["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_function_that_returns_words_gets_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def tok(text): return text.split()")
    found = chosen(tmp_path, "net.py:tok")
    assert found.known_ids == 2 + len({word for text in TEXTS for word in text.split()})
    assert encoded(found, "a unknown") == [[2, 1]]
    write_preprocess(tmp_path, found)
    assert read_preprocess(tmp_path) == found


def test_a_folder_has_no_function_run_by_its_word_alone(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def tok(text): return [len(text)]")
    write_preprocess(tmp_path, chosen(tmp_path, "net.py:tok"))
    stored = json.loads((tmp_path / "preprocess.json").read_text())
    (tmp_path / "preprocess.json").write_text(json.dumps({**stored, "sha256": "0"}))
    found = read_preprocess(tmp_path)
    assert isinstance(found, TextInputs)
    with pytest.raises(ModelError, match=r"net\.py:tok of the model's author, which is not known"):
        encoded(found, "a")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def tok(text): return None", r"returned NoneType None; expected for each"),
        ("def tok(text): return [-1]", r"returned the number -1; numbers of words start at 0"),
        ("def tok(text): return 1 / 0", r"failed at .*net\.py:1 with ZeroDivisionError"),
        ("def tok(): return 3", r"takes no text and returned int"),
        ("def tok(text): return [0.5]", r"returned list \[0\.5\]"),
    ],
)
def test_what_is_no_tokenizer_is_refused(code: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(DataError, match=message):
        chosen(tmp_path, "net.py:tok")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.json", None, "does not exist"),
        ("a.json", "{", "cannot be read"),
        ("a.json", '{"version": "1.0", "model": {"type": "none"}}', "cannot be read"),
        ("a.json", '{"cat": "two"}', "neither a tokenizer.json"),
        ("a.json", '{"cat": 2}', "no entry for unknown words"),
        ("a.model", "x", "is not a tokenizer that is known here"),
    ],
)
def test_files_that_are_no_tokenizers_are_refused(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=message):
        chosen(tmp_path, name)


def test_encodings_of_the_library_are_read() -> None:
    one = SimpleNamespace(ids=[1, 2, 0], attention_mask=[1, 1, 0])
    assert parse_row(one, "t") == ([1, 2], [1, 1])
    assert parse_rows([one, one], 2, "t") == [([1, 2], [1, 1])] * 2
    with pytest.raises(DataError, match="returned list"):
        parse_rows([one], 2, "t")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Don't stop!", ["don", "t", "stop"]),
        ("我爱 abc", ["我", "爱", "abc"]),
        ("हिन्दी में।", ["हिन्दी", "में"]),
        ("привет, мир", ["привет", "мир"]),
        ("😀😀 ok", ["😀", "😀", "ok"]),
        ("?!", []),
    ],
)
def test_words_of_the_scripts_of_the_world(text: str, wanted: list[str]) -> None:
    assert words(text, lower=True) == wanted


def test_kinds_of_calls() -> None:
    called: Callable[..., Any] = InputSpec
    with pytest.raises(ValueError, match="not both"):
        called(tokenizer="a.json", vocabulary="b.txt")


def test_entries_that_no_text_can_give_are_told(tmp_path: Path) -> None:
    entries = ["<pad>", "<unk>", "[CLS]", "the", "don't", ".", "naïve", "猫", "猫猫", "a_1"]
    (tmp_path / "vocab.json").write_text(json.dumps(entries))
    found = chosen(tmp_path, "vocab.json")
    with speaking("flags", names=["tokenizer"]):
        said = describe_lost(found) or ""
    assert said.startswith("warning: 3 entries of the vocabulary can never match")
    assert """("don't", '.', '猫猫')""" in said
    assert "--tokenizer file.py:function" in said
    ids = {number for row in encoded(found, "the naïve 猫 a_1") for number in row}
    assert ids == {entries.index(word) for word in ("the", "naïve", "猫", "a_1")}, "all others can"


def test_a_rule_of_its_own_and_words_by_the_rule_are_no_fault(tmp_path: Path) -> None:
    named_words(tmp_path, "vocab.json")
    made = chosen(tmp_path, "vocab.json")
    assert describe_lost(made) is None
    assert isinstance(made, TokenizerPreprocess)
    content = json.loads(made.content)
    content["pre_tokenizer"] = {"type": "Whitespace"}
    content["model"]["vocab"]["."] = 5
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert describe_lost(chosen(tmp_path, "tokenizer.json")) is None
