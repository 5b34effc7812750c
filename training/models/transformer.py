"""The transformer classifier on tokens (arXiv 2510.26614): token embedding, position embedding, encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spedge.model.parts import Embedding, TokenInput, Transformer

from .inputs import CellLinear, Cells, TokenBatch

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
        parts: list[Tensor] = []
        for i, (axis, size) in enumerate(zip("xyt", self.sizes, strict=True)):
            frequencies: Tensor = getattr(self, f"{axis}_turns")
            turns = positions[..., i : i + 1] * frequencies
            angles = (turns - torch.floor(turns + 0.5)).float() * (2 * math.pi)
            parts.append(torch.sin(angles))
            parts.append(torch.cos(angles[..., : size // 2]))
        embedded: Tensor = torch.cat(parts, dim=-1)
        return embedded


class TokenEmbedding(nn.Module):
    """Linear map of log(1 + count) of a token's log-time volume, plus the position embedding."""

    def __init__(self, cells: int, config: Embedding) -> None:
        super().__init__()
        self.linear = CellLinear(cells, config.hidden)
        self.position = PositionEmbedding(config.hidden)

    def forward(self, volumes: Tensor, positions: Tensor) -> Tensor:
        """volumes [N, T, 2, B, P, P] counts and positions [N, T, 3] to [N, T, hidden]."""
        embedded: Tensor = self.linear(volumes) + self.position(positions)
        return embedded

    def of_cells(self, cells: Cells, positions: Tensor) -> Tensor:
        """The same for tokens given by their cells: positions [n, 3] to [n, hidden]."""
        embedded: Tensor = self.linear.of_cells(cells) + self.position(positions)
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
        return x + self._drop(self.mlp_out(self._drop(F.gelu(self.mlp_in(self.mlp_norm(x))))))

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, rows, hidden = x.shape
        size = hidden // self.heads
        query, key, value = (
            part.view(batch, rows, self.heads, size).transpose(1, 2)
            for part in self.query_key_value(x).split(hidden, dim=-1)
        )
        scores = torch.matmul(query * size**-0.5, key.transpose(2, 3)) + mask
        mixed = torch.matmul(self._drop(torch.softmax(scores, dim=-1)), value)
        return mixed.transpose(1, 2).reshape(batch, rows, hidden)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Rows(nn.Module):
    """Embedded tokens to encoded ones. attention "full": CLS in front, all tokens of a sample attend to each other;
    "causal": a token attends to itself and those before it, without a CLS."""

    def __init__(self, config: Transformer, dropout: float = 0.0) -> None:
        super().__init__()
        self.causal = config.attention == "causal"
        if not self.causal:
            self.cls = nn.Parameter(torch.empty(1, 1, config.hidden))
        self.layers = nn.ModuleList(Layer(config, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden, eps=NORM_EPS)

    def rows(self, tokens: Tensor, length: Tensor) -> Tensor:
        """tokens [N, T, hidden], length int [N]; rows at and past length are ignored. Returns what the layers give,
        before the LayerNorm: [N, 1 + T, hidden], CLS first; [N, T, hidden] of causal attention."""
        batch, rows, _ = tokens.shape
        if self.causal:  # padding comes after the tokens, so none of them sees it
            index = torch.arange(rows, dtype=length.dtype, device=length.device)
            later = index.unsqueeze(0) > index.unsqueeze(1)
            mask = torch.where(later, MASKED, 0.0).to(tokens.dtype)[None, None]
            x = tokens
        else:
            index = torch.arange(rows + 1, dtype=length.dtype, device=length.device)  # row 0 is CLS, i + 1 is token i
            padding = index.unsqueeze(0) > length.unsqueeze(1)
            mask = torch.where(padding, MASKED, 0.0).to(tokens.dtype)[:, None, None, :]
            x = torch.cat((self.cls.expand(batch, -1, -1), tokens), dim=1)
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def packed(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Tokens of samples of any lengths, sample after sample, [n, hidden], to their LayerNorms in that order."""
        if len(embedded) == 0:
            return embedded
        tokens, present = padded(embedded, lengths)
        encoded: Tensor = self.norm(self.rows(tokens, lengths)[:, 0 if self.causal else 1 :][present])
        return encoded


def padded(embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [n, hidden], sample after sample, as [N, T, hidden], and which of these rows they are, bool [N, T]."""
    present = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    tokens = embedded.new_zeros(*present.shape, embedded.shape[-1])
    tokens[present] = embedded
    return tokens, present


class Encoder(Rows):
    """Embedded tokens to logits.

    attention "full": LayerNorm of the CLS row, one linear map. "causal": the mean over all present rows of a linear map
    and GELU of their LayerNorms, `intermediate` wide, takes CLS's place: each token's contribution is final once it is
    computed, and a token that has seen little can contribute nothing, which a mean of LayerNorms does not let it.
    """

    def __init__(self, config: Transformer, classes: int, dropout: float = 0.0) -> None:
        super().__init__(config, dropout)
        if self.causal:
            self.contribution = nn.Linear(config.hidden, config.intermediate)
        self.head = nn.Linear(config.intermediate if self.causal else config.hidden, classes)

    def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
        """tokens [N, T, hidden], length int [N]; rows at and past length are ignored. Returns [N, classes]."""
        x = self.rows(tokens, length)
        seen = self._mean(F.gelu(self.contribution(self.norm(x))), length) if self.causal else self.norm(x[:, 0])
        logits: Tensor = self.head(seen)
        return logits

    @staticmethod
    def _mean(x: Tensor, length: Tensor) -> Tensor:
        """Of the present rows; padding has to be left out."""
        index = torch.arange(x.shape[1], dtype=length.dtype, device=length.device)
        count = length.unsqueeze(1)
        share = 1.0 / count.clamp(min=1).to(x.dtype)
        shares = torch.where(index.unsqueeze(0) < count, share, 0.0).unsqueeze(1)
        return torch.matmul(shares, x).squeeze(1)


class Classifier(nn.Module):
    """Volumes and positions to logits."""

    def __init__(self, classes: int, seen: TokenInput, model: Transformer, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(seen.cells, seen.embedding)
        self.encoder = Encoder(model, classes, dropout)
        start_of(self)

    def forward(self, volumes: Tensor, positions: Tensor, length: Tensor) -> Tensor:
        """volumes [N, T, 2, B, P, P], positions [N, T, 3], length int [N] to logits [N, classes]."""
        logits: Tensor = self.encoder(self.embedding(volumes, positions), length)
        return logits

    def of_batch(self, batch: TokenBatch) -> Tensor:
        """Logits [N, classes] of samples of any lengths: every token is embedded once, padded for the encoder."""
        embedded = self.embedding.of_cells(batch.cells, batch.positions)
        tokens, _ = padded(embedded, batch.lengths)
        logits: Tensor = self.encoder(tokens, batch.lengths)
        return logits


def start_of(model: nn.Module) -> None:
    """The paper's random start (experiments.md, on reference.md 5)."""
    model.apply(_initialise)
    for module in model.modules():
        if isinstance(module, Rows) and not module.causal:
            nn.init.normal_(module.cls, std=INIT_STD)


def _initialise(module: nn.Module) -> None:
    """Normal for linear maps, but for the embedding's and that of queries, keys and values (experiments.md)."""
    if isinstance(module, Layer):
        nn.init.xavier_uniform_(module.query_key_value.weight)
    elif isinstance(module, nn.Linear) and not isinstance(module, CellLinear):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and not isinstance(module, CellLinear):
        nn.init.zeros_(module.bias)
