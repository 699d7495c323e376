"""A student with some of the teacher's blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgekd.data.text_preprocess import TextPreprocess
from edgekd.distill.fewer_layers import Kept, Stack, choose_layers, find_stack, shortened
from edgekd.distill.step import Student
from edgekd.errors import ModelError, NothingToDo, RecipeError
from edgekd.models import text_encoder
from edgekd.networks.blueprint import Blueprint
from edgekd.networks.depth import keep_layers, layers_edit
from edgekd.networks.trainable import Model, open_model

BUILD = "edgekd.models:text_encoder"
OPTIONS = {"vocabulary_size": 12, "classes": 3, "width": 16, "heads": 2, "layers": 4}


@pytest.fixture
def teacher() -> Model:
    torch.manual_seed(0)
    body = text_encoder(12, 3, width=16, heads=2, layers=4).eval()
    words = TextPreprocess(vocabulary=tuple("abcdefghij"), max_length=8)
    return Model(body, Blueprint(BUILD, OPTIONS), words)


def answer(body: nn.Module) -> torch.Tensor:
    tokens = torch.arange(24).reshape(3, 8) % 12
    with torch.no_grad():
        found: torch.Tensor = body.eval()(tokens, torch.ones_like(tokens))
    return found


@pytest.mark.parametrize(
    ("count", "kept", "expected"),
    [
        (6, 3, (1, 3, 5)),
        (6, 2, (2, 5)),
        (6, "half", (1, 3, 5)),
        (7, "half", (2, 4, 6)),
        (5, 2, (2, 4)),
        (12, 6, (1, 3, 5, 7, 9, 11)),
        (2, 1, (1,)),
        (2, "half", (1,)),
        (6, (0, 2, 5), (0, 2, 5)),
    ],
)
def test_blocks_are_evenly_spaced_and_end_with_the_last(
    count: int, kept: Kept, expected: tuple[int, ...]
) -> None:
    assert choose_layers(Stack("layers", count), kept) == expected


def test_a_block_that_others_need_takes_the_place_of_its_nearest() -> None:
    assert choose_layers(Stack("block", 6, (0,)), 3) == (0, 3, 5)
    assert choose_layers(Stack("block", 6, (0,)), 1) == (0,)
    with pytest.raises(RecipeError, match="leaves out block 0"):
        choose_layers(Stack("block", 6, (0,)), (1, 5))
    with pytest.raises(RecipeError, match="more have to stay"):
        choose_layers(Stack("block", 6, (0, 1)), 1)


@pytest.mark.parametrize("kept", [4, 5, (0, 4), (0, 1, 2, 3)])
def test_a_student_has_fewer_blocks_than_the_teacher(kept: Kept) -> None:
    with pytest.raises(RecipeError, match="has 4 blocks, numbers 0 to 3"):
        choose_layers(Stack("layers", 4), kept)


def test_the_student_computes_what_the_kept_blocks_compute(teacher: Model, tmp_path: Path) -> None:
    student = shortened(teacher, (0, 2))
    body: Any = teacher.body
    body.layers = nn.ModuleList([body.layers[0], body.layers[2]])
    torch.testing.assert_close(answer(student.body), answer(body), rtol=0, atol=0)
    assert "layers: 0, 2, counted from 0" in student.notes[0]
    student.save(tmp_path)
    again = open_model(tmp_path, root=tmp_path)
    torch.testing.assert_close(answer(again.body), answer(student.body), rtol=0, atol=0)


def test_a_student_of_a_student_is_cut_again(teacher: Model) -> None:
    whole = answer(teacher.body)
    again = shortened(shortened(teacher, "half"), 1)
    assert [edit["keep"] for edit in again.blueprint.edits] == [[1, 3], [1]]
    assert len(again.body.layers) == 1  # type: ignore[arg-type]
    torch.testing.assert_close(answer(teacher.body), whole, rtol=0, atol=0)  # is left as it was


def test_torch_s_own_encoder_knows_its_new_length() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    assert find_stack(encoder) == Stack("layers", 3)
    x = torch.randn(2, 5, 8)
    want = encoder.layers[2](encoder.layers[0](x))
    keep_layers(encoder, layers_edit("layers", [0, 2]))
    torch.testing.assert_close(encoder(x), want)
    assert encoder.num_layers == 2


def test_a_network_without_a_list_of_blocks_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    assert find_stack(net) is None
    one = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16)])  # nothing to leave out
    assert find_stack(nn.Sequential(one)) is None
    model = Model(
        net, Blueprint("nets.py:build", {}), TextPreprocess(vocabulary=("a",), max_length=8)
    )
    with pytest.raises(NothingToDo, match="no list"):
        shortened(model, "half")
    with pytest.raises(ModelError, match="restore that version"):
        keep_layers(net, layers_edit("layers", [0]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"build": "a.py:b", "layers": 2}, "goes with from"),
        ({"from": "teacher", "layers": 2, "macs": 0.5}, "in place of macs"),
        ({"from": "teacher", "layers": 0}, "at least one"),
        ({"from": "teacher", "layers": []}, "in order"),
        ({"from": "teacher", "layers": [2, 1]}, "in order"),
        ({"from": "teacher", "layers": [1, 1]}, "in order"),
        ({"from": "teacher", "layers": [-1]}, "in order"),
        ({"from": "teacher", "layers": "third"}, "half"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Student.model_validate(options)
