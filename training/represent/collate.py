"""Windows of many samples, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spedge.model.window import Window

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.transformer import Classifier

_POOL = 8  # batches sorted by length together


@dataclass(frozen=True)
class Batch:
    """Windows one after another, without padding: volumes [sum of lengths, 2, B, P, P], positions [.., 3]."""

    volumes: Tensor
    positions: Tensor
    lengths: Tensor
    labels: Tensor


def batches(
    windows: Sequence[Window], labels: Sequence[int], size: int, random: np.random.Generator | None = None
) -> Iterator[Batch]:
    """All windows once, `size` at a time, shuffled when `random` is given. Lengths within a batch are similar, so
    that little is padded."""
    order = np.arange(len(windows)) if random is None else random.permutation(len(windows))
    lengths = np.array([len(w.positions) for w in windows])
    chunks: list[np.ndarray] = []
    for start in range(0, len(order), size * _POOL):
        pool = order[start : start + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        chunks += [pool[i : i + size] for i in range(0, len(pool), size)]
    if random is not None:
        random.shuffle(chunks)  # type: ignore[arg-type]
    for chunk in chunks:
        yield _batch([windows[i] for i in chunk], [labels[i] for i in chunk])


def _batch(windows: Sequence[Window], labels: Sequence[int]) -> Batch:
    import torch

    return Batch(
        torch.from_numpy(np.concatenate([w.volumes for w in windows])),
        torch.from_numpy(np.concatenate([w.positions for w in windows])),
        torch.tensor([len(w.positions) for w in windows]),
        torch.tensor(labels),
    )


def logits(model: Classifier, batch: Batch) -> Tensor:
    """Logits [N, classes] of a batch: embed every token once, then pad for the encoder."""
    import torch

    embedded = model.embedding(batch.volumes[None], batch.positions[None])[0]
    rows = int(batch.lengths.max())
    present = torch.arange(rows) < batch.lengths[:, None]
    tokens = embedded.new_zeros(len(batch.lengths), rows, embedded.shape[-1])
    tokens[present] = embedded
    scores: Tensor = model.encoder(tokens, batch.lengths)
    return scores
