"""Which samples make a batch: a function of the seed and of the batch's number alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Batches:
    """Batches of a run from number `first` to `last`, for one of `ranks` processes: lists of (epoch, index).

    Each time through the data is shuffled anew and cut into batches for all processes, the last one short. sizes: what
    samples are sorted by among `pool` batches, so that those of a batch are alike.
    """

    def __init__(
        self,
        sizes: NDArray[np.int64],
        batch: int,
        seed: int,
        *,
        pool: int = 1,
        first: int = 0,
        last: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._sizes, self._seed, self._pool = sizes, seed, pool
        self._batch, self._rank, self._ranks = batch, rank, ranks
        self.first, self.last = first, last
        self.in_epoch = batches_in_epoch(len(sizes), batch, ranks)
        self._of_epoch = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number in range(self.first, self.last):
            epoch, place = divmod(number, self.in_epoch)
            own = self._of_epoch(epoch)[place][self._rank :: self._ranks]
            yield [(epoch, int(index)) for index in own]

    def _shuffled(self, epoch: int) -> list[NDArray[np.int64]]:
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._sizes))
        size = self._batch * self._ranks
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), size * self._pool):
            pool = order[start : start + size * self._pool]
            if self._pool > 1:
                pool = pool[np.argsort(self._sizes[pool], kind="stable")]
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        if self._pool > 1:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return [_filled(b, self._ranks) for b in batches]


def batches_in_epoch(samples: int, batch: int, ranks: int) -> int:
    """How many batches one time through the data gives."""
    return -(-samples // (batch * ranks))


def _filled(batch: NDArray[np.int64], ranks: int) -> NDArray[np.int64]:
    """A short batch so that every process has a sample: its own ones again."""
    return batch if len(batch) >= ranks else np.resize(batch, ranks)
