"""Words by number: learned from the training texts, or taken from a file of the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.inputs import choose_preprocess
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.data.vocabulary import build_vocabulary
from edgekd.errors import DataError, ModelError

TEXTS = Dataset("text", {"text": np.array(["red red blue", "Green"], dtype=object)}, {})


def words_of(folder: Path, content: bytes) -> TextPreprocess:
    """Return the preprocessing of a recipe with `input.vocabulary = "words.txt"`."""
    (folder / "words.txt").write_bytes(content)
    spec = InputSpec(vocabulary="words.txt")
    found = choose_preprocess(spec, TEXTS, np.arange(2), root=folder)
    assert isinstance(found, TextPreprocess)
    return found


def test_vocabulary_is_by_count_then_alphabet() -> None:
    texts = ["b a c c", "d C"]
    assert build_vocabulary(texts, size=9) == ("c", "a", "b", "d")
    assert build_vocabulary(texts, size=2) == ("c", "a")
    assert build_vocabulary(texts, size=2, lower=False) == ("c", "C")
    with pytest.raises(DataError, match="no word"):
        build_vocabulary(["", "!?"], size=2)


def test_words_of_a_file_are_numbered_in_its_order(tmp_path: Path) -> None:
    found = words_of(tmp_path, "\ufeffblue\r\ngrün\r\nred\r\n".encode())
    assert found.vocabulary == ("blue", "grün", "red")
    assert found.encode({"text": np.array(["Red, BLUE green"])})["tokens"].tolist() == [[4, 2, 1]]


def test_a_capital_letter_in_the_file_keeps_the_case_of_texts(tmp_path: Path) -> None:
    found = words_of(tmp_path, b"blue\nGreen")
    assert not found.lower
    assert found.encode({"text": np.array(["Green green"])})["tokens"].tolist() == [[3, 1]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"line 1 is ''"),
        (b"a\n\nb\n", r"line 2 is ''"),
        (b"a\n[PAD]\n", r"line 2 is '\[PAD\]', which is not one word"),
        (b"a\ntwo words\n", r"line 2 is 'two words'"),
        (b"a\nb\na\n", r"word 'a' is in line 1 and in line 3"),
        (b"\xff\n", "utf-8"),
    ],
)
def test_a_file_that_is_no_list_of_words_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(
        DataError, match=rf"words\.txt cannot be used: .*{reason}.*one word per line"
    ):
        words_of(tmp_path, content)


def test_the_content_of_the_file_is_part_of_a_steps_key(tmp_path: Path) -> None:
    spec = InputSpec(vocabulary="words.txt")
    with pytest.raises(ModelError, match=r"words\.txt does not exist"):
        spec.content(tmp_path)
    seen = set()
    for content in (b"a\n", b"b\n"):
        (tmp_path / "words.txt").write_bytes(content)
        seen.add(spec.content(tmp_path)["vocabulary"])
    assert len(seen) == 2
    assert InputSpec().content(tmp_path) == {}


def test_a_file_and_a_number_of_words_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="or vocabulary_size, not both"):
        InputSpec(vocabulary="words.txt", vocabulary_size=9)
