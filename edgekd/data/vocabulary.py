r"""The vocabulary of text models: learned from the training texts, or read from a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from edgekd.errors import DataError

_ALONE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"  # Han, Kana
    r"\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"  # emoji
)
_MARKS = (  # which combine with letters, and are no letters to `\w`
    r"\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    r"\u0900-\u0963\u0966-\u0dff"  # the scripts of India
)
WORD = rf"[{_ALONE}]|(?:[^\W{_ALONE}]|[{_MARKS}])+"
"""What a word is: letters, digits and underscores, with the marks that belong to letters. A
character of a script without spaces is a word by itself, and so is an emoji."""
_WORD = re.compile(WORD)
_LIMIT_BYTES = 256 << 20


def words(text: str, *, lower: bool) -> list[str]:
    """Return the words (`WORD`) of a text in order."""
    return _WORD.findall(text.lower() if lower else text)


def build_vocabulary(texts: Iterable[str], *, size: int, lower: bool = True) -> tuple[str, ...]:
    """Return the `size` commonest words, commonest first, equals in alphabetical order.

    Raises:
        DataError: there is no word in the texts.
    """
    return count_words((words(str(text), lower=lower) for text in texts), size=size)


def count_words(texts: Iterable[Iterable[str]], *, size: int) -> tuple[str, ...]:
    """Return the `size` commonest words of texts that are split already, in the same order.

    Raises:
        DataError: there is no word in the texts.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    if not counts:
        raise DataError("the training texts contain no word; look at the text column of the data")
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return tuple(ranked[:size])


def vocabulary_bytes(vocabulary: Iterable[str]) -> bytes:
    """Return the content of a vocabulary file: UTF-8, one word per line."""
    return "".join(f"{word}\n" for word in vocabulary).encode()


def parse_vocabulary(data: bytes) -> tuple[str, ...]:
    """Read a vocabulary file: UTF-8, one word per line, in the order of the words' numbers.

    Raises:
        ValueError: it is not UTF-8, or a line is not one word of letters, digits and underscores,
            or contains a duplicate word.
    """
    if len(data) > _LIMIT_BYTES:
        raise ValueError(f"it has more than {_LIMIT_BYTES:,} bytes")
    found: dict[str, int] = {}
    for line, text in enumerate(data.decode("utf-8-sig").removesuffix("\n").split("\n"), 1):
        word = text.removesuffix("\r")
        if not _WORD.fullmatch(word):
            raise ValueError(
                f"line {line} is {word[:40]!r}, which is not one word of letters, digits and "
                "underscores"
            )
        if word in found:
            raise ValueError(f"the word {word!r} is in line {found[word]} and in line {line}")
        found[word] = line
    return tuple(found)


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read a user's vocabulary file.

    Raises:
        DataError: it is not there, or cannot be used; the line is named.
    """
    try:
        return parse_vocabulary(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"the vocabulary {path} cannot be used: {reason}; give a UTF-8 text file with one word "
            "per line, the first of which gets the number 2 (0 is padding, 1 an unknown word)"
        ) from error
