"""The step `prune`: remove channels, then recover by distillation from the unpruned network.

Both are one step, judged as one: a pruned network that was not trained again is worth nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from edgekd.artifact import Artifact
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.options import Training
from edgekd.step import Context, Need, Opened, TorchStep
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model


class Prune(LearnsFromTeacher, TorchStep):
    """Remove whole channels along the dependency graph, then train to recover the quality."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data", "seed"})
    network_name: ClassVar[str] = "pruned network"
    name: Literal["prune"] = "prune"
    ratio: float = Field(
        0.3, gt=0, lt=1, description="share of the channels to remove from every group"
    )
    multiple: int = Field(
        16,
        ge=1,
        le=256,
        examples=[16],
        description="keep the remaining widths at multiples of this, since kernels are fastest "
        "there",
    )
    keep: tuple[str, ...] = Field(
        (), examples=[["features.0"]], description="names of layers to leave as they are"
    )
    recover: Training = Field(
        Training(epochs=5, learning_rate=0.02, warmup_epochs=0.5),
        description="options of the training after the removal",
    )

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        return self.describe_environment(source, self.recover.precision)

    def scaled(self, effort: float) -> Self:
        return self.model_copy(update={"recover": self.recover.scaled(effort)})

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        from edgekd.networks.shrink import thinned

        self.check_terms(context.task.signals)
        whole = source()
        data, task, keep = context.data, context.task, self.keep
        advice = f"others might: {option('prune.ratio', 0.5)} or {option('prune.multiple', 8)}"
        thin = thinned(
            whole,
            data,
            task,
            ratio=self.ratio,
            multiple=self.multiple,
            keep=keep,
            advice=advice,
        )
        return self.checked(thin, whole, context)

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        self.teach(model, source, context, self.recover, work=work, title="prune, recover")
