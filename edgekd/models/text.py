"""A small transformer encoder for classifying texts (Vaswani et al. 2017, norms first).

Written with plain Linear, matmul and softmax, so that it exports with both batch and length free
and every product of matrices can be quantized.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ModelError


class Attention(nn.Module):
    """Self-attention of several heads over the tokens that are not padding."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the four projections; `heads` divides `width`."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map x [batch, length, width] to the same; to scores add `bias` [batch, 1, 1, length]."""

        def split(y: Tensor) -> Tensor:  # [batch, heads, length, width / heads]
            return y.reshape(*y.shape[:2], self.heads, -1).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        mixed = torch.softmax(scores + bias, dim=-1) @ value
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention, then two Linears with ReLU between, each beside a shortcut and after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        """Make a layer with four times `width` inner neurons."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.project = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map [batch, length, width] to the same."""
        x = x + self.attention(self.norm1(x), bias)
        out: Tensor = x + self.project(functional.relu(self.expand(self.norm2(x))))
        return out


class TextEncoder(nn.Module):
    """Embeddings of tokens and positions, layers, the mean over the tokens, one Linear."""

    def __init__(self, vocabulary_size: int, classes: int, width: int, max_length: int) -> None:
        """Make everything but the layers, which are appended to `layers`."""
        super().__init__()
        self.token = nn.Embedding(vocabulary_size, width)
        self.position = nn.Embedding(max_length, width)
        self.layers = nn.ModuleList()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens and mask, int64 [batch, length], to logits [batch, classes].

        The mask is 1 for a token and 0 for padding, which then changes nothing.

        Raises:
            ModelError: the texts are longer than `max_length`.
        """
        length, limit = tokens.shape[1], self.position.num_embeddings
        if not torch.compiler.is_exporting() and length > limit:  # would bind the exported length
            raise ModelError(
                f"got texts of {length} tokens, but this encoder was built for max_length = "
                f"{limit}; raise it there, or lower max_length of the preprocessing"
            )
        seen = mask.to(self.fc.weight.dtype)
        bias = ((1 - seen) * -1e4)[:, None, None, :]  # finite: a text may be all padding
        x = self.token(tokens) + self.position(torch.arange(length, device=tokens.device))
        for layer in self.layers:
            x = layer(x, bias)
        total = (self.norm(x) * seen[..., None]).sum(dim=1)
        logits: Tensor = self.fc(total / seen.sum(dim=1, keepdim=True).clamp(min=1))
        return logits


def text_encoder(
    vocabulary_size: int,
    classes: int,
    *,
    width: int = 64,
    heads: int = 4,
    layers: int = 2,
    max_length: int = 128,
) -> TextEncoder:
    """Return an encoder with learned positions for texts of up to `max_length` tokens.

    Raises:
        ModelError: a size is below 1, or the heads do not divide the width.
    """
    sizes = (vocabulary_size, classes, width, heads, layers, max_length)
    if min(sizes) < 1 or width % heads:
        raise ModelError(
            f"got (vocabulary_size, classes, width, heads, layers, max_length) = {sizes}; "
            "each must be at least 1, and the width a multiple of the heads"
        )
    encoder = TextEncoder(vocabulary_size, classes, width, max_length)
    encoder.layers.extend(Layer(width, heads) for _ in range(layers))
    return encoder
