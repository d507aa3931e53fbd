"""The network: items placed by an id vector and a text adapter, and a causal transformer over them.

SASRec (Kang & McAuley 2018, "Self-attentive sequential recommendation") with pre-norm blocks; a learned bias by
distance, one for each head, that starts as ALiBi (Press et al. 2022, "Train short, test long"); text adapter and
cosine softmax as in UniSRec (Hou et al. 2022, "Towards universal sequence representation learning").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

from recsys import config
from recsys.sequence.histories import GAP_BUCKETS
from recsys.tables import EVENT_TYPES

HEAD_DIM = 32


@dataclass(frozen=True)
class Shape:
    """What must be known to build a network before its weights can be read. `text_dim` 0: no text anywhere."""

    n_items: int
    text_dim: int
    dim: int
    layers: int
    max_length: int
    dropout: float
    temperature: float

    @classmethod
    def of(cls, n_items: int, text_dim: int, settings: config.SequenceSettings) -> Shape:
        return cls(
            n_items=n_items,
            text_dim=text_dim,
            dim=settings.dim,
            layers=settings.layers,
            max_length=settings.max_length,
            dropout=settings.dropout,
            temperature=settings.temperature,
        )

    def to_json(self) -> str:
        return _SHAPE.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Shape:
        return _SHAPE.validate_json(text)


_SHAPE: Final = TypeAdapter(Shape)


class Adapter(nn.Module):
    """Whitened text into the item space: a linear map plus a correction by a small hidden layer.

    It starts as the leading whitened dimensions themselves, so that texts that read alike are near each other before
    the first step, and the correction starts at zero.
    """

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, dim, bias=False)
        self.hidden = nn.Linear(text_dim, dim)
        self.correction = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.correction.weight)

    def forward(self, text: Tensor) -> Tensor:
        """(m, text_dim) to (m, dim); a zero row (no text) stays zero."""
        has_text = text.any(dim=1, keepdim=True)  # (m, 1)
        adapted = self.linear(text) + self.correction(gelu(self.hidden(text)))  # (m, dim)
        return torch.where(has_text, adapted, torch.zeros_like(adapted))


class Attention(nn.Module):
    """Causal self-attention with a learned bias by distance."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_heads = max(1, shape.dim // HEAD_DIM)
        self.head_dim = shape.dim // self.n_heads
        inner = self.n_heads * self.head_dim
        self.dropout = shape.dropout
        self.inputs = nn.Linear(shape.dim, 3 * inner)
        self.output = nn.Linear(inner, shape.dim)
        slopes = 2.0 ** (-8.0 * torch.arange(1, self.n_heads + 1) / self.n_heads)  # (heads,)
        self.bias = nn.Parameter(-slopes[:, None] * torch.arange(shape.max_length))  # (heads, max_length)

    def forward(self, x: Tensor) -> Tensor:
        """(b, l, dim) to (b, l, dim)."""
        b, length, _ = x.shape
        qkv = self.inputs(x).view(b, length, 3, self.n_heads, self.head_dim)  # (b, l, 3, heads, head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (b, heads, l, head)
        positions = torch.arange(length, device=x.device)  # (l,)
        distance = positions[:, None] - positions[None, :]  # (l, l), negative for the future
        bias = self.bias[:, distance.clamp(min=0)]  # (heads, l, l)
        bias = bias.masked_fill(distance < 0, -torch.inf).to(q.dtype)  # (heads, l, l)
        rate = self.dropout if self.training else 0.0
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate)  # (b, heads, l, head)
        result: Tensor = self.output(mixed.transpose(1, 2).reshape(b, length, -1))  # (b, l, dim)
        return result


class Block(nn.Module):
    """Attention, then a feed-forward layer of four times the width; both normalised before, dropped out after."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.dim)
        self.attention = Attention(shape)
        self.forward_norm = nn.LayerNorm(shape.dim)
        self.widen = nn.Linear(shape.dim, 4 * shape.dim)
        self.narrow = nn.Linear(4 * shape.dim, shape.dim)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, l, dim) to (b, l, dim)."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))  # (b, l, dim)
        result: Tensor = x + self.dropout(self.narrow(gelu(self.widen(self.forward_norm(x)))))  # (b, l, dim)
        return result


class Network(nn.Module):
    """Weights and the three maps made of them: items, texts and histories into one space of unit vectors."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.ids = nn.Embedding(shape.n_items, shape.dim, sparse=True)  # a step reads few rows of a large catalogue
        self.adapter = Adapter(shape.text_dim, shape.dim) if shape.text_dim else None
        self.event_types = nn.Embedding(len(EVENT_TYPES), shape.dim)
        self.gaps = nn.Embedding(GAP_BUCKETS, shape.dim)
        self.input_dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.LayerNorm(shape.dim)
        for table in (self.ids, self.event_types, self.gaps):
            nn.init.normal_(table.weight, std=0.02)

    def items(self, rows: Tensor, text: Tensor | None, id_weights: Tensor) -> Tensor:
        """(m, dim) of norm 1: weighed id vector plus adapted text; zero where an item has neither.

        rows: (m,) item rows; text: (m, text_dim) or None; id_weights: (m,) from 0 to 1, or bool.
        """
        vectors = self.ids(rows) * id_weights[:, None]  # (m, dim)
        if text is not None and self.adapter is not None:
            vectors = vectors + self.adapter(text)  # (m, dim)
        return normalize(vectors.float(), dim=1)

    def texts(self, text: Tensor) -> Tensor:
        """(m, text_dim) to (m, dim) of norm 1 by the adapter alone; zero rows stay zero."""
        if self.adapter is None:
            return text.new_zeros((len(text), self.shape.dim))  # (m, dim)
        return normalize(self.adapter(text).float(), dim=1)

    def forward(self, entries: Tensor, event_types: Tensor, gaps: Tensor) -> Tensor:
        """What a shopper looks for after each entry: (b, l, dim) of norm 1.

        entries: (b, l, dim) item or text vectors; event_types, gaps: (b, l).
        """
        x = entries * math.sqrt(self.shape.dim)  # (b, l, dim), entries of size 1 as in a normalised layer
        x = x + self.event_types(event_types) + self.gaps(gaps)  # (b, l, dim)
        x = self.input_dropout(x)  # (b, l, dim)
        for block in self.blocks:
            x = block(x)  # (b, l, dim)
        return normalize(self.output_norm(x).float(), dim=2)
