"""CSV files: a line that names the columns t, x, y and p, then one event a line. Read by text.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import Columns
from spedge.recordings.base import CHUNK_EVENTS, Writer


class CsvWriter(Writer):
    """Writes `%geometry:WIDTH,HEIGHT`, `t,x,y,p` and a line an event."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._file = path.open("w", encoding="ascii", newline="\n")
        self._file.write(f"%geometry:{width},{height}\nt,x,y,p\n")

    def write(self, events: NDArray[np.void]) -> None:
        for start in range(0, len(events), CHUNK_EVENTS):
            part = events[start : start + CHUNK_EVENTS]
            rows = zip(*(part[name].tolist() for name in Columns._fields), strict=True)
            self._file.writelines(f"{t},{x},{y},{p}\n" for t, x, y, p in rows)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
