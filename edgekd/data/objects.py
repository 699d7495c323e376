"""Data as Python has it: arrays, tensors, frames, a torch Dataset or DataLoader, samples in turn.

What is read in turn is read once, in order, with the generators of random, numpy and torch set to a
fixed state: random transforms give the same samples when a run is resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.arrays import MAX_BYTES, TARGET_NAMES, Part, split_name
from edgekd.data.pictures import Form, fit, to_channels, to_pixels
from edgekd.errors import DataError
from edgekd.user_code import blame

EXPECTED = (
    "(inputs, targets), or inputs alone: arrays, tensors, lists of texts, a frame, a torch Dataset "
    "or DataLoader, or anything that yields samples (input, target); or one of these for each of "
    "'train', 'validation', 'test' in a table"
)
_GREY = ("1", "L", "LA")


class Pictures(list[NDArray[np.uint8]]):
    """Pixels [height, width, 1 or 3] of pictures that differ in size."""


class Collected(dict[str | None, Part]):
    """(inputs, targets) by split; the key None is data that is not split."""

    labels: tuple[str, ...] = ()
    """Names of the classes, where a Dataset states them (`classes`, as torchvision's do)."""


def collect(value: object, *, where: str) -> Collected:
    """Return the arrays of `value` by split.

    Args:
        value: see `EXPECTED`.
        where: named in errors.

    Raises:
        DataError: it is nothing that contains samples, or samples differ in form.
    """
    if isinstance(value, Collected):
        return value
    if isinstance(value, Mapping) and any(split_name(str(name)) == "train" for name in value):
        names = {str(name): split_name(str(name)) for name in value}
        strange = sorted(name for name, split in names.items() if split is None)
        if strange:
            raise DataError(
                f"{where} has {strange[0]!r} beside 'train'; the splits are train, validation, test"
            )
        return Collected(
            {names[str(name)]: _part(part, f"{where}[{name!r}]") for name, part in value.items()}
        )
    splits = isinstance(value, Mapping) and [n for n in value if split_name(str(n))]
    if splits:
        raise DataError(f"{where} has the split {splits[0]!r} but not 'train'; give that too")
    found = Collected({None: _part(value, where)})
    found.labels = _class_names(value)
    return found


def _class_names(value: object) -> tuple[str, ...]:
    inner = getattr(value, "dataset", value)
    names = getattr(inner, "classes", None)
    is_list = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and names and len(set(names)) == len(names) else ()


def resize_pictures(
    collected: Collected, size: tuple[int, int] | None, form: Callable[[int, int, int], Form]
) -> tuple[Collected, Form | None]:
    """Return it with pictures that differ in size as one array each, and the form they got.

    Raises:
        NoSize: there are such and `size`, (height, width), is None.
    """
    pictures = [image for x, _ in collected.values() if isinstance(x, Pictures) for image in x]
    if not pictures:
        return collected, None
    if size is None:
        raise NoSize
    channels = max(image.shape[2] for image in pictures)
    wanted = form(*size, channels)

    def array(x: object) -> object:
        if not isinstance(x, Pictures):
            return x
        return np.stack([to_channels(fit(image, wanted), channels) for image in x])

    found = Collected({name: (array(x), y) for name, (x, y) in collected.items()})
    found.labels = collected.labels
    return found, wanted


def hash_collected(collected: Collected) -> str:
    """Return a hash of all arrays."""
    found = hashlib.sha256()
    for name, (inputs, targets) in sorted(collected.items(), key=lambda item: str(item[0])):
        for role, value in (("inputs", inputs), ("targets", targets)):
            for key, array in _arrays(value):
                found.update(f"{name} {role} {key} {array.dtype} {array.shape} ".encode())
                found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _arrays(value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, (Mapping, Pictures)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in items:
            yield from ((f"{key}.{below}", array) for below, array in _arrays(part))
    elif value is not None:
        yield "", value


class NoSize(Exception):  # a signal
    """Pictures differ in size, and no size was given."""


def _part(value: object, where: str) -> Part:
    if _is_frame(value):
        return _frame(value, where)
    is_list = isinstance(value, list) and _is_sample_list(value)
    if (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and _is_column(value[0])
        and not is_list
    ):
        if value[1] is None:
            return _column(value[0], where), None
        if _is_column(value[1]):
            return _column(value[0], where), _column(value[1], f"the targets of {where}")
    if isinstance(value, tuple) and not _is_sample_list(value):
        kinds = ", ".join(type(part).__name__ for part in value)
        raise DataError(f"{where} is ({kinds}), {len(value)} things; expected is {EXPECTED}")
    if isinstance(value, Mapping):
        targets = [name for name in value if str(name).lower() in TARGET_NAMES]
        inputs = {str(n): _column(v, f"{where}[{n!r}]") for n, v in value.items()}
        target = inputs.pop(str(targets[0])) if len(targets) == 1 and len(value) > 1 else None
        return inputs, target
    if _is_column(value) and not _is_sample_list(value):
        return _column(value, where), None
    if isinstance(value, (str, bytes)) or not (
        hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    ):
        raise DataError(f"{where} is {_describe(value)}; expected is {EXPECTED}")
    with _same_random_numbers():
        return _samples(value, where)


def _is_frame(value: object) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _is_column(value: object) -> bool:
    """Whether it has one entry a sample: an array, a tensor, a series, a frame, a list."""
    return hasattr(value, "__array__") or _is_frame(value) or isinstance(value, (list, Mapping))


def _is_sample_list(value: object) -> bool:
    """Whether it is a list of samples: (input, target) or {name: input}."""
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_sample, value))


