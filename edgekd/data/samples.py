"""Samples that are read in turn: from a torch Dataset or DataLoader, a generator, a list.

What is read in turn is read once, in order, with the generators of random, numpy and torch set to a
fixed state: random transforms give the same samples when a run is resumed.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.arrays import MAX_BYTES, TARGET_NAMES, Part
from edgekd.data.pictures import Form, to_pixels
from edgekd.errors import DataError
from edgekd.user_code import blame

_GREY = ("1", "L", "LA")


class Pictures(list[NDArray[np.uint8]]):
    """Pixels [height, width, 1 or 3] of pictures that differ in size."""


def read_samples(value: Any, where: str) -> Part:
    """Read samples one by one and put them together.

    Raises:
        DataError: one cannot be read, or they differ in form.
    """
    pairs = [_split(sample, where) for sample in _each(value, where)]
    if not pairs:
        raise DataError(f"{where} gives no samples; give at least one")
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    known = [y is not None for y in ys]
    if any(known) and not all(known):
        raise DataError(f"sample {known.index(False)} of {where} has no target, others have one")
    targets = stack(ys, f"the targets of {where}") if all(known) else None
    if isinstance(xs[0], Mapping):
        if any(not isinstance(x, Mapping) or set(x) != set(xs[0]) for x in xs):
            raise DataError(f"the samples of {where} differ in their names; give all the same")
        pictures = [str(n) for n, value in xs[0].items() if isinstance(value, Image.Image)]
        others = [str(n) for n in xs[0] if str(n) not in pictures[:1]]
        if pictures and others:
            raise DataError(
                f"the samples of {where} have the picture {pictures[0]!r} and also "
                f"{', '.join(map(repr, others))}; a network that takes pictures takes nothing "
                "else: leave these out, and call the target 'label'"
            )
        named = {str(n): stack([x[n] for x in xs], f"{where}[{n!r}]") for n in xs[0]}
        return (next(iter(named.values())) if len(named) == 1 else named), targets
    return stack(xs, where), targets


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


def stack(values: list[Any], where: str) -> Any:
    """Put samples together: texts, numbers, arrays of one shape, or pictures of any size.

    Raises:
        DataError: they differ in shape or kind.
    """
    if all(isinstance(value, str) for value in values):
        return np.array(values, dtype=str)
    if any(isinstance(value, Image.Image) for value in values):
        values = _pixels(values, where)
    arrays = [as_array(value, f"sample {i} of {where}") for i, value in enumerate(values)]
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


def as_array(value: Any, where: str) -> NDArray[Any]:
    """Return the array of a tensor, a series or numbers.

    Raises:
        DataError: it contains other things than numbers, or texts alone.
    """
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


def _pixels(values: list[Any], where: str) -> list[NDArray[np.uint8]]:
    strange = next((v for v in values if not isinstance(v, Image.Image)), None)
    if strange is not None:
        raise DataError(f"{where} has pictures and also {describe(strange)}; give one kind")
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


def describe(value: object) -> str:
    """Return its type and the beginning of what it is, for a message."""
    return f"{type(value).__name__} ({value!r:.40})"


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
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
