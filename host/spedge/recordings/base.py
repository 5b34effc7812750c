"""What every recording offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.errors import InputError
from spedge.events import check_events, columns, empty_events

#: Events handed out at once when a recording is iterated, about.
CHUNK_EVENTS = 1 << 18


class Recording(ABC):
    """A file of events. Iterating gives chunks (EVENT_DTYPE arrays) without holding the file in memory.

    width, height: the sensor, pixels. format: the encoding's name. path: the file.
    Every event handed out is sorted by time and inside the sensor; an InputError names the file and the first that
    is not.
    """

    format: str

    def __init__(self, path: Path, width: int, height: int) -> None:
        self.path = path
        self.width = width
        self.height = height

    @abstractmethod
    def _chunks(self) -> Iterator[NDArray[np.void]]:
        """Chunks as they stand in the file, from its start."""

    def __iter__(self) -> Iterator[NDArray[np.void]]:
        """Chunks in file order; times in µs of the sensor's clock. Can be iterated again."""
        last_t, start = 0, 0
        for chunk in self._chunks():
            if len(chunk) == 0:
                continue
            self._check(chunk, last_t, start)
            last_t, start = int(chunk["t"][-1]), start + len(chunk)
            yield chunk

    def events(self) -> NDArray[np.void]:
        """All events (EVENT_DTYPE), times in µs of the sensor's clock."""
        chunks = list(self)
        if not chunks:
            return empty_events()
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)

    def _check(self, chunk: NDArray[np.void], last_t: int, start: int) -> None:
        try:
            check_events(columns(chunk), self.width, self.height, last_t, start)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def __repr__(self) -> str:
        return f"<{self.format} recording {self.path}, {self.width}x{self.height}>"