def _is_sample(value: object) -> bool:
    if isinstance(value, tuple):  # not a row of numbers
        return not all(isinstance(part, (int, float)) for part in value)
    return isinstance(value, Mapping)


def _column(value: object, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _column(part, f"{where}[{name!r}]") for name, part in value.items()}
    if _is_frame(value):
        return _frame_values(value, list(getattr(value, "columns")), where)  # noqa: B009
    if isinstance(value, list):
        return _stack(value, where) if value else np.empty(0, np.float32)
    array = _as_array(value, where)
    if array.ndim == 0:
        raise DataError(f"{where} is one value ({array}); its first axis must count the samples")
    return array


def _as_array(value: Any, where: str) -> NDArray[Any]:
    if hasattr(value, "detach"):  # a tensor, perhaps on a GPU or with a gradient
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
        return np.asarray(value.numpy())
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} cannot be read as an array ({error})") from error
    if array.dtype.kind == "O":  # texts of a series, or numbers with gaps
        if all(isinstance(one, str) for one in array.ravel()):
            return array.astype(str)
        others = [one for one in array.ravel() if not isinstance(one, str)]
        strange = next((one for one in others if not isinstance(one, (int, float))), others[0])
        raise DataError(
            f"{where} contains Python objects ({type(strange).__name__}: {strange!r:.40}), which "
            "are neither all numbers nor all texts; fill gaps, or convert it before"
        )
    return array


def _frame(value: Any, where: str) -> Part:
    """Return a frame's columns: `text`, or all numbers; `label` (or y, target) is the target."""
    names = list(value.columns)
    targets = [name for name in names if str(name).lower() in TARGET_NAMES]
    target = None if not targets else _as_array(value[targets[0]], f"{where}[{targets[0]!r}]")
    if "text" in names:
        return _as_array(value["text"], f"{where}['text']"), target
    return _frame_values(value, [name for name in names if name not in targets[:1]], where), target


def _frame_values(value: Any, names: list[Any], where: str) -> NDArray[Any]:
    columns = [_as_array(value[name], f"{where}[{name!r}]") for name in names]
    texts = [name for name, column in zip(names, columns, strict=True) if column.dtype.kind in "US"]
    if texts and len(names) > 1:
        raise DataError(
            f"{where} has texts in the column {texts[0]!r} and is read as numbers; leave it out, "
            "or turn it into numbers; a column of texts to classify is named 'text'"
        )
    if texts:
        return columns[0]
    return np.stack(columns, axis=1).astype(np.float32)


def _samples(value: Any, where: str) -> Part:
    """Read samples one by one and put them together."""
    pairs = [_split(sample, where) for sample in _each(value, where)]
    if not pairs:
        raise DataError(f"{where} gives no samples; give at least one")
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    known = [y is not None for y in ys]
    if any(known) and not all(known):
        raise DataError(f"sample {known.index(False)} of {where} has no target, others have one")
    targets = _stack(ys, f"the targets of {where}") if all(known) else None
    if isinstance(xs[0], Mapping):
        if any(not isinstance(x, Mapping) or set(x) != set(xs[0]) for x in xs):
            raise DataError(f"the samples of {where} differ in their names; give all the same")
        named = {str(n): _stack([x[n] for x in xs], f"{where}[{n!r}]") for n in xs[0]}
        return (next(iter(named.values())) if len(named) == 1 else named), targets
    return _stack(xs, where), targets


