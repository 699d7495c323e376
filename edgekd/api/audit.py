"""`edgekd.audit`: a teacher before anything learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.api.commands import advise_key, listener
from edgekd.arguments import as_texts, taking

if TYPE_CHECKING:
    from edgekd.pipeline.audit.command import AuditResult
    from edgekd.progress import Progress


@taking(advise_key)
def audit(  # noqa: PLR0913  # each argument is a flag of the command
    model: object = None,
    data: object = None,
    *,
    more_teachers: str | Path | Sequence[str | Path] = (),
    weights: object = None,
    student: object = None,
    size: int | str | Sequence[int] | None = None,
    normalize: str | Sequence[float] | None = None,
    resize: str | None = None,
    tokenizer: str | None = None,
    max_length: int | None = None,
    task: object = None,
    labels: Sequence[str] | None = None,
    no_labels: bool | None = None,
    skip_broken: bool | None = None,
    name: str | None = None,
    changes: str | Sequence[str] = (),
    out: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | bool = True,
) -> AuditResult:
    """Audit a trained teacher: quality, calibration, doubtful labels, advice for distillation.

    Each argument takes what it takes in `compress`. `audit.json`, `audit.html` and `mistakes.csv`
    are written into the run folder; the same job of `compress` goes on in it.

    Args:
        model: the teacher: an ONNX file, "hf:FOLDER", an nn.Module with its weights, or a recipe.
        data: with or without labels; None with a recipe.
        more_teachers: ONNX files that teach beside it.
        weights: a state_dict or its file, of a function that builds the teacher.
        student: the network to train, to see how much smaller it is.
        size: image size, in pixels.
        normalize: scale of pixels that the teacher expects.
        resize: how images are brought to that size.
        tokenizer: tokenizer of the teacher.
        max_length: longest text, in tokens.
        task: what the outputs mean.
        labels: names of the classes.
        no_labels: ignore the labels; what needs none is still said.
        skip_broken: leave out samples that cannot be read.
        name: name of the run, and of its folder.
        changes: texts such as "data.validation=0.3" that change keys of the recipe.
        out: the run folder; default: runs/NAME.
        root: where relative paths start.
        progress: show bars or lines on stderr, or your own listener.

    Raises:
        BadInput: teacher or data is wrong.

    Example:
        >>> edgekd.audit("net.onnx", data=(x, y)).lines  # doctest: +SKIP
    """
    from edgekd.pipeline.audit.from_python import audit_objects
    from edgekd.pipeline.python_job import Job
    from edgekd.recipe.from_flags import pick_asked

    given = pick_asked(locals())
    job = Job(as_texts(changes, "changes"), out, root, listener(progress))
    return audit_objects(model, data, as_texts(more_teachers, "more_teachers"), given, job)
