"""Losses between inner layers, against values worked out by hand or by plain sums in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.distill.losses.attention import (
    AttentionMaps,
    Relations,
    attention_maps,
    choose_heads,
    relation,
)
from edgekd.distill.losses.hidden import Cosine, Hidden, direction_distance, squared_distance
from edgekd.distill.losses.layers import pair_layers
from edgekd.errors import ModelError
from edgekd.training.layer_finder import FoundLayers
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared


def test_hidden_by_hand() -> None:
    term = Hidden(layers={"body": "trunk"})
    student = Signals({}, {"body": torch.tensor([[1.0, 2.0]])})
    teacher = Signals({}, {"trunk": torch.tensor([[1.0, 1.0, 5.0]])})
    extra = term.extra(student, teacher)
    assert isinstance(extra, nn.ModuleList)
    projection = extra[0]
    assert isinstance(projection, nn.Linear)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        projection.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
    # (1, 2) becomes (1, 2, 4); the differences are 0, 1, -1: their mean square is 2/3
    parts = term.parts(Compared(student, teacher, {}, extra=extra))
    assert list(parts) == ["body"]
    assert parts["body"].item() == pytest.approx(2 / 3)


def test_hidden_maps_of_another_size_are_averaged_and_equal_widths_need_no_projection() -> None:
    term = Hidden(layers={"0": "0"})
    student = Signals({}, {"0": torch.zeros(1, 1, 1, 1)})
    teacher = Signals({}, {"0": torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])})
    extra = term.extra(student, teacher)
    assert extra is not None
    assert not list(extra.parameters())
    parts = term.parts(Compared(student, teacher, {}, extra=extra))
    assert float(parts["0"]) == 9.0  # the mean, 3, squared


def test_layers_of_unlike_shapes_are_refused() -> None:
    student, teacher = (
        Signals({}, {"0": torch.zeros(2, 4, 3, 3)}),
        Signals({}, {"0": torch.zeros(2, 4)}),
    )
    for term in (Hidden(layers={"0": "0"}), Cosine(layers={"0": "0"})):
        with pytest.raises(ModelError, match=r"\[2, 4, 3, 3\] of the student"):
            term.extra(student, teacher)
    with pytest.raises(ModelError, match="compares feature maps"):
        AttentionMaps(layers={"0": "0"}).extra(teacher, student)


def test_directions_by_hand_and_padding_does_not_count() -> None:
    # (3, 4) and (4, 3): cosine 24 / 25; (1, 0) and (0, 2): cosine 0
    student = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    teacher = torch.tensor([[[4.0, 3.0], [0.0, 2.0]]])
    assert direction_distance(student, teacher).item() == pytest.approx((1 / 25 + 1) / 2)
    tokens = torch.tensor([[1, 0]])
    assert direction_distance(student, teacher, tokens).item() == pytest.approx(1 / 25)
    # of the first token: (1 + 1) / 2
    assert squared_distance(student, teacher, tokens).item() == pytest.approx(1.0)
    maps = [x.transpose(1, 2).reshape(1, 2, 2, 1) for x in (student, teacher)]
    assert direction_distance(*maps).item() == pytest.approx((1 / 25 + 1) / 2)


def test_attention_maps_by_hand_with_other_channels_and_size() -> None:
    # student: one channel (3, 4): squares 9, 16, length sqrt(337)
    student = torch.tensor([[[[3.0, 4.0]]]])
    # teacher: two channels, twice as wide; means of squares 1, 3, 2, 6, averaged to 2 and 4
    teacher = torch.tensor([[[[1.0, 2.0, 2.0, 0.0]], [[1.0, 2**0.5, 0.0, 12**0.5]]]])
    a, b = math.sqrt(337), math.sqrt(20)
    expected = (9 / a - 2 / b) ** 2 + (16 / a - 4 / b) ** 2
    found = attention_maps(student, teacher)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    both = attention_maps(torch.cat([student, 2 * student]), torch.cat([teacher, teacher]))
    assert both.item() == pytest.approx(expected, rel=1e-5)  # the length of a map is no matter


def loops(student: Tensor, teacher: Tensor, heads: int, kept: int) -> float:
    """The definition of MiniLMv2, pair by pair, for one text of which `kept` tokens count."""
    sums = []
    for head in range(heads):
        softmaxes = []
        for vectors in (student, teacher):
            d = vectors.shape[1] // heads
            own = vectors[:kept, head * d : (head + 1) * d].double().numpy()
            scores = np.array([[a @ b / math.sqrt(d) for b in own] for a in own])
            raised = np.exp(scores)
            softmaxes.append(raised / raised.sum(axis=1, keepdims=True))
        p, q = softmaxes
        sums.append((q * np.log(q / p)).sum(axis=1).mean())
    return float(np.mean(sums))


def test_relations_by_their_definition_with_unlike_widths_and_padding() -> None:
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(2, 4, 6, generator=generator)
    teacher = torch.randn(2, 4, 10, generator=generator)
    whole = relation(student, teacher, heads=2, tokens=None).item()
    each = [loops(student[i], teacher[i], 2, 4) for i in range(2)]
    assert whole == pytest.approx(float(np.mean(each)), rel=1e-4)
    tokens = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])  # the second text is all padding
    padded = relation(student, teacher, heads=2, tokens=tokens).item()
    assert padded == pytest.approx(loops(student[0], teacher[0], 2, 3), rel=1e-4)


def test_relation_heads_divide_both_widths() -> None:
    assert choose_heads(384, 768) == 48
    assert choose_heads(64, 384) == 8  # eight numbers each
    assert choose_heads(30, 7) == 1
    own, its = (
        Signals({}, {f"a:{part}": torch.zeros(2, 3, width) for part in ("query", "key", "value")})
        for width in (64, 384)
    )
    Relations(layers={"a": "a"}).extra(own, its)
    with pytest.raises(ModelError, match=r"heads = 12 .* widths 64 .* and 384 .*; 8 does"):
        Relations(layers={"a": "a"}, heads=12).extra(own, its)


def test_stages_are_paired_from_the_last_and_blocks_over_the_depth() -> None:
    stages = pair_layers(("a", "b"), ("1", "2", "3"), "stages")
    assert stages == [("a", "2"), ("b", "3")]
    twelve = [str(i) for i in range(1, 13)]
    three = pair_layers(("a", "b", "c"), twelve, "blocks")
    assert three == [("a", "4"), ("b", "8"), ("c", "12")]
    deeper = pair_layers(("a", "b", "c"), ("1", "2"), "blocks")
    assert deeper == [("b", "1"), ("c", "2")]


def test_what_is_not_found_is_said_before_work() -> None:
    stages, blocks = FoundLayers(stages=("s",)), FoundLayers(blocks=("b",), attentions=("a",))
    with pytest.raises(ModelError, match="no transformer block and no stage of feature maps in"):
        Hidden().with_layers(stages, blocks, {})
    with pytest.raises(ModelError, match="finds no layers in an ONNX file"):
        AttentionMaps().with_layers(stages, None, {})
    assert Hidden().with_layers(stages, stages, {}).layers == {"s": "s"}
    assert Relations().with_layers(blocks, blocks, {}).layers == {"a": "a"}
    assert (
        Hidden().with_layers(stages, stages, {}).describe().endswith("(student = teacher): s = s")
    )
