"""Data as Python has it becomes arrays, or a message that says what was got."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from edgekd.data.objects import Collected, NoSize, collect, resize_pictures
from edgekd.data.pictures import Form
from edgekd.data.samples import Pictures
from edgekd.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.arange(6) % 3


class Frame:
    """What of a frame of pandas is used."""

    def __init__(self, **columns: Any) -> None:
        self.table = {name: np.asarray(column) for name, column in columns.items()}
        self.columns = list(columns)

    def __getitem__(self, name: str) -> Any:
        return self.table[name]

    def to_numpy(self) -> Any:
        return np.stack(list(self.table.values()), axis=1)


class Samples(torch.utils.data.Dataset[Any]):
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples
        self.classes = ["a", "b", "c"]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Any:
        if isinstance(self.samples[i], Exception):
            raise self.samples[i]
        return self.samples[i]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(X, Y, strict=True)


def noisy() -> Samples:
    """Samples with a random transform: each reading would differ."""

    class Noisy(Samples):
        def __getitem__(self, i: int) -> Any:
            x, y = self.samples[i]
            return torch.as_tensor(x) + torch.rand(4) + np.random.rand(), y

    return Noisy(list(zip(X, Y, strict=True)))


PAIRS: list[Any] = [
    (X, Y),
    [X, Y],
    (torch.as_tensor(X), torch.as_tensor(Y)),
    (torch.as_tensor(X).requires_grad_(), Y.tolist()),
    (X.tolist(), Y.tolist()),
    {"x": X, "y": Y},
    (Frame(a=X[:, 0], b=X[:, 1], c=X[:, 2], d=X[:, 3]), Y),
    Frame(a=X[:, 0], b=X[:, 1], c=X[:, 2], d=X[:, 3], label=Y),
    TensorDataset(torch.as_tensor(X), torch.as_tensor(Y)),
    DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(Y)), batch_size=4, shuffle=True),
    DataLoader(
        Samples(list(zip(X, Y, strict=True))),
        batch_size=4,
        collate_fn=lambda b: (np.stack([x for x, _ in b]), np.array([y for _, y in b])),
    ),
    Stream(),
    zip(X, Y, strict=True),
    ((x, y) for x, y in zip(X, Y, strict=True)),
    list(zip(X, Y, strict=True)),
    Samples([{"pixels": x, "label": int(y)} for x, y in zip(X, Y, strict=True)]),
]


@pytest.mark.parametrize("value", PAIRS, ids=lambda value: type(value).__name__)
def test_every_form_of_pairs_is_the_same_arrays(value: Any) -> None:
    x, y = collect(value, where="data")[None]
    x = x["x"] if isinstance(x, dict) else x
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_inputs_alone_and_splits() -> None:
    assert collect(X, where="data")[None][1] is None
    assert collect((X, None), where="data")[None][1] is None
    assert collect(["one", "two"], where="data")[None][0].tolist() == ["one", "two"]
    found = collect({"train": (X, Y), "val": Stream()}, where="data")
    assert set(found) == {"train", "validation"}
    x, y = collect([{"a": x, "b": x[:2]} for x in X], where="data")[None]
    assert (set(x), x["b"].shape, y) == ({"a", "b"}, (6, 2), None)
    texts = collect(Frame(text=["a b", "c d"], label=["p", "n"]), where="data")[None]
    assert [part.tolist() for part in texts] == [["a b", "c d"], ["p", "n"]]


def test_names_of_classes_go_with_numbers_only() -> None:
    assert collect(Samples([(X[0], 0), (X[1], 1)]), where="data").labels == ("a", "b", "c")
    assert collect(Samples([(X[0], "dog"), (X[1], "cat")]), where="data").labels == ()


def test_pictures_of_many_sizes_wait_for_a_size() -> None:
    pictures = [Image.new("RGB", (8 + i, 9), (i, 0, 0)) for i in range(3)]
    found = collect(Samples(list(zip(pictures, [0, 1, 2], strict=True))), where="data")
    assert isinstance(found[None][0], Pictures)
    assert found.labels == ("a", "b", "c")

    def form(height: int, width: int, channels: int) -> Form:
        return Form(height=height, width=width, channels=3 if channels == 3 else 1)

    with pytest.raises(NoSize):
        resize_pictures(found, None, form)
    resized, wanted = resize_pictures(found, (4, 6), form)
    assert resized[None][0].shape == (3, 4, 6, 3)
    assert wanted == Form(height=4, width=6)
    grey = collect([Image.new("L", (5, 4))] * 2, where="data")[None][0]
    assert (grey.shape, grey.dtype) == ((2, 4, 5, 1), np.uint8)


def test_random_transforms_give_the_same_samples_again() -> None:
    state = torch.random.get_rng_state()
    first, second = (collect(noisy(), where="data")[None][0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"data is int \(3\); expected is \(inputs, targets\)"),
        (None, "data is NoneType"),
        ((X, Y, Y), "3 things"),
        ([(x, y, 0) for x, y in zip(X, Y, strict=True)], "sample of data is .*3 things"),
        ([X[0], X[1][:2], X[2]], r"sample 0 has \[4\] and sample 1 has \[2\]"),
        ([(X[0], 1), (X[1], None)], "sample 1 of data has no target"),
        ([{"a": X[0]}, {"b": X[0]}], "differ in their names"),
        (Samples([(X[0], 0), ValueError("no file")]), r"sample 1 of Samples raised ValueError: no"),
        ((i for i in [(X[0], 0), 1 / 1]), "differ in shape|has no target"),
        (Samples([]), "gives no samples"),
        (
            Samples([{"image": Image.new("L", (4, 4)), "id": 3, "label": 0}] * 2),
            "the picture 'image' and also 'id'",
        ),
        ({"test": (X, Y)}, "but not 'train'"),
        ({"train": (X, Y), "holdout": (X, Y)}, "'holdout' beside 'train'"),
        (Frame(a=X[:, 0], town=["x"] * 6, label=Y), "texts in the column 'town'"),
        ((X, np.array([1, None, 2, 0, 1, 2], dtype=object)), "Python objects .NoneType"),
        ((X, 3), "expected is"),
        ([Image.new("F", (4, 4))], "floating point"),
        ([Image.new("L", (4, 4)), X[0]], "has pictures and also ndarray"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_it_is_not_is_said(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        collect(value, where="data")


def test_what_is_collected_is_not_collected_again() -> None:
    found = Collected({None: (X, Y)})
    assert collect(found, where="data") is found
