"""The transformer classifier on tokens (arXiv 2510.26614): token embedding, position embedding, encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spedge.model.parts import Embedding, TokenInput, Transformer

INIT_STD = 0.02
NORM_EPS = 1e-12
POSITION_BASE = 10_000.0
MASKED = -1e9  # added to the scores of padding: exp of it is exactly 0 in float32


def position_frequencies(size: int) -> Tensor:
    """Frequencies of one coordinate: 10000^(2 * floor(i / 2) / size) for dimension i. float64 [size]."""
    i = torch.arange(size, dtype=torch.float64)
    return torch.as_tensor(POSITION_BASE, dtype=torch.float64) ** (2 * torch.floor(i / 2) / size)


class PositionEmbedding(nn.Module):
    """Sines of the even and cosines of the odd dimensions of column, row and time.

    hidden is split into hidden // 3 features for x, as many for y, and the rest for t. Whole turns of an angle are
    taken off in float64, before it is rounded to float32: after a pause of minutes an angle is of 1e5 rad, and the
    sine of its float32 would be that of another one (and on each machine of another).
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        third = hidden // 3
        self.sizes = (third, third, third + hidden % 3)
        for axis, size in zip("xyt", self.sizes, strict=True):
            turns = 1 / (2 * math.pi * position_frequencies(size)[0::2])
            self.register_buffer(f"{axis}_turns", turns, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """positions float64 [N, T, 3] (column, row, scaled time) to float32 [N, T, hidden]."""
        parts = []
        for i, (axis, size) in enumerate(zip("xyt", self.sizes, strict=True)):
            turns = positions[..., i : i + 1] * getattr(self, f"{axis}_turns")
            angles = (turns - torch.floor(turns + 0.5)).float() * (2 * math.pi)
            parts.append(torch.sin(angles))
            parts.append(torch.cos(angles[..., : size // 2]))
        return torch.cat(parts, dim=-1)


class TokenEmbedding(nn.Module):
    """Linear map of log(1 + count) of a token's log-time volume, plus the position embedding."""

    def __init__(self, cells: int, config: Embedding) -> None:
        super().__init__()
        self.linear = nn.Linear(cells, config.hidden)
        self.position = PositionEmbedding(config.hidden)

    def forward(self, volumes: Tensor, positions: Tensor) -> Tensor:
        """volumes [N, T, 2, B, P, P] counts and positions [N, T, 3] to [N, T, hidden]."""
        embedded: Tensor = self.linear(torch.log1p(volumes.flatten(2))) + self.position(positions)
        return embedded


class Layer(nn.Module):
    """Pre-norm encoder layer: self-attention and a two-layer perceptron, each with a residual."""

    def __init__(self, config: Transformer, dropout: float) -> None:
        super().__init__()
        hidden = config.hidden
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(hidden, eps=NORM_EPS)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.projection = nn.Linear(hidden, hidden)
        self.mlp_norm = nn.LayerNorm(hidden, eps=NORM_EPS)
        self.mlp_in = nn.Linear(hidden, config.intermediate)
        self.mlp_out = nn.Linear(config.intermediate, hidden)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [N, S, hidden], mask [N or 1, 1, 1 or S, S] added to the scores."""
        x = x + self._drop(self.projection(self._attention(self.attention_norm(x), mask)))
        return x + self._drop(self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x)))))

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, rows, hidden = x.shape
        size = hidden // self.heads
        query, key, value = (
            part.view(batch, rows, self.heads, size).transpose(1, 2)
            for part in self.query_key_value(x).split(hidden, dim=-1)
        )
        scores = torch.matmul(query * size**-0.5, key.transpose(2, 3)) + mask
        mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
        return mixed.transpose(1, 2).reshape(batch, rows, hidden)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Encoder(nn.Module):
    """Embedded tokens to logits.

    attention "full": CLS in front, layers, LayerNorm of the CLS row, one linear map. "causal": a token attends to
    itself and those before it, and the mean of the LayerNorms of all present rows takes CLS's place, so that each
    token's contribution is final once it is computed.
    """

    def __init__(self, config: Transformer, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.causal = config.attention == "causal"
        if not self.causal:
            self.cls = nn.Parameter(torch.empty(1, 1, config.hidden))
        self.layers = nn.ModuleList(Layer(config, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden, eps=NORM_EPS)
        self.head = nn.Linear(config.hidden, classes)

    def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
        """tokens [N, T, hidden], length int [N]; rows at and past length are ignored. Returns [N, classes]."""
        if self.causal:
            return self._causal(tokens, length)
        batch, rows, _ = tokens.shape
        index = torch.arange(rows + 1, dtype=length.dtype)  # row 0 is CLS, row i + 1 is token i
        padding = index.unsqueeze(0) > length.unsqueeze(1)
        mask = torch.where(padding, MASKED, 0.0).to(tokens.dtype)[:, None, None, :]
        x = torch.cat((self.cls.expand(batch, -1, -1), tokens), dim=1)
        for layer in self.layers:
            x = layer(x, mask)
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits

    def _causal(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Padding comes after the tokens, so none of them sees it; only the mean has to leave it out."""
        index = torch.arange(tokens.shape[1], dtype=length.dtype)
        later = index.unsqueeze(0) > index.unsqueeze(1)
        mask = torch.where(later, MASKED, 0.0).to(tokens.dtype)[None, None]
        x = tokens
        for layer in self.layers:
            x = layer(x, mask)
        count = length.unsqueeze(1)
        share = 1.0 / count.clamp(min=1).to(tokens.dtype)
        shares = torch.where(index.unsqueeze(0) < count, share, 0.0).unsqueeze(1)
        logits: Tensor = self.head(torch.matmul(shares, self.norm(x)).squeeze(1))
        return logits


class Classifier(nn.Module):
    """Volumes and positions to logits."""

    def __init__(self, classes: int, seen: TokenInput, model: Transformer, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(seen.cells, seen.embedding)
        self.encoder = Encoder(model, classes, dropout)
        self.apply(_initialise)
        if not self.encoder.causal:
            nn.init.normal_(self.encoder.cls, std=INIT_STD)

    def forward(self, volumes: Tensor, positions: Tensor, length: Tensor) -> Tensor:
        """volumes [N, T, 2, B, P, P], positions [N, T, 3], length int [N] to logits [N, classes]."""
        logits: Tensor = self.encoder(self.embedding(volumes, positions), length)
        return logits


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)
