"""Tokenizers of the user: a tokenizer.json of Hugging Face's library, or a function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from edgekd.data.text_preprocess import FIRST_WORD, UNKNOWN, Row, TextInputs, TextPreprocess
from edgekd.data.tokenizer_results import Found, parse_row, parse_rows
from edgekd.data.vocabulary import WORD, words
from edgekd.errors import DataError, ModelError, one_line, require
from edgekd.user_code import blame

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PANGRAMS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"),
    *("pack", "my", "box", "with", "five", "dozen", "jugs"),
)
PADDING_WORDS = ("[PAD]", "<pad>", "<PAD>", "PAD", "pad", "<blank>")
UNKNOWN_WORDS = ("[UNK]", "<unk>", "<UNK>", "UNK", "unk", "<oov>", "<OOV>", "OOV")
SPECIAL = frozenset({*PADDING_WORDS, *UNKNOWN_WORDS})
# the library's expressions know no \U0001f300: the characters themselves are given
WORD_PATTERN = re.sub(r"\\[uU]([0-9a-f]{8}|[0-9a-f]{4})", lambda m: chr(int(m[1], 16)), WORD)
"""`WORD` for the library of tokenizers."""


class TokenizerPreprocess(TextInputs):
    """Texts as a tokenizer.json encodes them, special tokens included."""

    stored_in: ClassVar[Mapping[str, str]] = {"content": "tokenizer.json"}
    kind: Literal["tokenizer"] = "tokenizer"
    content: str = Field(min_length=2, description="the file, with its length limit")
    empty: int = Field(default=0, ge=0, description="number of a text without any token")

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, padding: int, max_length: int) -> Self:
        """Return it with texts cut at `max_length`, and padded only by edgekd."""
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        found = (tokenizer.token_to_id(word) for word in UNKNOWN_WORDS)
        return cls(
            content=tokenizer.to_str(),
            padding=padding,
            max_length=max_length,
            empty=next((number for number in found if number is not None), padding),
        )

    def changed(self, **update: object) -> Self:
        new = super().changed(**update)
        if new.max_length == self.max_length:
            return new
        cut = type(self).of(open_tokenizer(self.content), padding=0, max_length=new.max_length)
        return super().changed(**update, content=cut.content)

    def file_content(self, option: str) -> bytes:
        return self.content.encode()

    @classmethod
    def option_of(cls, option: str, data: bytes) -> object:
        return data.decode()

    @property
    def known_ids(self) -> int:
        return 1 + max(int(number) for number in self._tokenizer.get_vocab().values())

    @property
    def common_words(self) -> Sequence[str]:
        vocabulary = self._tokenizer.get_vocab()
        found = [w for w in sorted(vocabulary, key=lambda w: vocabulary[w]) if w.isalpha()]
        return found[:200] or _PANGRAMS

    @property
    def never_found(self) -> tuple[str, ...]:
        """Entries of a vocabulary that no text can give, as words are taken from texts here.

        Special entries, as <pad> or [CLS], do not count; nor do tokenizers with a rule of their
        own.
        """
        content = json.loads(self.content)
        rule = (content.get("pre_tokenizer") or {}).get("pattern") or {}
        if content["model"].get("type") != "WordLevel" or rule.get("Regex") != WORD_PATTERN:
            return ()
        entries = content["model"]["vocab"]
        special = re.compile(r"<.+>|\[.+\]")
        plain = (word for word in entries if word not in SPECIAL and not special.fullmatch(word))
        return tuple(word for word in plain if words(word, lower=False) != [word])

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return open_tokenizer(self.content)

    def rows(self, texts: Sequence[str]) -> list[Row]:
        return [
            (one.ids, one.attention_mask) if one.ids else ([self.empty], [1])
            for one in self._tokenizer.encode_batch(list(texts))
        ]


def open_tokenizer(content: str) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json.

    Raises:
        MissingExtra: the library is not installed.
        ModelError: this is not such a file.
    """
    library = require("tokenizers", extra="text")
    try:
        found: Tokenizer = library.Tokenizer.from_str(content)
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(
            f"the tokenizer.json cannot be read ({one_line(error)[:200]}); write it with "
            "tokenizer.save('tokenizer.json') of the tokenizers library, or "
            "tokenizer.save_pretrained(FOLDER) of a fast tokenizer of transformers"
        ) from error
    return found


