"""Class scores come in several shapes; what is none is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import ModelError
from edgekd.tasks.classification import Classification
from edgekd.tasks.task import name_outputs


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1, 1), (4, 1, 5), (4, 1, 1, 5), (1, 5, 1, 1)])
def test_axes_of_length_one_are_left_out(shape: tuple[int, ...]) -> None:
    scores = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = name_outputs({"y": scores}, Classification())["logits"]
    np.testing.assert_array_equal(found, scores.reshape(shape[0], 5))


@pytest.mark.parametrize("shape", [(4,), (4, 5, 7), (4, 3, 8, 8), (4, 5, 1, 2)])
def test_any_other_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="class scores are"):
        name_outputs({"y": np.zeros(shape, np.float32)}, Classification())
