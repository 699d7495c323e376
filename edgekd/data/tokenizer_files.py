"""Open the tokenizer that a recipe names: a file, a folder, or a function."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.data.text_preprocess import TextPreprocess
from edgekd.data.tokenizers import (
    PADDING_WORDS,
    SPECIAL,
    UNKNOWN_WORDS,
    WORD_PATTERN,
    AnyText,
    FunctionPreprocess,
    TokenizerPreprocess,
    one_by_one,
    open_tokenizer,
    takes_one_text,
)
from edgekd.data.vocabulary import count_words, read_vocabulary
from edgekd.errors import DataError, ModelError, one_line, require
from edgekd.store import digest, file_sha256, locate
from edgekd.user_code import blame, hash_source, resolve
from edgekd.wording import describe_root, has_recipe, option

MAX_LENGTH = 128
_LIMIT_BYTES = 256 << 20
_SHOWN = 5


def is_function(spec: str) -> bool:
    """Whether a tokenizer is named as FILE.py:FUNCTION or package.module:FUNCTION."""
    where, colon, name = spec.rpartition(":")
    return bool(colon and where) and name.isidentifier()


def open_named(
    spec: str, texts: Sequence[str], *, root: Path, max_length: int | None, size: int
) -> AnyText:
    """Return the preprocessing by the tokenizer that `spec` names.

    Args:
        spec: a file, a folder with a tokenizer.json, or a function.
        texts: of the training split; words that a function returns are numbered by them.
        root: relative paths start here.
        max_length: None: that of the tokenizer, else 128.
        size: of a vocabulary that is learned.

    Raises:
        DataError: the function fails or returns something else.
        ModelError: it does not exist or is none.
        MissingExtra: a package is needed for it.
    """
    if is_function(spec):
        return _function(spec, texts, root, max_length or MAX_LENGTH, size)
    path = _file(spec, root)
    if path.stat().st_size > _LIMIT_BYTES:
        raise ModelError(f"{path} has more than {_LIMIT_BYTES:,} bytes and is not a tokenizer")
    if path.suffix.lower() == ".json":
        return _json(path, max_length)
    if path.suffix.lower() in (".txt", ".vocab"):
        return _lines(path, max_length)
    raise ModelError(
        f"{path.name} is not a tokenizer that is known here; give a tokenizer.json (of a fast "
        "tokenizer of transformers: save_pretrained), a vocabulary with one word per line (.txt), "
        "or a function, FILE.py:FUNCTION, that turns a text into numbers"
    )


def hash_tokenizer(spec: str, *, root: Path) -> str:
    """Return a hash of the file or of the function's source, and of what it imports beside it.

    Raises:
        ModelError: it does not exist.
    """
    if is_function(spec):
        return hash_source(spec, root=root) or digest(spec)
    return file_sha256(_file(spec, root))


def _file(spec: str, root: Path) -> Path:
    path = locate(spec, root=root)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"the tokenizer {path} does not exist; give a tokenizer.json, a folder with one, a "
            f"vocabulary (.txt or .json), or FILE.py:FUNCTION; {describe_root()}"
        )
    return path


def _json(path: Path, max_length: int | None) -> AnyText:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the tokenizer {path} cannot be read ({one_line(error)[:200]})"
        ) from error
    if isinstance(content, dict) and "model" in content:
        return _limited(open_tokenizer(json.dumps(content, ensure_ascii=False)), max_length)
    if isinstance(content, list):
        content = {word: number for number, word in enumerate(content)}
    good = isinstance(content, dict) and all(
        isinstance(k, str) and isinstance(v, int) and v >= 0 for k, v in content.items()
    )
    if not good or not content:
        raise ModelError(
            f"{path} is neither a tokenizer.json of the tokenizers library nor a vocabulary, "
            '{"word": number, ...} or ["word", ...]; give one of these, or FILE.py:FUNCTION'
        )
    return _words(content, max_length)


def _lines(path: Path, max_length: int | None) -> AnyText:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"the vocabulary {path} cannot be read ({error})") from error
    words = [line.rstrip("\r\n") for line in lines]
    if SPECIAL.isdisjoint(words):
        return words_of(read_vocabulary(path), max_length)
    return _words({word: number for number, word in enumerate(words)}, max_length)


def describe_lost(preprocess: AnyText) -> str | None:
    """Return a warning where a vocabulary was made by another rule than that of words here."""
    lost = preprocess.never_found if isinstance(preprocess, TokenizerPreprocess) else ()
    if not lost:
        return None
    name = option("model.input.tokenizer", "file.py:function")
    if has_recipe():  # of a model or of a student
        name = "input.tokenizer = 'file.py:function'"
    shown = ", ".join(map(repr, lost[:_SHOWN])) + (", ..." if len(lost) > _SHOWN else "")
    entries = "1 entry" if len(lost) == 1 else f"{len(lost):,} entries"
    return (
        f"warning: {entries} of the vocabulary can never match, because edgekd takes words as "
        f"letters, digits and underscores ({shown}). The model was trained with another rule, so "
        f"its texts get other token ids here; provide its own tokenizer ({name})"
    )


def words_of(vocabulary: tuple[str, ...], max_length: int | None) -> TextPreprocess:
    """Return the preprocessing by words, whose case is kept if one of them has a capital letter."""
    lower = all(word == word.lower() for word in vocabulary)
    return TextPreprocess(vocabulary=vocabulary, max_length=max_length or MAX_LENGTH, lower=lower)


def _words(numbers: Mapping[str, int], max_length: int | None) -> AnyText:
    """Return the preprocessing by words whose numbers are given, or by pieces of words."""
    library = require("tokenizers", extra="text")
    unknown = next((word for word in UNKNOWN_WORDS if word in numbers), None)
    plain = [word for word in numbers if word not in SPECIAL]
    lower = all(word == word.lower() for word in plain if not word.startswith(("[", "<")))
    if any(word.startswith("##") for word in plain) and "[CLS]" in numbers:
        pieces = require("tokenizers.implementations", extra="text")
        made = pieces.BertWordPieceTokenizer(dict(numbers), lowercase=lower)
        return _limited(open_tokenizer(made.to_str()), max_length)
    if unknown is None:
        raise ModelError(
            "the vocabulary has no entry for unknown words (such as <unk> or [UNK]); add one, or "
            "give a function, FILE.py:FUNCTION, that turns a text into numbers"
        )
    parts, alone = library.pre_tokenizers, library.Regex(WORD_PATTERN)
    made = library.Tokenizer(library.models.WordLevel(dict(numbers), unk_token=unknown))
    made.pre_tokenizer = parts.Split(alone, behavior="removed", invert=True)
    if lower:
        made.normalizer = library.normalizers.Lowercase()
    return _limited(made, max_length)


def _limited(tokenizer: Any, max_length: int | None) -> TokenizerPreprocess:
    own = (tokenizer.truncation or {}).get("max_length")
    stated = (tokenizer.padding or {}).get("pad_id")
    found = [tokenizer.token_to_id(word) for word in PADDING_WORDS]
    padding = next((number for number in (stated, *found) if number is not None), 0)
    length = max_length or min(own or MAX_LENGTH, 65536)
    return TokenizerPreprocess.of(tokenizer, padding=padding, max_length=length)


def _function(
    spec: str, texts: Sequence[str], root: Path, max_length: int, size: int
) -> FunctionPreprocess:
    where, _, function = spec.rpartition(":")
    name = f"{where.replace(chr(92), '/').rpartition('/')[2]}:{function}"
    source = hash_source(spec, root=root) or digest(spec)
    probe = next((str(text) for text in texts if len(str(text)) > 2), "a short text")
    found = FunctionPreprocess(function=name, sha256=source, max_length=max_length)
    found.introduce(_batched(resolve(spec, root=root), probe, name))
    seen = found.call([str(text) for text in texts[:256]])
    if not any(isinstance(word, str) for words, _ in seen for word in words):
        return found
    everything = found.call([str(text) for text in texts])
    vocabulary = count_words((words for words, _ in everything), size=size)
    return found.changed(vocabulary=vocabulary)


def _batched(function: Callable[..., Any], probe: str, name: str) -> Callable[[list[str]], Any]:
    """Return a function of a list of texts, from what the user named.

    Raises:
        DataError: it cannot be called with a text or without arguments, or fails.
    """
    try:
        required = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):  # written in C, or an object that hides it
        required = [None]  # type: ignore[list-item]
    if not required:
        try:
            made = function()
        except Exception as error:
            raise DataError(
                f"the tokenizer {name} failed at {blame(error)} with {type(error).__name__}: "
                f"{one_line(error)[:200]}; without a parameter it must return the tokenizer"
            ) from error
        call = made if callable(made) else getattr(made, "encode", None)
        if call is None:
            raise DataError(
                f"{name} takes no text and returned {type(made).__name__}, which is not a "
                "tokenizer; let it take a text and return its numbers"
            )
        function = call
    return one_by_one(function) if takes_one_text(function, probe, name) else function