_functions: dict[tuple[str, str], Callable[[list[str]], Any]] = {}
"""The functions of this process. A folder that is read never has code run by its word alone."""


class FunctionPreprocess(TextInputs):
    """Texts as a function of the user turns them to numbers, or to words that are numbered.

    The function itself is not stored: it is known in the process that was told of it.
    """

    stored_in: ClassVar[Mapping[str, str]] = {"vocabulary": "vocabulary.json"}
    kind: Literal["function"] = "function"
    function: str = Field(description="its file and name")
    sha256: str = Field(description="of its source files")
    vocabulary: tuple[str, ...] = Field(
        default=(), description="where it returns words: word i has the number i + 2"
    )
    unknown: int = Field(default=UNKNOWN, ge=0, le=1, description="number of an unknown word")

    @property
    def is_known(self) -> bool:
        """Whether the function can be called in this process."""
        return (self.function, self.sha256) in _functions

    def introduce(self, function: Callable[[list[str]], Any]) -> None:
        """Let this process know the function; it takes a list of texts."""
        _functions[self.function, self.sha256] = function

    def file_content(self, option: str) -> bytes:
        return json.dumps(self.vocabulary, ensure_ascii=False).encode()

    @classmethod
    def option_of(cls, option: str, data: bytes) -> object:
        return json.loads(data)

    @property
    def known_ids(self) -> int | None:
        return FIRST_WORD + len(self.vocabulary) if self.vocabulary else None

    @property
    def common_words(self) -> Sequence[str]:
        return self.vocabulary[:200] or _PANGRAMS

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.vocabulary, FIRST_WORD)}

    def rows(self, texts: Sequence[str]) -> list[Row]:
        if not self.is_known:
            raise ModelError(
                f"texts become numbers by the function {self.function} of the model's author, "
                "which is not known here; encode them there"
            )
        found: list[Row] = []
        for row, seen in self.call(texts):
            ids = [self._number.get(w, self.unknown) if isinstance(w, str) else w for w in row]
            ids = ids[: self.max_length] or [self.unknown if self.vocabulary else self.padding]
            found.append((ids, list(seen[: self.max_length]) or [1]))
        return found

    def call(self, texts: Sequence[str]) -> list[Found]:
        """Return what the function makes of each text: numbers or words, and the mask.

        Raises:
            DataError: it fails, or returns something else.
        """
        function = _functions[self.function, self.sha256]
        try:
            value = function(list(texts))
        except Exception as error:
            raise DataError(
                f"the tokenizer {self.function} failed at {blame(error)} with "
                f"{type(error).__name__}: {one_line(error)[:200]}; it must take every text of the "
                "data, also very short and very long ones"
            ) from error
        return parse_rows(value, len(texts), self.function)


AnyText = TextPreprocess | TokenizerPreprocess | FunctionPreprocess
"""Every kind of preprocessing of texts."""


def one_by_one(function: Callable[[str], Any]) -> Callable[[list[str]], Any]:
    """Return a function of several texts, from one of a single text."""
    return lambda texts: [function(text) for text in texts]


def takes_one_text(function: Callable[..., Any], text: str, name: str) -> bool:
    """Tell whether a function takes one text and not a list of them.

    Raises:
        DataError: it takes neither.
    """
    try:
        parse_row(function(text), name)
        return True
    except Exception as error:  # noqa: BLE001  # it wants a list
        first = error
    try:
        parse_rows(function([text, text]), 2, name)
        return False
    except DataError as error:
        raise first if isinstance(first, DataError) else error from None
    except Exception:  # noqa: BLE001  # the first error tells more
        raise DataError(
            f"the tokenizer {name} failed at {blame(first)} with {type(first).__name__}: "
            f"{one_line(first)[:200]}; expected is a function that takes a text and returns its "
            "numbers, a list or array; or takes a list of texts and returns such a list for each"
        ) from first


def largest_number(preprocess: TextInputs, texts: Sequence[str]) -> int:
    """Return the largest number that a tokenizer can give, or gives for these texts."""
    known = preprocess.known_ids
    if known is not None:
        return known - 1
    return max(int(np.max(ids)) for ids, _ in preprocess.rows(texts))
