"""What terms need of two networks is there and fits, or is refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from edgekd.artifact import Artifact
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import Decoupled, Hidden, Relations, Rkd, SoftTargets
from edgekd.errors import ModelError
from edgekd.networks.trainable import Model
from edgekd.options import Training
from edgekd.progress import Silent
from edgekd.step import Context
from edgekd.training.term_layers import check_layers, check_tokens, resolve_layers, tokens_of

TEXTS = {"text": np.array(["a b c", "b"])}


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def encoded(preprocess: TextPreprocess) -> Mapping[str, NDArray[Any]]:
    return preprocess.encode(TEXTS)


def test_layers_of_texts_are_compared_only_where_the_tokens_are_the_same() -> None:
    own = TextPreprocess(vocabulary=("a", "b", "c"))
    fewer = TextPreprocess(vocabulary=("a", "b"))
    shorter = TextPreprocess(vocabulary=("a", "b", "c"), max_length=2)
    by_token, pooled = (Hidden(), Relations()), (Rkd(), SoftTargets())
    check_tokens(by_token, own, own, encoded(own), encoded(own))
    for other in (fewer, shorter):
        check_tokens(pooled, own, other, encoded(own), encoded(other))
        for term in by_token:
            with pytest.raises(ModelError, match="unlike tokens; give the student the teacher's"):
                check_tokens((term,), own, other, encoded(own), encoded(other))


def test_the_mask_of_texts_is_found_under_its_name() -> None:
    named = TextPreprocess(vocabulary=("a", "b", "c"), mask="seen")
    found = tokens_of(named, encoded(named))
    assert found is not None
    assert found.tolist() == [[1, 1, 1], [1, 0, 0]]
    bare = TextPreprocess(vocabulary=("a",), mask=None)
    assert tokens_of(bare, encoded(bare)) is None


def test_a_network_whose_own_code_fails_is_left_to_the_check_of_networks(
    student: Model, context: Context
) -> None:
    broken = replace(student, body=nn.Linear(77, 2))
    terms = (Hidden(), SoftTargets())
    assert resolve_layers(terms, broken, student, context) == terms
    check_layers(broken, student, context, terms)
    with pytest.raises(ModelError, match="found nothing to compare"):
        resolve_layers(terms, student, student, context)


@pytest.mark.parametrize(("hard_weight", "said"), [(0.0, True), (0.5, False)])
def test_what_stands_for_labels_is_said(
    student: Model,
    bare_teacher: Artifact,
    context: Context,
    tmp_path: Path,
    hard_weight: float,
    said: bool,
) -> None:
    heard = Heard()
    loss = LearnsFromTeacher(hard_weight=hard_weight, terms=(Decoupled(),))
    training = Training(epochs=1, batch_size=16, learning_rate=0.01, precision="fp32")
    telling = Context(**{**vars(context), "progress": heard})
    loss.teach(student, bare_teacher, telling, training, work=tmp_path / "work", title="train")
    line = "dkd: no labels are used (hard_weight = 0), so the teacher's most probable class stands"
    assert any(text.startswith(line) for text in heard.lines) == said
