"""The base of the loss terms that compare inner layers: named by path, or found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from edgekd.errors import ModelError
from edgekd.training.signals import Signals, Wanted
from edgekd.training.terms import Compared, Term

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgekd.tasks.task import SignalKind
    from edgekd.training.layer_finder import FoundLayers

Place = Literal["stages", "blocks", "attentions"]
WORDS: Mapping[Place, str] = {
    "stages": "stage of feature maps",
    "blocks": "transformer block",
    "attentions": "attention with layers for queries, keys and values",
}


class LayerTerm(Term):
    """Base of the terms that compare layers in pairs."""

    places: ClassVar[tuple[Place, ...]] = ("blocks", "stages")
    """Where layers are looked for, the first that both networks have."""
    only_last: ClassVar[bool] = False
    """Whether only the last of the found pairs is compared."""

    layers: dict[str, str] | None = Field(
        None,
        min_length=1,
        examples=[{"features.5": "features.8"}],
        description="layer of the student = layer of the teacher, both as paths; for an ONNX "
        "teacher, the name of a value in its graph. Default: found, and shown",
    )

    @property
    def student_wanted(self) -> Wanted:
        return self._wanted(tuple(self.layers or ()))

    @property
    def teacher_wanted(self) -> Wanted:
        return self._wanted(tuple((self.layers or {}).values()))

    def _wanted(self, layers: tuple[str, ...]) -> Wanted:
        return Wanted(outputs=False, layers=layers, found=self.layers is None)

    def with_layers(
        self,
        student: FoundLayers,
        teacher: FoundLayers | None,
        kinds: Mapping[str, SignalKind],
    ) -> Self:
        if self.layers is not None:
            return self
        if teacher is None:
            raise ModelError(
                f"the loss term {self.kind!r} finds no layers in an ONNX file; name them: "
                "layers = { path in the student = value in the file }"
            )
        for place in self.places:
            own, its = getattr(student, place), getattr(teacher, place)
            if own and its:
                pairs = pair_layers(own, its, place)[-1 if self.only_last else 0 :]
                return self.model_copy(update={"layers": dict(pairs)})
        raise ModelError(
            f"the loss term {self.kind!r} found nothing to compare: student and teacher have no "
            f"{' and no '.join(WORDS[place] for place in self.places)} in common; name layers: "
            "layers = { path in the student = path in the teacher }"
        )

    def describe(self) -> str:
        pairs = ", ".join(f"{own} = {its}" for own, its in (self.layers or {}).items())
        return f"{self.kind}: layers found (student = teacher): {pairs}"

    def pairs(self, student: Signals, teacher: Signals) -> list[tuple[str, Tensor, Tensor]]:
        """Return the student's path, its value and the teacher's value of each pair."""
        return [
            (own, student.layers[own], teacher.layers[its])
            for own, its in (self.layers or {}).items()
        ]

    def projected(self, seen: Compared) -> list[tuple[str, Tensor, Tensor]]:
        """Return the pairs in the teacher's width, by what `extra` made with `projections`.

        A teacher's map of another size is averaged to the size of the student's.
        """
        from torch import nn

        assert isinstance(seen.extra, nn.ModuleList)
        pairs = self.pairs(seen.student, seen.teacher)
        found = []
        for (path, own, its), projection in zip(pairs, seen.extra, strict=True):
            brought = projection(own.float())
            found.append((path, brought, as_large(its.float(), brought)))
        return found

    def projections(self, student: Signals, teacher: Signals) -> nn.ModuleList:
        """Return a module for each pair: from the student's width to the teacher's."""
        from torch import nn

        return nn.ModuleList(
            [projection(own, its, self.kind) for _, own, its in self.pairs(student, teacher)]
        )


def pair_layers(
    student: Sequence[str], teacher: Sequence[str], place: Place
) -> list[tuple[str, str]]:
    """Pair found layers: stages from the last backwards, all else evenly over the depth.

    Of n and m blocks, k = min(n, m) are paired: number i of k is block ceil(i n / k) of the one and
    ceil(i m / k) of the other, so the last with the last (as in TinyBERT, Jiao et al. 2020).
    """
    n, m = len(student), len(teacher)
    k = min(n, m)
    if place == "stages":
        return list(zip(student[n - k :], teacher[m - k :], strict=True))
    return [(student[-(-i * n // k) - 1], teacher[-(-i * m // k) - 1]) for i in range(1, k + 1)]


def projection(student: Tensor, teacher: Tensor, kind: str) -> nn.Module:
    """Return what brings the student's layer to the width of the teacher's.

    Maps are [batch, channels, height, width]; of all else the last axis is the width.

    Raises:
        ModelError: the layers differ in more than the width.
    """
    from torch import nn

    maps = student.ndim == 4
    if student.ndim != teacher.ndim or (not maps and student.shape[1:-1] != teacher.shape[1:-1]):
        raise ModelError(
            f"the loss term {kind!r} cannot compare a layer of shape {list(student.shape)} of the "
            f"student with one of shape {list(teacher.shape)} of the teacher; name layers that "
            "differ in their channels only"
        )
    axis = 1 if maps else -1
    width, wanted = student.shape[axis], teacher.shape[axis]
    if width == wanted:
        return nn.Identity()
    return nn.Conv2d(width, wanted, 1) if maps else nn.Linear(width, wanted)


def as_large(teacher: Tensor, student: Tensor) -> Tensor:
    """Return a teacher's map averaged to the height and width of the student's."""
    import torch.nn.functional as F

    if teacher.ndim != 4 or teacher.shape[2:] == student.shape[2:]:
        return teacher
    return F.adaptive_avg_pool2d(teacher.float(), (student.shape[2], student.shape[3]))


def mean_over_tokens(each: Tensor, tokens: Tensor | None) -> Tensor:
    """Return the mean of [batch, ...]; of [batch, length] without the padding of texts."""
    if tokens is None or each.ndim != 2 or each.shape != tokens.shape:
        return each.mean()
    counted = tokens != 0
    return (each * counted).sum() / counted.sum().clamp(min=1)
