"""Hold an exported file against the network in PyTorch, on real samples and at the edges.

The edges: one sample, seven samples, zeros, the least and the greatest values of the data, and of
texts the shortest and the longest. A file must follow PyTorch within 1e-4 of an output's scale. If
it does not, both are held against the network in float64: where PyTorch's own float32 is as far off
(a constant picture in a normalisation amplifies rounding), the file is as right as PyTorch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.errors import ModelError
from edgekd.evaluation.fidelity import Fidelity
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import OutputParity, Parity, parity
from edgekd.tasks.reference import MOST_DB

RTOL = 1e-4
_OWN_ROUNDING = 4.0
"""So many times PyTorch's own error against float64 is still rounding."""
MOST_TOKENS = 1024
"""A longer text takes minutes through attention."""
_EXCUSED = "as far from float64 as PyTorch's own float32"
_UNSURE = "more than 1e-4 of the scale, and the network has no float64 to judge it by"
_UNKNOWN_ROUNDING = 0.01
"""Allowed at an edge where the network cannot compute in float64: its rounding is not known."""
Case = tuple[str, Arrays, bool]
"""Name, inputs, and whether they are real samples."""


def check_export(
    network: nn.Module,
    path: Path,
    samples: Arrays,
    *,
    outputs: Sequence[str],
    preprocess: Preprocess,
) -> tuple[Fidelity, ...]:
    """Compare a file with the network that it was exported from; return a row for each output.

    What PyTorch itself cannot compute at an edge is noted and not compared.

    Args:
        network: in evaluation mode; takes tensors by position, returns a tuple of tensors.
        path: the file.
        samples: real inputs by name, in order, [samples, ...].
        outputs: names of the outputs, in order.
        preprocess: how samples become these inputs.

    Raises:
        ModelError: an output differs, or is NaN or infinite where PyTorch's is not, or for a real
            sample; the inputs and the worst sample are named.
    """
    run, rows = predictor(path), list[Fidelity]()
    for title, inputs, is_real in cases(samples, preprocess):
        reference = _answers(network, inputs, outputs)
        if reference is None and is_real:
            raise ModelError(
                f"the network cannot compute {title}, which it must: an app may send any number "
                "of samples. Look for code in forward that depends on the batch size"
            )
        count = len(next(iter(inputs.values())))
        if reference is None or not (is_real or _is_finite(reference)):
            why = "gives NaN or infinity" if reference else "cannot compute it"
            rows += [_noted(name, title, count, f"PyTorch itself {why}") for name in outputs]
            continue
        try:
            found = parity(reference, run(inputs), rtol=RTOL)
        except ModelError as error:
            raise ModelError(f"{_refusal(title)}: {error}. {_ADVICE}") from error
        own = None if found.ok else _own_error(network, inputs, outputs, reference)
        _judge(found, own, title, is_real=is_real)
        for name, one in found.outputs.items():
            note = "" if not one.reason else _EXCUSED if own else _UNSURE
            rows.append(_measured(name, one, title, count, note))
    return tuple(rows)


def cases(samples: Arrays, preprocess: Preprocess) -> Iterator[Case]:
    """Yield inputs to compare: real ones in batches of several, 1 and 7, then the edges."""
    count = len(next(iter(samples.values())))
    yield f"{count} real samples" if count > 1 else "1 real sample", samples, True
    if count != 1:
        yield "a batch of 1", {n: a[:1] for n, a in samples.items()}, True
    if count != 7:
        rows = np.arange(7) % count
        yield "a batch of 7", {n: a[rows] for n, a in samples.items()}, True
    if isinstance(preprocess, TextInputs):
        yield from _texts(samples, preprocess)
        return
    yield "zeros", {n: np.zeros_like(a[:2]) for n, a in samples.items()}, False
    for title, of in (("the least values", np.min), ("the greatest values", np.max)):
        yield title, {n: np.full_like(a[:2], _extreme(a, of)) for n, a in samples.items()}, False


def _extreme(array: NDArray[Any], of: Any) -> Any:
    """Return the least or greatest value that data of this kind has: 0 or 255 for pixels."""
    if array.dtype == np.uint8:
        return 0 if of is np.min else 255
    return of(array) if array.size else 0


def _texts(samples: Arrays, preprocess: TextInputs) -> Iterator[Case]:
    """Yield the shortest and the longest text that the preprocessing can give, of real numbers."""
    ids = samples[preprocess.ids]
    if ids.shape[1] == 0:
        return
    longest = min(preprocess.max_length, MOST_TOKENS)
    for title, length in (("1 token", 1), (f"{longest} tokens", longest)):
        row = np.resize(ids[0], length).tolist()
        yield title, preprocess.pad([(row, [1] * length)] * 2), False


def _answers(
    network: nn.Module, inputs: Arrays, outputs: Sequence[str], *, double: bool = False
) -> dict[str, NDArray[Any]] | None:
    """Return the network's outputs by name; None where it cannot compute them."""
    tensors = [torch.as_tensor(np.ascontiguousarray(array)) for array in inputs.values()]
    if double:
        tensors = [t.double() if t.dtype == torch.float32 else t for t in tensors]
    try:
        with torch.no_grad():
            values = network(*tensors)
    except Exception:  # noqa: BLE001  # the user's code runs in here
        return None
    return {n: np.asarray(t.numpy()) for n, t in zip(outputs, values, strict=True)}


def _own_error(
    network: nn.Module, inputs: Arrays, outputs: Sequence[str], reference: Arrays
) -> tuple[Parity, Arrays] | None:
    """Return PyTorch's float32 answers beside float64, and these; None if it has no float64."""
    exact = _answers(copy.deepcopy(network).double(), inputs, outputs, double=True)
    if exact is None or not _is_finite(exact):
        return None
    if any(array.dtype == np.float32 for array in exact.values()):  # it casts by itself
        return None
    return parity(exact, reference, rtol=RTOL), exact


def _judge(found: Parity, own: tuple[Parity, Arrays] | None, title: str, *, is_real: bool) -> None:
    for name, one in found.outputs.items():
        if not one.reason:
            continue
        rounding = own[0].outputs[name].relative if own else 0.0
        allowed = max(RTOL, _OWN_ROUNDING * rounding)
        if own is None and not is_real:
            allowed = _UNKNOWN_ROUNDING
        if one.finite and one.relative <= allowed:
            continue
        raise ModelError(f"{_refusal(title)}: {found}. {_ADVICE}")


def _refusal(title: str) -> str:
    return f"the outputs of the exported file differ from those of the network for {title}"


_ADVICE = (
    "Look for code in forward that depends on values or on the batch size, which the exporter "
    "cannot translate; below opset 18 torch's older exporter freezes such code as the example "
    "took it, and export.opset = 18 to 20 does not"
)


def _is_finite(arrays: Arrays) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values())


def _noted(output: str, title: str, count: int, note: str) -> Fidelity:
    return Fidelity(
        output=output, reference="PyTorch", inputs=title, samples=count, snr_db=None, note=note
    )


def _measured(output: str, one: OutputParity, title: str, count: int, note: str) -> Fidelity:
    return Fidelity(
        output=output,
        reference="PyTorch",
        inputs=title,
        samples=count,
        snr_db=min(one.snr_db, MOST_DB),
        worst_sample=one.worst_sample,
        relative=one.relative,
        note=note,
    )
