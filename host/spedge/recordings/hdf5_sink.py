"""Where HDF5 files are written to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class Sink(io.FileIO):
    """The file that HDF5 writes to. Where writing fails HDF5 ends the process later on, so it is not told."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self._problem: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        at = 0
        try:
            while at < len(view) and self._problem is None:
                at += super().write(view[at:]) or 0
        except OSError as error:
            self._problem = error
        self.seek(len(view) - at, io.SEEK_CUR)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._problem = self._problem or error
            return size or 0

    def check(self) -> None:
        """Raise what went wrong."""
        if self._problem is not None:
            raise self._problem
