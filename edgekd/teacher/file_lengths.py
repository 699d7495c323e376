"""How long texts may be for an ONNX file, found by trial: its shapes do not show a table's end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgekd.data.text_lengths import describe_lengths, find_edge
from edgekd.data.tokenizers import AnyText
from edgekd.errors import ModelError
from edgekd.wording import option

_LONG = 512
"""Beyond it one text is tried and not two: attention takes memory by the square of a length."""


def fit_lengths(
    path: Path, preprocess: AnyText, *, asked: bool, file: str
) -> tuple[AnyText, list[str]]:
    """Return the preprocessing with the lengths on which the file runs, and notes for the user.

    Args:
        path: of a file whose axis of words is free.
        preprocess: as the recipe and the tokenizer have it, with the names of the file's inputs.
        asked: whether the user chose max_length, which then is not changed.
        file: its name, for messages.

    Raises:
        ModelError: it runs on no length, or not on the length that was asked for.
    """
    trial = _Trial(path, preprocess)
    most = preprocess.max_length
    works = next((n for n in _candidates(most) if trial.runs(n)), None)
    if works is None:
        raise ModelError(f"{file} cannot take texts: {trial.fault(min(most, 16))}")
    low = high = works
    if works < most:
        high = find_edge(trial.runs, works, most)
    if works <= most:
        low = 1 if trial.runs(1) else find_edge(trial.runs, works, 1)
    if asked and high != most:
        takes = f"only {low}" if low == high else f"{low} to {high}"
        if works > most:
            takes = f"no fewer than {works}"
        raise ModelError(
            f"max_length is {most}, and {file} takes {takes} tokens; "
            f"{option('model.input.max_length', high)}, or export it for other lengths"
        )
    shortest = high if preprocess.is_fixed else min(max(low, preprocess.min_length), high)
    notes = [f"{file} {words}" for words in describe_lengths(low, high, most)]
    return preprocess.changed(min_length=shortest, max_length=high), notes


def _candidates(most: int) -> Iterator[int]:
    """Return the lengths to try until one runs: the largest, its halves, then every one."""
    halves = [most >> i for i in range(most.bit_length())]
    yield from halves
    yield from (n for n in range(1, 2 * most + 1) if n not in halves)


class _Trial:
    """An ONNX file that is run on made-up numbers."""

    def __init__(self, path: Path, preprocess: AnyText) -> None:
        from edgekd.exporters.ort_session import predictor

        self._predict = predictor(path)
        self._inputs = preprocess
        self._pair = [n for n in range(3) if n != preprocess.padding][:2]

    def runs(self, length: int) -> bool:
        return not self.fault(length)

    def fault(self, length: int) -> str:
        """Return why it does not run on texts of this length, or ""."""
        count = 1 if length > _LONG else 2 + (length == 2)  # the two axes cannot be mixed up
        row = [self._pair[i % 3 % 2] for i in range(length)]
        free = self._inputs.changed(min_length=1, max_length=65536)
        try:
            answers = self._predict(free.pad([(row, [1] * length)] * count))
        except ModelError as error:
            return str(error)
        shapes = [np.shape(answer) for answer in answers.values()]
        if any(count in shape[:2] for shape in shapes):
            return ""
        return f"its outputs have the shapes {shapes} for {count} texts of {length} tokens"
