"""A text network of transformers: its encoder, and a head or one vector for each text.

It is built from the settings alone (`config.json`), so a stage of a run needs neither the folder
that its weights came from nor a network connection.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ModelError, one_line, require

Head = Literal["own", "new", "vector"]
Pooling = Literal["mean", "first"]
_OF_LABELS = ("num_labels", "id2label", "label2id")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what transformers prints; errors are still raised."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            logging.disable(logging.WARNING)  # single loggers of theirs have levels of their own
            yield
        finally:
            logging.disable(before)


def open_transformers() -> Any:
    """Return the package, which then asks no server for anything.

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with quiet():
        return require("transformers", extra="hf")


class TextNetwork(nn.Module):
    """An encoder of transformers whose forward takes numbers and a mask and returns one tensor."""

    def __init__(
        self, body: nn.Module, head: nn.Module | None, pooling: Pooling, normalize: bool
    ) -> None:
        """Keep the encoder; `head` None: the vector itself, of length 1 if `normalize`."""
        super().__init__()
        self.body, self.head = body, head
        self.pooling, self.normalize = pooling, normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Map int64 [batch, length], both, to {"logits": [batch, n]} or {"embedding": ...}."""
        found = self.body(input_ids=input_ids, attention_mask=attention_mask)
        words: Tensor = found.last_hidden_state
        if self.pooling == "first":
            vector = words[:, 0]
        else:
            seen = attention_mask[:, :, None].to(words.dtype)
            vector = (words * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
        if self.head is not None:
            return {"logits": self.head(vector)}
        return {"embedding": functional.normalize(vector, dim=1) if self.normalize else vector}


class TextClassifier(nn.Module):
    """A network of transformers with the head that belongs to its architecture."""

    def __init__(self, body: nn.Module) -> None:
        """Keep the network."""
        super().__init__()
        self.body = body

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Map int64 [batch, length], both, to {"logits": [batch, n]}."""
        return {"logits": self.body(input_ids=input_ids, attention_mask=attention_mask).logits}


def hf_text(
    config: Mapping[str, Any],
    *,
    head: Head = "vector",
    labels: int = 2,
    pooling: Pooling = "mean",
    normalize: bool = True,
) -> TextNetwork | TextClassifier:
    """Return a network with random weights.

    Args:
        config: the settings, as config.json has them.
        head: "own": that of the architecture; "new": dropout and a Linear on the pooled vector;
            "vector": none.
        labels: outputs of a head.
        pooling: of the tokens' vectors: the mean without padding, or the first one.
        normalize: vectors get the length 1; of "vector" alone.

    Raises:
        MissingExtra: transformers is not installed.
        ModelError: it does not know these settings, or they are not those of an encoder.
    """
    transformers = open_transformers()
    try:
        with quiet():
            kept = {key: value for key, value in config.items() if key not in _OF_LABELS}
            settings = transformers.AutoConfig.for_model(**kept, num_labels=labels)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"transformers {transformers.__version__} cannot read these settings "
            f"({one_line(error)[:300]}); install the version that wrote them (transformers_version "
            "in config.json)"
        ) from error
    if hasattr(settings, "use_cache"):
        settings.use_cache = False  # of a decoder: a text comes whole
    if getattr(settings, "is_encoder_decoder", False):
        raise ModelError(
            f"{settings.model_type} is an encoder with a decoder, which cannot be one network "
            "here; give an encoder, such as BERT, DistilBERT, RoBERTa, MPNet or ELECTRA"
        )
    if head == "own":
        return TextClassifier(
            _build(transformers, "AutoModelForSequenceClassification", settings, {})
        )
    kind = transformers.MODEL_MAPPING.get(type(settings), None)
    body = _build(
        transformers, "AutoModel", settings, {} if kind is None else _without_pooler(kind)
    )
    last = None
    if head == "new":
        drop = getattr(settings, "hidden_dropout_prob", getattr(settings, "dropout", 0.1))
        last = nn.Sequential(nn.Dropout(drop), nn.Linear(int(settings.hidden_size), labels))
    return TextNetwork(body, last, pooling, normalize)


def load_hf_weights(network: TextNetwork | TextClassifier, folder: Path) -> tuple[str, ...]:
    """Load the weights of a folder that save_pretrained wrote, in place.

    Returns:
        Names of the tensors that it lacks or has in another shape, which start fresh.

    Raises:
        ModelError: they cannot be read.
    """
    body, kind = cast(Any, network.body), type(network.body)
    try:
        with quiet():
            loaded, found = cast(Any, kind).from_pretrained(
                str(folder),
                config=body.config,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **_without_pooler(kind),
            )
    except Exception as error:  # of many kinds, by version and format
        raise ModelError(
            f"transformers cannot load the weights in {folder} ({type(error).__name__}: "
            f"{one_line(error)[:300]}); save them again: model.save_pretrained(FOLDER)"
        ) from error
    network.body.load_state_dict(loaded.state_dict())
    return tuple(sorted({*found["missing_keys"], *(row[0] for row in found["mismatched_keys"])}))


def _without_pooler(kind: type) -> dict[str, bool]:
    """Return the option that leaves out a layer which nothing here reads, where there is one."""
    takes = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return {"add_pooling_layer": False} if "add_pooling_layer" in takes else {}


def _build(transformers: Any, kind: str, settings: Any, extra: Mapping[str, Any]) -> nn.Module:
    try:
        with quiet():
            made = getattr(transformers, kind).from_config(settings, dtype=torch.float32, **extra)
    except (ValueError, KeyError, TypeError, ImportError) as error:
        raise ModelError(
            f"transformers {transformers.__version__} builds no {kind} of the type "
            f"{settings.model_type!r} ({one_line(error)[:300]}); give an encoder for texts"
        ) from error
    return cast(nn.Module, made)
