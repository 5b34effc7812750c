"""Writing .npz files: the arrays t, x, y and p, and width and height. Read by arrays.py."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import EVENT_DTYPE
from spedge.recordings.base import Writer
from spedge.recordings.triggers import TRIGGER_DTYPE, no_triggers

_COLUMNS = ("t", "x", "y", "p")


def _spool(path: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=path.parent)


class NpzArrays:
    """An .npz file of one-dimensional arrays that grow. They wait in temporary files beside it."""

    def __init__(self, path: Path, dtypes: Mapping[str, str]) -> None:
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._counts = dict.fromkeys(dtypes, 0)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(path.open("wb"))
        self._spools = {name: self._stack.enter_context(_spool(path)) for name in dtypes}

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Entries of an array that follow."""
        self._counts[name] += len(values)
        self._spools[name].write(np.ascontiguousarray(values, self._dtypes[name]).tobytes())

    def close(self, scalars: Mapping[str, Any]) -> None:
        """Write all arrays, compressed, and these."""
        with self._stack, zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
            for name, spool in self._spools.items():
                header = {"descr": self._dtypes[name].str, "fortran_order": False, "shape": (self._counts[name],)}
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    spool.seek(0)
                    shutil.copyfileobj(spool, member, 1 << 20)
            for name, value in scalars.items():
                with file.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(value))

    def discard(self) -> None:
        """Let go of the file, unfinished."""
        self._stack.close()


class NpzWriter(Writer):
    """Writes t, x, y, p, width and height; of triggers, where there are some, trigger_t, trigger_id and trigger_p."""

    keeps_triggers = True

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._file = NpzArrays(path, {name: EVENT_DTYPE[name].str for name in _COLUMNS})
        self._triggers = [no_triggers()]

    def write(self, events: NDArray[np.void]) -> None:
        for name in _COLUMNS:
            self._file.append(name, events[name])

    def add_triggers(self, triggers: NDArray[np.void]) -> None:
        self._triggers.append(triggers)

    def close(self) -> None:
        triggers = np.concatenate(self._triggers)
        arrays = {f"trigger_{name}": triggers[name] for name in TRIGGER_DTYPE.names or ()} if len(triggers) else {}
        self._file.close(arrays | {"width": np.uint16(self.width), "height": np.uint16(self.height)})

    def discard(self) -> None:
        self._file.discard()
