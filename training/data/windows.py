"""Which chunks of detection's recordings are a sample, and in what order: experiments.md B.

Chunks are numbered on a recording's grid of time, those without events among them (`chunks.ChunkedRecording`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

SEQUENCE = 10  #: most chunks of a sample; each is a step of the model


@dataclass(frozen=True)
class Piece:
    """Chunks first to last - 1 of a recording. slot: whose state goes on; reset: whether it begins anew before them."""

    recording: int
    first: int
    last: int
    slot: int = 0
    reset: bool = True


def random_windows(labelled: Sequence[Sequence[int]]) -> list[Piece]:
    """One for each labelled chunk: with those before it, of which a recording's first chunks have fewer.

    labelled: of each recording its chunks with labels, ascending.
    """
    return [
        Piece(recording, max(0, chunk + 1 - SEQUENCE), chunk + 1)
        for recording, chunks in enumerate(labelled)
        for chunk in chunks
    ]


def labelled_ranges(chunks: Sequence[int]) -> list[tuple[int, int]]:
    """First chunk, and that after the last, of the ranges that training streams: parted where no chunk has a label for
    longer than a sample. chunks: of one recording, those with labels, ascending."""
    if not chunks:
        return []
    parts = [i + 1 for i, (before, after) in enumerate(pairwise(chunks)) if after - before > SEQUENCE]
    starts, ends = [0, *parts], [*parts, len(chunks)]
    return [(max(0, chunks[a] + 1 - SEQUENCE), chunks[b - 1] + 1) for a, b in zip(starts, ends, strict=True)]


def streamed(ranges: Iterable[tuple[int, Sequence[tuple[int, int]]]], slots: int) -> Iterator[Piece]:
    """Pieces of ranges, slot by slot and round again. A slot walks one recording, then takes the next that none has
    taken; it falls away when there is none.

    ranges: recordings in the order in which they are taken, each by its number and ranges; those without are skipped.
    No round gives a slot twice, so that states are never mixed (the authors' do at the end of an epoch).
    """
    waiting = (_walk(recording, own) for recording, own in ranges if own)
    walks: dict[int, Iterator[Piece]] = {}
    for slot in range(slots):
        if (walk := next(waiting, None)) is not None:
            walks[slot] = walk
    while walks:
        for slot in tuple(walks):
            piece = next(walks[slot], None)
            if piece is None:
                walk = next(waiting, None)
                if walk is None:
                    del walks[slot]
                    continue
                walks[slot] = walk
                piece = next(walk)
            yield Piece(piece.recording, piece.first, piece.last, slot, piece.reset)


def _walk(recording: int, ranges: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    for first, last in ranges:
        for start in range(first, last, SEQUENCE):
            yield Piece(recording, start, min(start + SEQUENCE, last), reset=start == first)
