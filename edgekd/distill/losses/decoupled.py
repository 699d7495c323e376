"""DKD: soft targets in two parts, the right class and the others (Zhao et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgekd.distill.losses.scores import ScoreTerm, class_rows, divergence, log_probabilities
from edgekd.tasks.segmentation import resize_nearest
from edgekd.training.terms import Compared

if TYPE_CHECKING:
    from torch import Tensor

    from edgekd.tasks.task import SignalKind


def decoupled(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    alpha: float,
    beta: float,
    temperature: float,
) -> Tensor:
    """Return alpha TCKD + beta NCKD, times temperature squared (arXiv 2203.08679, equation 7).

    TCKD is the divergence of (target class, all others); NCKD that of the others among themselves.

    Args:
        student: logits [rows, classes].
        teacher: the same.
        target: class of each row, int64 [rows]. A row whose class does not exist does not count.
        alpha: weight of the target class.
        beta: weight of the others.
        temperature: of all softmaxes.
    """
    import torch

    counted = (target >= 0) & (target < student.shape[-1])
    at = target.where(counted, 0)[:, None]
    both, others = [], []
    for logits in (student.float() / temperature, teacher.float() / temperature):
        without = logits.scatter(-1, at, float("-inf"))
        pair = [logits.gather(-1, at), without.logsumexp(dim=-1, keepdim=True)]
        both.append(log_probabilities(torch.cat(pair, dim=-1)))
        others.append(log_probabilities(without))
    rows = alpha * divergence(both[0], both[1]) + beta * divergence(others[0], others[1])
    total = (rows * counted).sum() / counted.sum().clamp(min=1)
    return total * temperature**2


class Decoupled(ScoreTerm):
    """Learn the teacher's probability of the right class and those of the others apart (DKD).

    Plain soft targets weigh the others by how unsure the teacher is; a sure one teaches little of
    them. Where labels are not used (hard_weight = 0), the teacher's most probable class stands for
    the label.
    """

    wants_labels: ClassVar[bool] = True
    kind: Literal["dkd"] = "dkd"
    alpha: float = Field(1.0, ge=0, le=1e6, description="weight of the right class")
    beta: float = Field(8.0, ge=0, le=1e6, description="weight of the other classes")
    temperature: float = Field(4.0, gt=0, le=100, description="temperature of all softmaxes")

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        found = {}
        for name, kind in seen.kinds.items():
            own, its = seen.student.outputs[name], seen.teacher.outputs[name]
            rows = class_rows(own, its, kind)
            target = _labels(own, seen, kind)
            found[name] = decoupled(
                *rows,
                rows[1].argmax(dim=-1) if target is None else target,
                alpha=self.alpha,
                beta=self.beta,
                temperature=self.temperature,
            )
        return found


def _labels(output: Tensor, seen: Compared, kind: SignalKind) -> Tensor | None:
    """Return the class of each row of an output, or None where there are no labels."""
    target = seen.targets.get("mask" if kind == "class map" else "label")
    if target is None:
        return None
    if kind == "class map":
        resized: Tensor = resize_nearest(target, output.shape[2], output.shape[3])
        target = resized.flatten()
    return target.long()
