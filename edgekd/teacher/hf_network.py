"""A folder of transformers as a network of PyTorch: it can be fine-tuned, and it teaches by layers.

It is exported as every network of edgekd is. What only needs a file goes through optimum: `hf.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from edgekd.artifact import Artifact
from edgekd.errors import ModelError, RecipeError, few
from edgekd.options import Training
from edgekd.step import Context, Need, Opened, TorchStep
from edgekd.store import digest
from edgekd.tasks.reference import Reference
from edgekd.teacher.hf_model import HfModel, problem_of, stated_input
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.models.hf_text import Head
    from edgekd.networks.trainable import Model

BUILD = "edgekd.models:hf_text"
FINE_TUNING = Training(
    epochs=3,
    batch_size=32,
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=0.02,
    warmup_epochs=0.3,
    clip_norm=1.0,
)
"""Of a head that is added, with its encoder, where the recipe does not say."""
_NOT_OF_THE_NETWORK = frozenset(
    {
        *("_name_or_path", "name_or_path", "architectures", "transformers_version", "auto_map"),
        *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task"),
        *("torch_dtype", "dtype"),
    }
)
_POOLINGS: Mapping[str, Literal["mean", "first"]] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
}
"""Key of 1_Pooling/config.json of sentence-transformers -> what it means here."""
_MODES = frozenset(
    {
        *_POOLINGS,
        *("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens"),
        *("pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"),
    }
)
CLASSIFIES, ENCODES = "text-classification", ("feature-extraction", "sentence-similarity")


class HfNetwork(HfModel, TorchStep):
    """A text encoder of transformers that is trained in the run, or teaches as it is."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data", "seed"})
    network_name: ClassVar[str] = "model"
    name: Literal["teacher"] = "teacher"
    gate: ClassVar[bool] = True  # type: ignore[misc]  # it is what all else is judged by
    trainable: Literal[True] = Field(
        True,
        description="whether it is a network of PyTorch, which can be trained and cut and teaches "
        "by its layers, or a file that optimum exports; default: as the steps need it",
    )
    pooling: Literal["mean", "first"] | None = Field(
        None,
        description="where the checkpoint has no head: a text's vector is the mean of its tokens' "
        "or the first one's; default: what 1_Pooling/config.json of sentence-transformers states, "
        "else mean",
    )
    fine_tune: Literal["always", "if-needed"] = Field(
        "always",
        description="if-needed: a checkpoint that has a head is taken as it is, and `train` is for "
        "one to which a head is added",
    )
    train: Training | None = Field(
        None,
        description="options of the fine-tuning; default: none, unless a head for the labels has "
        "to be added",
    )

    def content(self, root: Path) -> Mapping[str, str]:
        return {**super().content(root), "pooling": digest(self._pooling(self.folder(root)))}

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        from importlib.metadata import version

        from edgekd.training.environment import describe_environment

        trained = describe_environment(self.train.precision) if self.train is not None else {}
        return {**trained, "transformers": version("transformers")}

    def scaled(self, effort: float) -> Self:
        if self.train is None:
            return self
        return self.model_copy(update={"train": self.train.scaled(effort)})

    def check_early(self, root: Path) -> None:
        from edgekd.models.hf_text import open_transformers

        open_transformers()
        folder, known = self.folder(root), (CLASSIFIES, *ENCODES)
        of_texts = not (folder / "preprocessor_config.json").is_file()
        if not of_texts or self.task not in (None, *known):
            raise ModelError(
                f"{self.hf} is to be trained or to teach by its layers, which encoders of texts "
                f"can, for the tasks {' and '.join(known[:2])}; give "
                f"{option('model.trainable', False)} to export it as it is and quantize it"
            )

    def input_size(self, root: Path) -> tuple[int, int] | None:
        """Return None: it takes no images."""
        return None

    def natural_task(self, root: Path) -> str | None:
        if self.task in ENCODES:
            return "embedding"
        return problem_of(self.config(root)) if self._has_head(root) else None

    def settled(self, root: Path, *, wants_head: bool) -> tuple[Self, str]:
        """Return it with or without a fine-tuning, as its head needs it, and a line that says so.

        Args:
            root: relative paths start here.
            wants_head: whether the task's outputs are those of a head.
        """
        if not wants_head or self._has_head(root):
            skips = self.fine_tune == "if-needed"
            return (self.model_copy(update={"train": None}) if skips else self), ""
        train = self.train or FINE_TUNING
        epochs = option("model.train.epochs", train.epochs)
        line = f"{self.hf} has no head for labels: one is added, and all is fine-tuned ({epochs})"
        return self.model_copy(update={"train": train}), line

    def without_labels(self) -> Self:
        if self.fine_tune == "if-needed":
            return self.model_copy(update={"train": None})
        if self.train is not None:
            raise RecipeError(
                "the model is fine-tuned in the run, which needs labels, and the data has none; "
                "leave out model.train, or give data with labels"
            )
        return self

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        from edgekd.networks.spec import NetworkSpec
        from edgekd.networks.trainable import create_model

        root = context.root
        folder = self.folder(root)
        given = self.input.model_copy(update=stated_input(folder, self.input))
        head, labels = self._head(context)
        options: dict[str, object] = {"config": self._settings(root), "head": head}
        options["labels"] = labels
        if head != "own":
            options |= self._pooling(folder)
        model: Model = create_model(
            NetworkSpec(build=BUILD, options=options),
            context.data.choose_preprocess(given, root=root),
            root=root,
            data=context.data,
            given=self.input,
        )
        notes = [note.replace(BUILD, self.hf) for note in model.notes]
        return replace(model, notes=(*notes, *self._load(model, folder, head)))

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        if self.train is None:
            return
        from edgekd.training.transfer import Lesson, transfer

        transfer(model, Lesson(), context, self.train, work=work, title=self.name)

    def _has_head(self, root: Path) -> bool:
        named = self.config(root).get("architectures") or [""]
        return self.task not in ENCODES and str(named[0]).endswith("ForSequenceClassification")

    def _head(self, context: Context) -> tuple[Head, int]:
        """Return which head the task needs, and how many outputs it has.

        Raises:
            RecipeError: the checkpoint as it is has no head for the task, or another number of
                outputs than the data.
        """
        kinds, has_head = set(context.task.signals.values()), self._has_head(context.root)
        own = len(self.config(context.root).get("id2label") or ()) or 2
        if isinstance(context.task, Reference):
            return ("own", own) if has_head else ("vector", own)
        if kinds == {"embedding"}:
            return "vector", own
        if len(kinds) != 1 or not kinds <= {"classes", "labels", "values"}:
            raise RecipeError(
                f"the task wants {', '.join(context.task.signals)}, and a text encoder gives one "
                "output for each text: classes, labels, values or an embedding"
            )
        labels = context.data.answers
        if self.train is None and not (has_head and labels == own):
            why = f"has a head of {own} outputs" if has_head else "has no head"
            raise RecipeError(
                f"{self.hf} {why}, and the data has {labels} labels; fine-tune it "
                f"({option('model.train.epochs', FINE_TUNING.epochs)}), or give data whose labels "
                "are those of config.json"
            )
        return ("own" if has_head else "new"), labels

    def _settings(self, root: Path) -> dict[str, Any]:
        found = {k: v for k, v in self.config(root).items() if k not in _NOT_OF_THE_NETWORK}
        if "model_type" not in found:
            raise ModelError(
                f"config.json of {self.hf} states no model_type, so it is not known what network "
                "it is; save it again: model.save_pretrained(FOLDER)"
            )
        return found

    def _pooling(self, folder: Path) -> dict[str, object]:
        """Return how the folder of sentence-transformers, if it is one, makes a vector."""
        from edgekd.exporters.hf_export import read_config

        stated = read_config(folder / "1_Pooling")
        modes = {key for key, value in stated.items() if key in _MODES and value}
        if self.pooling is None and (modes - set(_POOLINGS) or len(modes) > 1):
            raise ModelError(
                f"{self.hf} pools by {', '.join(sorted(modes))}, which is not known here; give "
                f"{option('model.pooling', 'mean')} or {option('model.pooling', 'first')}"
            )
        found = _POOLINGS[modes.pop()] if modes and self.pooling is None else self.pooling
        return {"pooling": found or "mean"}

    def _load(self, model: Model, folder: Path, head: Head) -> tuple[str, ...]:
        """Load the checkpoint; return notes.

        Raises:
            ModelError: it lacks tensors that nothing here trains.
        """
        from edgekd.models.hf_text import TextClassifier, TextNetwork, load_hf_weights

        assert isinstance(model.body, (TextClassifier, TextNetwork))
        fresh = load_hf_weights(model.body, folder)
        if fresh and (self.train is None or head != "own"):
            raise ModelError(
                f"{folder} lacks {few(fresh)} of {type(model.body.body).__name__}; save the whole "
                "model: model.save_pretrained(FOLDER)"
            )
        if fresh:
            return (f"{self.hf}: {few(fresh)} start fresh, for the labels of the data",)
        pooled = {"mean": "the mean of its tokens", "first": "its first token"}
        how = pooled[model.blueprint.options["pooling"]] if head != "own" else ""
        notes = {
            "own": f"{self.hf} keeps its own head",
            "new": f"{self.hf} gets a new head on {how}",
            "vector": f"{self.hf}: the vector of a text is {how}, of length 1",
        }
        return (notes[head],)
