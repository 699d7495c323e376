"""All errors that edgekd raises on purpose.

EdgekdError                 base; carries the exit code of the command line
├── NothingToDo             a signal: a step can do nothing for this network, and is skipped
├── NotKnownYet             a signal: what a step gives is known only when it runs
├── BadInput                exit 2: the call, the recipe, the data or the model is wrong
│   ├── RecipeError         a recipe (or flag) that cannot be read or makes no sense
│   ├── DataError           samples, labels or splits that cannot be used
│   ├── ModelError          a network, its weights or an ONNX file that cannot be used
│   ├── RunFolderError      the run folder is another recipe's, locked, or not writable
│   ├── TrainingDiverged    the loss became NaN or infinite
│   ├── HistoryError        a history of measurements that cannot be read or written
│   └── MissingExtra        an optional package is not installed
└── JobFailed               exit 1: all was well formed, but the work did not succeed
    ├── MeasureError        a process under test crashed or could not be timed
    │   └── CandidateError  one of several does not start; it names which
    ├── WorseThanBaseline   a model was proven to be slower than the stored one, or otherwise worse
    ├── VerifyFailed        a bundle does not compute its golden outputs
    └── CouldNotTell        exit 3: neither proven worse than the stored one nor as good

A message is one paragraph: what was got, what was expected, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import ClassVar


class EdgekdError(Exception):
    """Base of all; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 1


class NothingToDo(EdgekdError):
    """A step can do nothing for this network: it is skipped with this reason, the run continues."""


class NotKnownYet(EdgekdError):
    """The output of a step is known only when it runs, so it cannot be shown in advance."""


class BadInput(EdgekdError):
    """The call, the recipe, the data or the model is wrong."""

    exit_code: ClassVar[int] = 2


class RecipeError(BadInput):
    """A recipe or a flag that cannot be read or makes no sense."""


class DataError(BadInput):
    """Samples, labels or splits that cannot be used."""


class ModelError(BadInput):
    """A network, its weights or an ONNX file that cannot be used."""


class RunFolderError(BadInput):
    """The run folder is another recipe's, is in use, or cannot be written."""


class TrainingDiverged(BadInput):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


class HistoryError(BadInput):
    """A history of measurements that is damaged, foreign or newer, or lacks the requested entry."""


class MissingExtra(BadInput):
    """An optional package is not installed; the message names the extra."""


class JobFailed(EdgekdError):
    """All was well formed, but the work did not succeed."""


class MeasureError(JobFailed):
    """A process under test crashed or could not be timed."""


class CandidateError(MeasureError):
    """One of several candidates does not start; the others may."""

    def __init__(self, message: str, index: int) -> None:
        """Keep which one it is, in the order that they were given."""
        super().__init__(message)
        self.index = index


class WorseThanBaseline(JobFailed):
    """A model was proven to be slower than the stored one, or breaks another limit beside it."""


class CouldNotTell(JobFailed):
    """The measurement proves neither that a model is worse than the stored one, nor that not."""

    exit_code: ClassVar[int] = 3


class VerifyFailed(JobFailed):
    """A bundle does not compute its golden outputs."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or name the extra that installs it.

    Raises:
        MissingExtra: `module` is not installed. A broken install shows its own error.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtra(
            f"the package {module!r} is needed here and is not installed; "
            f"run: pip install 'edgekd[{extra}]'"
        ) from error


def one_line(error: object) -> str:
    """Return the message of an error without line breaks, for a table or another message."""
    return " ".join(str(error).split())


def few(names: Sequence[str]) -> str:
    """Return the first five names, and how many there are besides."""
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{rest}"