def _each(value: Any, where: str) -> Iterator[object]:
    """Yield the samples of a Dataset, a DataLoader or anything that can be gone through."""
    value = _behind_loader(value)
    used = 0
    for sample in _indexed(value) if _is_indexed(value) else _guarded(value, where):
        used += _bytes(sample)
        if used > MAX_BYTES:
            raise DataError(f"{where} has more than {MAX_BYTES >> 30} GiB of samples; give fewer")
        yield sample


def _is_indexed(value: object) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _indexed(value: Any) -> Iterator[object]:
    for i in range(len(value)):
        try:
            sample = value[i]
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"sample {i} of {type(value).__name__} raised {type(error).__name__}: {error} "
                f"({blame(error)}); fix it, or leave it out"
            ) from error
        yield sample


def _guarded(value: Iterable[object], where: str) -> Iterator[object]:
    try:
        yield from value
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"going through {where} raised {type(error).__name__}: {error} ({blame(error)})"
        ) from error


def _behind_loader(value: Any) -> Any:
    """Return what a DataLoader loads, in order; its batches as samples where it joins them."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.utils.data.DataLoader):
        return value
    plain = value.collate_fn is torch.utils.data.default_collate
    if plain or value.batch_size is None:
        return value.dataset
    return (sample for batch in value for sample in _unbatched(batch))


def _unbatched(batch: Any) -> Iterator[object]:
    if isinstance(batch, Mapping):
        for i in range(len(next(iter(batch.values())))):
            yield {name: part[i] for name, part in batch.items()}
    elif isinstance(batch, (tuple, list)):
        yield from (tuple(sample) for sample in zip(*batch, strict=True))
    else:
        yield from batch


def _split(sample: Any, where: str) -> tuple[Any, Any]:
    """Return the input or inputs of a sample, and its target or None."""
    if isinstance(sample, Mapping):
        targets = [name for name in sample if str(name).lower() in TARGET_NAMES]
        inputs = {name: part for name, part in sample.items() if name not in targets[:1]}
        target = sample[targets[0]] if targets else None
        return inputs, target
    if isinstance(sample, (tuple, list)) and not _is_number_list(sample):
        if len(sample) in (1, 2):
            return sample[0], sample[1] if len(sample) == 2 else None
        kinds = ", ".join(type(part).__name__ for part in sample)
        raise DataError(
            f"a sample of {where} is ({kinds}), {len(sample)} things; expected is (input, target), "
            "or a table of named inputs with the target as 'label'"
        )
    return sample, None


def _is_number_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, (int, float)) for one in value)


def _stack(values: list[Any], where: str) -> Any:
    """Put samples together: texts, numbers, arrays of one shape, or pictures of any size."""
    if all(isinstance(value, str) for value in values):
        return np.array(values, dtype=str)
    if any(isinstance(value, Image.Image) for value in values):
        values = _pixels(values, where)
    arrays = [_as_array(value, f"sample {i} of {where}") for i, value in enumerate(values)]
    first = arrays[0]
    strange = next((i for i, array in enumerate(arrays) if array.shape != first.shape), None)
    if strange is None:
        return np.stack(arrays)
    if all(a.dtype == np.uint8 and a.ndim == 3 and a.shape[2] in (1, 3) for a in arrays):
        return Pictures(arrays)
    raise DataError(
        f"the samples of {where} differ in shape: sample 0 has {list(first.shape)} and sample "
        f"{strange} has {list(arrays[strange].shape)}; bring all to one shape (resize, cut or pad)"
    )


def _pixels(values: list[Any], where: str) -> list[NDArray[np.uint8]]:
    strange = next((v for v in values if not isinstance(v, Image.Image)), None)
    if strange is not None:
        raise DataError(f"{where} has pictures and also {_describe(strange)}; give one kind")
    grey = all(value.mode in _GREY for value in values)
    form = Form(height=1, width=1, channels=1 if grey else 3)
    try:
        return [to_pixels(value, form) for value in values]
    except ValueError as error:
        raise DataError(f"a picture of {where} cannot be used: {error}") from error


def _bytes(sample: Any) -> int:
    if isinstance(sample, (tuple, list)):
        return sum(map(_bytes, sample))
    if isinstance(sample, Mapping):
        return sum(map(_bytes, sample.values()))
    if isinstance(sample, Image.Image):
        return sample.width * sample.height * 3
    return int(getattr(sample, "nbytes", 64))


def _describe(value: object) -> str:
    return f"{type(value).__name__} ({value!r:.40})"


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Set every global generator to a fixed state meanwhile."""
    before, legacy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    with contextlib.ExitStack() as stack:
        if torch is not None:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(legacy)
