"""Limits on a new file beside the stored one: latency, size, memory, quality.

Latency is judged by `comparison.verdict_of`, with its tolerance. The others are here. Size is
exact. Memory is the median over processes of one session. Quality needs real inputs: the share of
right answers where labels are given, or the share of answers that stayed. Of these the values
decide, as in the gate of a run; they are shown with the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.formatting import megabytes
from edgekd.benchmarks.history.entry import StoredRow
from edgekd.benchmarks.result import BenchResult
from edgekd.errors import RecipeError

LimitVerdict = Literal["passed", "failed", "could not tell"]
Run = Callable[[Path, Path], dict[str, NDArray[Any]]]
"""Returns the outputs of a file on feeds, calls first."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What a new file may cost against the stored one. None: it is not looked at."""

    slower: float = 0.0
    """Share: 0.03 lets it be 3 % slower."""
    larger: float | None = None
    """Share of the stored file's bytes, external data included."""
    memory: float | None = None
    """Share of the peak memory of the stored file's process."""
    drop: float | None = None
    """Points of accuracy; needs `labels`."""
    labels: Path | None = None
    """An .npy of class numbers, one for each sample of the feeds."""
    agreement: float | None = None
    """Per cent of the samples whose class must be that of the stored file."""
    unlike_names: bool = False
    """Whether files are compared in the order given, where the names differ."""

    @property
    def limits_anything(self) -> bool:
        """Whether anything was asked for."""
        return replace(self, unlike_names=False) != Guard()

    @property
    def runs(self) -> bool:
        """Whether the answers of both files are needed."""
        return self.drop is not None or self.agreement is not None


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit, and whether it holds."""

    label: str
    """Of the new file."""
    what: str
    before: str
    now: str
    allowed: str
    verdict: LimitVerdict
    reason: str = ""
    """Why it could not be told."""


def check_size(guard: Guard, label: str, before: StoredRow, size_bytes: int) -> Iterator[Limit]:
    """Yield the limit on the size, if there is one."""
    if guard.larger is None:
        return
    most = before.size_bytes * (1 + guard.larger)
    yield Limit(
        label=label,
        what="size",
        before=megabytes(before.size_bytes),
        now=megabytes(size_bytes),
        allowed=f"at most +{100 * guard.larger:g} %",
        verdict="passed" if size_bytes <= most else "failed",
    )


def check_memory(
    guard: Guard, label: str, copy: Path | None, result: BenchResult | None
) -> Iterator[Limit]:
    """Yield the limit on the peak memory, if there is one.

    Args:
        guard: the limits.
        label: of the new file.
        copy: the stored file; None where it is not there, or the bytes are equal.
        result: the last session; None: nothing was timed, since nothing changed.
    """
    if guard.memory is None:
        return
    allowed = f"at most +{100 * guard.memory:g} %"
    if result is None or copy is None:
        verdict: LimitVerdict = "passed" if result is None else "could not tell"
        reason = "" if result is None else "there is no stored file to run beside it"
        yield Limit(
            label=label,
            what="memory",
            before="",
            now="unchanged" if result is None else "",
            allowed=allowed,
            verdict=verdict,
            reason=reason,
        )
        return
    pairs = zip(result.rows, result.session.measurements, strict=True)
    peaks: Mapping[bool, list[float]] = {True: [], False: []}
    for row, measured in pairs:
        peaks[row.file == copy] += [float(run.peak_memory_bytes) for run in measured.runs]
    before, now = (float(np.median(peaks[stored])) for stored in (True, False))
    yield Limit(
        label=label,
        what="memory",
        before=megabytes(round(before)),
        now=megabytes(round(now)),
        allowed=allowed,
        verdict="passed" if now <= before * (1 + guard.memory) else "failed",
    )


def check_quality(
    guard: Guard, label: str, files: tuple[Path, Path], feeds: Path | None, run: Run
) -> Iterator[Limit]:
    """Yield the limits on quality, if there are any.

    Args:
        guard: the limits.
        label: of the new file.
        files: the stored file and the new one, equal if nothing changed.
        feeds: real inputs.
        run: runs a file on them.

    Raises:
        RecipeError: there are no real inputs, no labels, or another number of labels.
    """
    if not guard.runs:
        return
    if feeds is None:
        raise RecipeError(
            "--allow-drop and --min-agreement compare answers on real inputs; give them with "
            "--feeds FILE.npz, here or when the baseline is stored"
        )
    then, now = (_classes(run(file, feeds), file) for file in files)
    if guard.agreement is not None:
        share = 100 * float(np.mean(then == now))
        yield Limit(
            label=label,
            what=f"same class, {len(now)} samples",
            before="100 %",
            now=f"{share:.1f} %",
            allowed=f"at least {guard.agreement:g} %",
            verdict="passed" if share >= guard.agreement else "failed",
        )
    if guard.drop is not None:
        truth = _labels(guard, len(now))
        old, new = (100 * float(np.mean(truth == answers)) for answers in (then, now))
        yield Limit(
            label=label,
            what=f"accuracy, {len(now)} samples",
            before=f"{old:.2f} %",
            now=f"{new:.2f} %",
            allowed=f"at most {guard.drop:g} points less",
            verdict="passed" if old - new <= guard.drop + 1e-9 else "failed",
        )


def _classes(outputs: Mapping[str, NDArray[Any]], file: Path) -> NDArray[np.int64]:
    """Return the class of each sample by the first output, [samples].

    Scores are [calls, batch, classes] or [calls, classes]; axes of 1 behind the batch are passed
    over. Of scores for each pixel or word the classes are on an axis that nothing names.
    """
    first = next(iter(outputs.values()))
    shape = [n for axis, n in enumerate(first.shape) if axis < 2 or n > 1]
    if len(shape) not in (2, 3) or shape[-1] < 2 or first.dtype.kind not in "fiu":
        raise RecipeError(
            f"the first output of {file.name} has shape {list(first.shape[1:])} and contains no "
            "class scores of whole samples; --allow-drop and --min-agreement are for classifiers"
        )
    return np.asarray(first.reshape(-1, shape[-1]).argmax(axis=1), np.int64)


def _labels(guard: Guard, samples: int) -> NDArray[np.int64]:
    path = guard.labels
    if path is None:
        raise RecipeError("--allow-drop needs the right answers; give --labels FILE.npy")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"--labels {path} cannot be read as an .npy file of numbers; write it with numpy.save"
        ) from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu":
        raise RecipeError(f"--labels {path} must contain one array of whole numbers, the classes")
    if found.size != samples:
        raise RecipeError(
            f"--labels {path} has {found.size} labels, and the feeds have {samples} samples; give "
            "one label for each sample"
        )
    return np.asarray(found.ravel(), np.int64)
