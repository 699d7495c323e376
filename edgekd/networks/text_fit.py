"""Find out how a network takes texts, by trying: lengths, order of axes, effect of padding.

All is tried with made-up numbers in evaluation mode, before any training. Laws decide, not names:
the answer for a text must not depend on the other texts of its batch, nor on padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from edgekd.data.text_lengths import describe_lengths, find_edge
from edgekd.data.text_preprocess import PADDING, UNKNOWN
from edgekd.data.tokenizer_files import describe_lost
from edgekd.data.tokenizers import AnyText, largest_number
from edgekd.errors import ModelError, one_line
from edgekd.networks.text_call import TextCall, describe_roles, read_forward
from edgekd.networks.text_trial import (
    BATCH,
    Table,
    Trial,
    count_texts,
    equal,
    find_table,
    quiet_run,
)
from edgekd.user_code import blame
from edgekd.wording import has_recipe, option

_LENGTH, _MORE = 7, 3
_LONGEST = 1024
_TEXTS = 2000
_LENGTH_FAULTS = (RuntimeError, IndexError, ValueError, AssertionError)


@dataclass(frozen=True)
class Fitted:
    """How a network is called with texts, what it takes, and notes for the user."""

    call: TextCall
    preprocess: AnyText
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the recipe fixes."""

    name: str
    """Of the network, for messages."""
    max_length: bool = False
    fixed_length: bool | None = None
    padding: bool = False
    own_words: bool = False
    """Whether the vocabulary is learned here, so that it may be cut to the network's table."""
    lengths: tuple[int, ...] = ()
    """Lengths that its builder names."""


def fit_text(body: nn.Module, preprocess: AnyText, texts: Sequence[str], asked: Asked) -> Fitted:
    """Return how `body` is called, and the preprocessing with the lengths that it takes.

    Args:
        body: the network.
        preprocess: by the recipe.
        texts: of the training split.
        asked: what may not be changed.

    Raises:
        ModelError: the network takes no texts in any known way, or fewer numbers than there are.
    """
    call = read_forward(body, name=asked.name)
    with quiet_run(body):
        return _Fitting(body, preprocess, texts, asked).fitted(call)


