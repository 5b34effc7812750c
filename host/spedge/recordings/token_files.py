"""Tokens of whole recordings, a piece at a time, and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import Columns, concatenate
from spedge.recordings.npz import NpzArrays
from spedge.tokens.tokenizer import Tokenizer, Tokens


def tokenize_recording(recording: Iterable[NDArray[np.void]], tokenizer: Tokenizer) -> Iterator[Tokens]:
    """All tokens of a recording, or of chunks of one, in some pieces, whose memory does not grow with it.

    A voxel tokenizer gets whole bins, and with threshold 0 all of the recording at once.
    """
    pieces: Iterator[NDArray[np.void]] = iter(recording)
    if tokenizer.config.kind == "voxel":
        every = tokenizer.config.threshold == 0  # a pause between two pieces has tokens, too
        pieces = (
            iter([concatenate(list(recording))]) if every else _whole_bins(pieces, tokenizer.config.duration_us or 1)
        )
    for piece in pieces:
        yield tokenizer.push(piece)


def _whole_bins(chunks: Iterator[NDArray[np.void]], duration_us: int) -> Iterator[NDArray[np.void]]:
    waiting: list[NDArray[np.void]] = []  # the last bin so far
    for chunk in chunks:
        start = int(chunk["t"][-1]) // duration_us * duration_us
        cut = int(np.searchsorted(chunk["t"], np.uint64(start)))
        if cut:
            yield concatenate([*waiting, chunk[:cut]])
            waiting = []
        waiting.append(chunk[cut:])
    if waiting:
        yield concatenate(waiting)


class TokenWriter:
    """Writes an .npz file of x, y (patch column and row), t (µs), offsets, event_t, event_x, event_y, event_p.

    The events of token i begin at its offset and end at the next one. Memory does not grow with the file.
    """

    def __init__(self, path: Path) -> None:
        dtypes = {"x": "<u2", "y": "<u2", "t": "<u8", "offsets": "<i8"}
        self._file = NpzArrays(path, dtypes | {"event_t": "<u8", "event_x": "<u2", "event_y": "<u2", "event_p": "u1"})
        self._file.append("offsets", np.zeros(1, np.int64))
        self._events = 0

    def write(self, tokens: Tokens) -> None:
        """The tokens that follow."""
        for name in ("x", "y", "t"):
            self._file.append(name, getattr(tokens, name))
        self._file.append("offsets", tokens.offsets[1:] + self._events)
        for name in Columns._fields:
            self._file.append(f"event_{name}", tokens.events[name])
        self._events += len(tokens.events)

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.close({})
        else:
            self._file.discard()
