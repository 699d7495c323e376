"""Networks of texts as strangers write them: lengths, axes and padding are found by trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.data.text_preprocess import TextPreprocess
from edgekd.errors import ModelError
from edgekd.networks.blueprint import Deployed
from edgekd.networks.channels.cut import find_cut
from edgekd.networks.text_fit import Asked, Fitted, fit_text

WORDS = tuple(f"w{i}" for i in range(20))
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w1 w2 w3 w4"] * 10
ROWS = 22


def fitted(body: nn.Module, **asked: Any) -> Fitted:
    preprocess = TextPreprocess(vocabulary=WORDS, max_length=40)
    return fit_text(body, preprocess, TEXTS, Asked(name="net.py:build", **asked))


class Embedded(nn.Module):
    """An embedding, then what `rest` computes of it, then three classes."""

    def __init__(self, rest: Callable[[Tensor], Tensor], inner: nn.Module | None = None) -> None:
        super().__init__()
        self.embedding, self.inner = nn.Embedding(ROWS, 8), inner or nn.Identity()
        self.rest, self.fc = rest, nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(self.rest(self.inner(self.embedding(x))))
        return found


def test_where_padding_changes_the_answer_all_texts_get_one_length() -> None:
    found = fitted(Embedded(lambda e: e.mean(1)))
    assert found.preprocess.mask is None
    assert found.preprocess.is_fixed
    assert found.preprocess.max_length == 16, "95 % of the texts fit, in steps of eight"
    assert "padded" in found.notes[-1]


def test_a_convolution_needs_a_shortest_length() -> None:
    conv = nn.Conv1d(8, 8, 5)
    found = fitted(
        Embedded(lambda e: conv(e.transpose(1, 2)).amax(2)), fixed_length=False
    ).preprocess
    assert (found.min_length, found.max_length) == (5, 40)


def test_a_table_of_positions_is_a_longest_length() -> None:
    places = nn.Embedding(16, 8)
    body = Embedded(lambda e: (e + places(torch.arange(e.shape[1]))).amax(1))
    found = fitted(body, fixed_length=False)
    assert found.preprocess.max_length == 16
    assert "at most 16 tokens" in found.notes[0]
    with pytest.raises(ModelError, match=r"max_length is 40, and net.py:build takes 1 to 16"):
        fitted(body, max_length=True)


@pytest.mark.parametrize("length", [24, 57])
def test_a_network_of_one_length_is_found_also_beyond_the_usual_one(length: int) -> None:
    fc = nn.Linear(length * 8, 4)
    found = fitted(Embedded(lambda e: fc(e.view(-1, length * 8))), lengths=(length,))
    assert (found.preprocess.min_length, found.preprocess.max_length) == (length, length)


class TimeFirst(nn.Module):
    """As of old: [length, batch]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(ROWS, 8, padding_idx=1), nn.GRU(8, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, text: Tensor, text_lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(text), text_lengths.cpu())
        found: Tensor = self.fc(self.rnn(packed)[1][-1])
        return found


def test_packed_sequences_time_first_take_any_batch() -> None:
    torch.manual_seed(1)
    body = TimeFirst().eval()
    found = fitted(body)
    assert found.call.time_first
    assert found.preprocess.pads, "its answers do not depend on padding"
    assert found.preprocess.padding == 1, "as its table says"
    deployed = Deployed(body, found.preprocess, ("logits",), found.call.to_json()).eval()

    def answer(*texts: str) -> Tensor:
        inputs = found.preprocess.encode({"text": np.array(texts)})
        logits: Tensor = deployed(*map(torch.as_tensor, inputs.values()))[0]
        return logits

    unsorted = answer("w1", "w2 w3 w4", "w5 w6")
    assert torch.allclose(unsorted[2:], answer("w5 w6"), atol=1e-6)


class Bags(nn.Module):
    """As in the tutorial of torchtext."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.fc = nn.EmbeddingBag(ROWS, 8), nn.Linear(8, 3)

    def forward(self, text: Tensor, offsets: Tensor) -> Tensor:
        found: Tensor = self.fc(self.embedding(text, offsets))
        return found


def test_bags_get_texts_without_their_padding() -> None:
    body = Bags().eval()
    found = fitted(body)
    assert found.preprocess.pads
    deployed = Deployed(body, found.preprocess, ("logits",), found.call.to_json()).eval()
    ids = torch.tensor([[3, 4, 5], [6, 0, 0]])
    wanted = body(torch.tensor([3, 4, 5, 6]), torch.tensor([0, 3]))
    assert torch.allclose(deployed(ids)[0], wanted, atol=1e-6)


def test_answers_that_depend_on_the_batch_are_told() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0)  # batch_first forgotten
    notes = fitted(Embedded(lambda e: e.mean(1), layer)).notes
    assert any("warning" in note and "batch_first=True is missing" in note for note in notes)


def test_random_answers_are_refused() -> None:
    with pytest.raises(ModelError, match=r"two answers for the same texts.*torch\.randn"):
        fitted(Embedded(lambda e: F.dropout(e.mean(1), 0.5)))


def test_a_learned_vocabulary_is_cut_to_the_table_and_an_own_one_is_refused() -> None:
    body = Embedded(lambda e: e.mean(1))
    body.embedding = nn.Embedding(10, 8)
    found = fitted(body, own_words=True)
    assert found.preprocess.known_ids == 10
    assert any("10 rows in embedding, so the 8 commonest words" in n for n in found.notes)
    with pytest.raises(ModelError, match=r"numbers up to 21, and embedding of .* has 10 rows"):
        fitted(body)


def test_an_error_of_the_network_is_told_with_its_line_and_what_it_may_take() -> None:
    def rest(e: Tensor) -> Tensor:
        raise KeyError("no such thing")

    with pytest.raises(ModelError, match=rf"cannot take texts.*KeyError at {Path(__file__)}:\d+"):
        fitted(Embedded(rest))


@dataclass
class Output:
    """As transformers returns them."""

    logits: Tensor
    hidden: tuple[Tensor, ...] = ()
    loss: Tensor | None = None


class OfItsOwn(nn.Module):
    """Returns an object of its own class."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.up = nn.Embedding(ROWS, 16), nn.Linear(16, 64)
        self.down = nn.Linear(64, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Output:
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = F.relu(self.up((self.embedding(input_ids) * seen[..., None]).sum(1)))
        return Output(self.down(hidden), hidden=(seen.float().sum(1),))


def test_channels_are_found_behind_an_object_of_the_users_own_class() -> None:
    ids = torch.ones(2, 5, dtype=torch.int64)
    found = find_cut(OfItsOwn(), (ids, ids), ratio=0.5, multiple=1)
    assert set(found.edit["tensors"]) >= {"up.weight", "down.weight"}