class _Fitting:
    """What is found out, step by step."""

    def __init__(
        self, body: nn.Module, preprocess: AnyText, texts: Sequence[str], asked: Asked
    ) -> None:
        spread = np.linspace(0, len(texts) - 1, min(len(texts), _TEXTS)).astype(int)
        self.preprocess, self.asked = preprocess, asked
        self.trial = Trial(body, asked.name, preprocess.padding)
        self.texts = [str(texts[i]) for i in spread]
        self.rows = preprocess.rows(self.texts)
        lost = describe_lost(preprocess)
        self.notes: list[str] = [lost] if lost else []

    def fitted(self, call: TextCall) -> Fitted:
        if "offsets" in call.roles:
            bags = [m for m in self.trial.body.modules() if isinstance(m, nn.EmbeddingBag)]
            last = int(any(bag.include_last_offset for bag in bags))
            call = replace(call, padding=self.preprocess.padding, last_offset=last)
            call.settle(self.trial.body)
        call, lengths = self._lengths(call)
        usual = min(max(_LENGTH, lengths[0]), lengths[1])
        self._check_same(call, usual)
        call = self._axes(call, usual)
        ids = self.trial.numbers(BATCH, usual)
        table = find_table(self.trial.body, lambda: self.trial.run(call, ids), ids)
        self._adopt_padding(table)
        preprocess = self.preprocess.changed(
            ids=call.name_of("ids", "tokens"),
            mask=call.name_of("mask", "mask") if call.uses_mask else None,
            min_length=lengths[0],
            max_length=lengths[1],
        )
        preprocess = self._padded(call, preprocess, lengths)
        preprocess = self._vocabulary(preprocess, table)
        self._note_padding(call, preprocess)
        return Fitted(call, preprocess, tuple(self.notes))

    def _lengths(self, call: TextCall) -> tuple[TextCall, tuple[int, int]]:
        """Return the shortest and the longest length, up to max_length, on which it runs."""
        most = self.preprocess.max_length
        call, works = self._find(call)
        if works > most:
            if self.asked.max_length:
                raise self._too_short(works, works)
            for words in describe_lengths(works, works, most):
                self._say(words)
            return call, (works, works)
        low = self._edge(call, works, 0)
        high = most if works == most else self._edge(call, works, most)
        if high < most and self.asked.max_length:
            raise self._too_short(low, high)
        for words in describe_lengths(low, high, most):
            self._say(words)
        return call, (low, high)

    def _find(self, call: TextCall) -> tuple[TextCall, int]:
        """Return a form of the call and a length that run, the largest of those tried first.

        Raises:
            ModelError: there is none.
        """
        most = self.preprocess.max_length
        halves = [most >> i for i in range(most.bit_length())]
        named = [n for n in self.asked.lengths if 0 < n <= _LONGEST]
        rest = [n for n in [*named, *range(1, 2 * most + 1)] if n not in halves]
        for lengths in (halves, dict.fromkeys(rest)):
            for form in _forms(call):
                for length in lengths:
                    fault = self.trial.fault(form, length)
                    if fault is None:
                        return form, length
                    if not isinstance(fault, _LENGTH_FAULTS):
                        break  # a fault of the code, whatever the length
        raise self._refused(call)

    def _edge(self, call: TextCall, good: int, bad: int) -> int:
        return find_edge(lambda length: self.trial.fault(call, length) is None, good, bad)

    def _axes(self, call: TextCall, length: int) -> TextCall:
        """Find the order of the axes: each text has an answer, whatever the others are."""
        count = count_texts(length)
        ids = self.trial.numbers(count, length)
        changed = ids.clone()
        changed[1:] = ids.min() + ids.max() - ids[1:]  # each number becomes the other one
        has_rows = False
        for time_first in sorted({call.time_first, True}):
            tried = replace(call, time_first=time_first)
            try:
                answer, other = self.trial.run(tried, ids), self.trial.run(tried, changed)
            except Exception as error:
                if tried == call:
                    raise self._refused(call, error) from error
                break
            if answer.ndim and len(answer) == count:
                has_rows = has_rows or tried == call
                if equal(answer[:1], other[:1]):
                    if time_first:
                        self._say("takes the words along the first axis, [length, batch]")
                    return tried
        if not has_rows:
            answer = self.trial.run(call, ids)
            raise ModelError(
                f"{self.asked.name} returned the shape {list(answer.shape)} for {count} texts of "
                f"{length} tokens; let its forward return one row for each text"
            )
        self._say(
            "gives other answers for a text when the other texts of its batch change, so quality "
            "depends on the batch. Most often batch_first=True is missing in a transformer or "
            "recurrent layer",
            warning=True,
        )
        return call

    def _check_same(self, call: TextCall, length: int) -> None:
        """Refuse a network that draws random numbers."""
        first, second = (self.trial.run(call, self.trial.numbers(BATCH, length)) for _ in range(2))
        if not equal(first, second):
            raise ModelError(
                f"{self.asked.name} gives two answers for the same texts in evaluation mode, so it "
                "cannot be compressed; look for torch.randn or torch.rand in its forward (states "
                "of a recurrent layer start from torch.zeros) and for F.dropout without "
                "training=self.training"
            )

    def _padded(self, call: TextCall, preprocess: AnyText, lengths: tuple[int, int]) -> AnyText:
        """Return it with one length for all texts where padding changes the answers."""
        if preprocess.is_fixed:
            return preprocess
        if self.asked.fixed_length:
            return preprocess.changed(min_length=preprocess.max_length)
        low, high = lengths
        length = min(max(_LENGTH, low), high - 1)
        more = min(_MORE, high - length)
        ids = self.trial.numbers(BATCH, length)
        pad = torch.full((BATCH, more), preprocess.padding)
        mask = torch.cat([torch.ones_like(ids), torch.zeros_like(pad)], dim=1)
        plain, padded = (
            self.trial.run(call, ids),
            self.trial.run(call, torch.cat([ids, pad], dim=1), mask),
        )
        if equal(plain, padded) or self.asked.fixed_length is False:
            return preprocess
        if not self.asked.max_length:
            found = sorted(len(row) for row, _ in self.rows)
            usual = found[min(len(found) - 1, int(0.95 * len(found)))]
            high = min(high, max(low, -(-usual // 8) * 8))
        self._say(
            f"gives other answers when a text is padded, so all texts are padded to {high} tokens "
            f"({_own('max_length')}); a network that takes a mask or lengths is faster for short "
            "texts"
        )
        return preprocess.changed(min_length=high, max_length=high)

    def _adopt_padding(self, table: Table | None) -> None:
        """Take the number of padding from the network's table, where the tokenizer leaves it."""
        wanted = None if table is None else table.padding
        own = self.preprocess
        if wanted is None or wanted == own.padding or self.asked.padding:
            return
        if own.kind == "function" and not own.vocabulary:
            self.preprocess = own.changed(padding=wanted)
            self.trial.padding = wanted
        elif own.kind != "tokenizer" and wanted == UNKNOWN:
            self.preprocess = own.changed(padding=wanted, unknown=PADDING)
            self.trial.padding = wanted
        else:
            self._say(
                f"has padding_idx = {wanted} in {table.path if table else ''}, and the tokenizer "
                f"pads with {own.padding}: build it with that number, or set "
                f"{_own('padding', wanted)}",
                warning=True,
            )

    def _vocabulary(self, preprocess: AnyText, table: Table | None) -> AnyText:
        """Return it with no more numbers than the network's table has rows.

        Raises:
            ModelError: the user's own tokenizer has more.
        """
        largest = largest_number(preprocess, self.texts)
        if table is None or largest < table.rows:
            return preprocess
        path, count = table.path, table.rows
        if self.asked.own_words and preprocess.kind != "tokenizer" and count > 2:
            words = getattr(preprocess, "vocabulary", ())[: count - 2]
            self._say(f"has {count} rows in {path}, so the {len(words)} commonest words are kept")
            return preprocess.changed(vocabulary=words)
        raise ModelError(
            f"the tokenizer gives numbers up to {largest}, and {path} of {self.asked.name} has "
            f"{count} rows (numbers 0 to {count - 1}); build it with a vocabulary of "
            f"{largest + 1} (a parameter vocab_size of the function gets that by itself), or give "
            f"the tokenizer that it was made for ({_own('tokenizer')})"
        )

    def _note_padding(self, call: TextCall, preprocess: AnyText) -> None:
        if preprocess.kind != "function" or preprocess.vocabulary or call.uses_mask:
            return
        if any(preprocess.padding in row for row, _ in self.rows):
            self._say(
                f"takes no mask, and the number {preprocess.padding} is padding and is also given "
                f"by the tokenizer; set another one if that is not meant ({_own('padding')})"
            )

    def _say(self, text: str, *, warning: bool = False) -> None:
        self.notes.append(f"{'warning: ' if warning else ''}{self.asked.name} {text}")

    def _too_short(self, low: int, high: int) -> ModelError:
        takes = f"only {low}" if low == high else f"{low} to {high}"
        return ModelError(
            f"max_length is {self.preprocess.max_length}, and {self.asked.name} takes {takes} "
            f"tokens; set {_own('max_length', high)}, or build it for longer texts"
        )

    def _refused(self, call: TextCall, error: Exception | None = None) -> ModelError:
        length = min(self.preprocess.max_length, 16)
        error = error or self.trial.fault(call, length) or ValueError("it fails for some lengths")
        place = f" at {blame(error)}" if error.__traceback__ else ""
        given = ", ".join(f"{name} ({role})" for name, role in call.arguments if role)
        return ModelError(
            f"{self.asked.name} cannot take texts: it got {given}, the numbers int64 "
            f"[{BATCH}, {length}], and failed with {type(error).__name__}{place}: "
            f"{one_line(error)[:300]}. A network of texts may take: {describe_roles()}. See "
            "docs/text-networks.md"
        )


def _own(name: str, value: object = None) -> str:
    """Return an input option of the network as the caller writes it; a recipe may have several."""
    if not has_recipe():
        return option(f"model.input.{name}", value)
    return f"input.{name}" if value is None else f"input.{name} = {value}"


def _forms(call: TextCall) -> list[TextCall]:
    """Return the ways to call a network that its parameters leave open, the usual one first."""
    found = [call]
    if call.roles == ("ids",) and len(call.arguments) == 1:
        found.append(replace(call, as_table=True))
    return [*found, replace(call, time_first=True)]
