"""What a network of texts gets, by the names of its forward's parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.networks.builder_options import asked_for, fill_options, stated
from edgekd.networks.text_call import TextCall, read_forward, text_call_of

IDS = torch.tensor([[5, 6, 7], [8, 0, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


def call_of(forward: Callable[..., Any]) -> TextCall:
    network = nn.Module()
    network.forward = forward
    return read_forward(network, name="net.py:build")


def values(forward: Callable[..., Any]) -> list[object]:
    found = call_of(forward).values(IDS, MASK)
    return [value.tolist() if isinstance(value, Tensor) else value for value in found]


def test_each_name_gets_what_it_means() -> None:
    ids, mask = IDS.tolist(), MASK.tolist()
    outside = [[not seen for seen in row] for row in mask]
    assert values(lambda tokens: None) == [ids]
    assert values(lambda anything: None) == [ids]
    assert values(lambda input_ids=None, attention_mask=None, labels=None: None) == [ids, mask]
    assert values(lambda x, mask: None) == [ids, mask]
    assert values(lambda src, src_mask=None, src_key_padding_mask=None: None) == [
        *(ids, None, outside)
    ]
    assert values(lambda text, text_lengths: None) == [ids, [3, 1]]
    assert values(lambda text, offsets: None) == [[5, 6, 7, 8, 0, 0], [0, 3]]
    assert values(lambda ids, token_type_ids, mask: None)[1] == [[0] * 3, [0] * 3]
    assert values(lambda ids, position_ids: None)[1] == [[0, 1, 2], [0, 1, 2]]


def test_defaults_stay_where_nothing_is_known() -> None:
    assert values(lambda x, dropout=0.5, mask=None: None) == [IDS.tolist(), 0.5, MASK.tolist()]
    assert values(lambda x, max_length=5, y=None: None) == [IDS.tolist()]
    assert not call_of(lambda x: None).uses_mask
    assert call_of(lambda x, *, mask=None: None).roles == ("ids",)


def test_a_parameter_without_a_meaning_is_refused_with_those_that_have_one() -> None:
    def forward(x: Tensor, graph: Tensor) -> None: ...

    with pytest.raises(ModelError, match=r"'graph', for which nothing is known.*attention_mask"):
        call_of(forward)


def test_a_dict_is_given_where_it_is_asked_for() -> None:
    def forward(batch: dict[str, Tensor]) -> None: ...

    (table,) = call_of(forward).values(IDS, MASK)
    assert set(table) == {"input_ids", "attention_mask"}


def test_the_order_of_arguments_survives_sorted_json() -> None:
    call = call_of(lambda text, offsets: None)
    stored = json.loads(json.dumps(call.to_json(), sort_keys=True))
    assert text_call_of(stored) == call
    assert text_call_of(None) is None


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ("vocab_size n_vocab ntoken num_embeddings vocabulary_size input_dim", "vocabulary"),
        ("num_classes n_labels output_dim nclass classes num_labels outputs", "classes"),
        ("pad_idx padding_idx pad_token_id", "padding"),
        ("max_len seq_len max_length max_position_embeddings", "length"),
        ("hidden_dim embed_dim dropout width num_layers max_norm input_size d_model", None),
    ],
)
def test_what_builders_ask_for(names: str, what: str | None) -> None:
    assert {asked_for(name) for name in names.split()} == {what}


def test_only_what_is_open_is_filled() -> None:
    def build(vocab_size: int, num_classes: int = 7, pad_idx: int = 1, width: int = 8) -> None: ...

    known: Any = {"vocabulary": 50, "classes": 3, "padding": 0, "length": 9}
    assert fill_options(build, {}, known) == {"vocab_size": 50}
    assert fill_options(build, {"vocab_size": 9}, known) == {}
    also = fill_options(build, {}, known, also=frozenset({"padding"}))
    assert also == {"vocab_size": 50, "pad_idx": 0}
    assert stated(build, {}, "classes") == 7
    assert stated(build, {"num_classes": 4}, "classes") == 4
