"""Free axes get lengths in order, and fixed inputs none."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.benchmarks.feeds import Input
from edgekd.benchmarks.trtexec.shapes import Shapes, free_shapes
from edgekd.errors import RecipeError

FLOAT = np.dtype(np.float32)
TEXT = Input("ids", np.dtype(np.int64), ("batch", "seq"))


def test_by_hand() -> None:
    fixed = Input("fixed", FLOAT, (1, 3, 8, 8))
    image = Input("image", FLOAT, ("n", 3, "height", 8))
    nameless = Input("nameless", FLOAT, ("", "", 4))
    found = free_shapes([fixed, image, nameless])
    assert found == {
        "image": Shapes(least=(1, 3, 224, 8), usual=(1, 3, 224, 8), most=(8, 3, 224, 8)),
        "nameless": Shapes(least=(1, 32, 4), usual=(1, 32, 4), most=(8, 32, 4)),
    }
    given = free_shapes([TEXT], batch=(1, 2, 4), lengths={"seq": (8, 64, 128)})
    assert given["ids"] == Shapes(least=(1, 8), usual=(2, 64), most=(4, 128))


def test_no_batch() -> None:
    alone = Input("frames", FLOAT, ("t", 40), batch_axis=None)
    assert free_shapes([alone])["frames"].most == (32, 40)
    assert free_shapes([Input("number", FLOAT, (), batch_axis=None)]) == {}


@pytest.mark.parametrize("bad", [(0, 1, 2), (2, 1, 4), (1, 5, 4), (-1, 1, 1)])
def test_lengths_out_of_order_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(RecipeError, match="'seq' are not in order"):
        free_shapes([TEXT], lengths={"seq": bad})
    with pytest.raises(RecipeError, match="'batch' are not in order"):
        free_shapes([TEXT], batch=bad)
