"""Networks of texts as strangers write them; `build` functions ask for what they need by name."""

# mypy: ignore-errors
from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


class Packed(nn.Module):
    """Time first, packed, two layers both ways."""

    def __init__(self, vocab_size, output_dim, pad_idx):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 32, padding_idx=pad_idx)
        self.rnn = nn.LSTM(32, 32, num_layers=2, bidirectional=True, dropout=0.3)
        self.fc = nn.Linear(64, output_dim)

    def forward(self, text, text_lengths):
        embedded = self.embedding(text)
        packed = nn.utils.rnn.pack_padded_sequence(embedded, text_lengths.to("cpu"))
        _, (hidden, _) = self.rnn(packed)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1))


def packed(vocab_size, output_dim, pad_idx):
    return Packed(vocab_size, output_dim, pad_idx)


class Bags(nn.Module):
    def __init__(self, vocab_size, num_class):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, 64)
        self.fc = nn.Linear(64, num_class)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


def bags(vocab_size, num_class):
    return Bags(vocab_size, num_class)


@dataclass
class Output:
    loss: object = None
    logits: object = None
    hidden_states: object = None


class Encoder(nn.Module):
    def __init__(self, vocab_size, num_labels, max_len=48):
        super().__init__()
        self.word, self.position = nn.Embedding(vocab_size, 64), nn.Embedding(max_len, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.inner, self.classifier = nn.Linear(64, 128), nn.Linear(128, num_labels)

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None):
        x = self.word(input_ids) + self.position(torch.arange(input_ids.shape[1]))
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        logits = self.classifier(torch.tanh(self.inner(x[:, 0])))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return Output(loss=loss, logits=logits, hidden_states=x)


def encoder(vocab_size, num_labels):
    return Encoder(vocab_size, num_labels)


ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,!?'"


def characters(text):
    return [ALPHABET.find(c) + 1 for c in text.lower()]


class Characters(nn.Module):
    """Of one length."""

    def __init__(self, num_classes, max_length):
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET) + 1, 32)
        self.net = nn.Sequential(
            nn.Conv1d(32, 64, 7, padding=3), nn.ReLU(), nn.MaxPool1d(3), nn.Conv1d(64, 64, 3),
        )  # fmt: skip
        self.size = 64 * (max_length // 3 - 2)
        self.fc = nn.Sequential(nn.Linear(self.size, 64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, x):
        x = self.net(self.embedding(x).transpose(1, 2))
        return self.fc(x.view(-1, self.size))


def convolutions(num_classes, max_length):
    return Characters(num_classes, max_length)
