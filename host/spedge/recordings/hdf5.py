"""HDF5 recordings: read in a process of its own, written in this one.

libhdf5 and its filters trust what a file says: fuzzing makes them loop for ever, read beyond their memory and crash. So
the helper process (hdf5_process.py) opens the files; when it ends, that is an InputError here and nothing else is lost.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spedge.base.children import OWN_GROUP
from spedge.base.errors import InputError
from spedge.base.interrupts import held_back
from spedge.events.arrays import EVENT_DTYPE, Columns
from spedge.recordings.base import SeekingRecording, Writer
from spedge.recordings.hdf5_file import library
from spedge.recordings.hdf5_process import ERRORS, ITEM
from spedge.recordings.hdf5_sink import Sink
from spedge.recordings.layout import NOTHING, Said
from spedge.recordings.seek import Place
from spedge.recordings.triggers import TRIGGER_DTYPE

#: Processor time that opening the file, or one chunk, may take; some milliseconds do.
PATIENCE_S = 10.0
_ROWS = 1 << 16  # of a chunk in files that we write
_LAST_TIME = (1 << 63) - 1  # of the field t in these
_MOST_IDLE = 2
_GRACE_S = 0.05  # waited for the end of what is not wanted any more


class _Helper:
    """A process that reads HDF5 files, one after another. It ends when this end of its pipe is closed."""

    _idle: ClassVar[list[_Helper]] = []
    #: All that have not been ended. Without this a pipe could become garbage together with the generator that closes
    #: it, and be closed twice: by then it may be another's file.
    _alive: ClassVar[set[_Helper]] = set()

    def __init__(self) -> None:
        self._owner = os.getpid()
        self.pipe, theirs = Pipe()
        site = ["-S"] if sys.flags.no_site else []
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *site, "-m", "spedge.recordings.hdf5_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the C library's last words
                pass_fds=[theirs.fileno()],
                **OWN_GROUP,  # Ctrl-C is for this process; the helper sees its end
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._alive.add(self)

    @classmethod
    def take(cls) -> _Helper:
        while cls._idle:
            helper = cls._idle.pop()
            if helper._owner == os.getpid() and helper._process.poll() is None:
                return helper
        return cls()

    def at_end(self) -> bool:
        """Whether its last answer is there, for one who does not want the others."""
        try:
            return self.pipe.poll(_GRACE_S) and self.pipe.recv_bytes()[:1] != ITEM
        except (EOFError, OSError):
            return False

    def give_back(self) -> None:
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(self)
        else:
            self.end()

    def end(self) -> int:
        """Its exit status, once it has ended: at once, but for what it is computing."""
        self._alive.discard(self)
        self.pipe.close()
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@atexit.register
def _end_idle() -> None:
    for helper in _Helper._idle:
        if helper._owner == os.getpid():
            helper.end()


class Hdf5Recording(SeekingRecording):
    """An HDF5 file, see hdf5_file.Hdf5File, read by a helper process."""

    def __init__(self, path: Path, width: int | None = None, height: int | None = None, said: Said = NOTHING) -> None:
        self._question = {"path": str(path), "width": width, "height": height, "said": asdict(said)}
        (head,) = self._answers(path)
        about = json.loads(head)
        self.format = about["format"]
        super().__init__(path, about["width"], about["height"], about["size_from"])
        self.layout = about["layout"]

    def _chunks_from(self, place: Place, until: Place) -> Iterator[NDArray[np.void]]:
        """Places are numbers of events. The helper stops at `until` by itself, and can be used again."""
        begin, end = place[0] if place else 0, until[0] if until else None
        at = begin
        self._here = lambda: (at,)
        for data in self._answers(self.path, (begin, end)):
            events = np.frombuffer(bytearray(data), EVENT_DTYPE)
            at += len(events)
            yield events

    def triggers(self) -> NDArray[np.void]:
        (data,) = self._answers(self.path, triggers=True)
        return np.frombuffer(bytearray(data), TRIGGER_DTYPE)

    def _answers(
        self, path: Path, events: tuple[int, int | None] | None = None, triggers: bool = False
    ) -> Iterator[bytes]:
        """What the helper sends of this file: its head, the triggers, or chunks from an event to before another."""
        question = self._question | {
            "events": events,
            "triggers": triggers,
            "folder": str(Path.cwd()),
            "patience_s": PATIENCE_S,
        }
        helper, done, count = _Helper.take(), False, 0
        try:
            helper.pipe.send_bytes(json.dumps(question).encode())
            while True:
                answer = helper.pipe.recv_bytes()
                kind, data = answer[:1], answer[1:]
                done = kind != ITEM
                if kind in ERRORS:
                    raise ERRORS[kind](data.decode())
                if done:
                    return
                yield data
                count += 1
        except (EOFError, ConnectionError):
            raise InputError(f"{path}: {_ending(helper.end(), count)}") from None
        finally:
            if done or helper.at_end():
                helper.give_back()
            else:
                helper.end()


def _ending(status: int, count: int) -> str:
    where = f"chunk {count} of its events" if count else "its beginning"
    if status == -signal.SIGPROF:
        return f"damaged: the HDF5 library was not done with {where} after {PATIENCE_S:g} s"
    how = signal.Signals(-status).name if status < 0 else f"exit {status}"
    return f"damaged: the HDF5 library crashed at {where} ({how})"


class Hdf5Writer(Writer):
    """Writes /CD/events as Prophesee's software names it, gzip instead of ECF, and the attribute geometry.

    Triggers, where there are some, are in /EXT_TRIGGER/events.
    """

    keeps_triggers = True

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        h5py = library(path)
        self._sink = Sink(path)
        self._triggers: Any = None
        with held_back():
            self._begin(h5py)

    def _begin(self, h5py: Any) -> None:
        self._file = h5py.File(self._sink, "w")
        self._file.attrs["geometry"] = f"{self.width}x{self.height}"
        self._file.attrs["format"] = "EVENTS"
        self._events = self._file.create_dataset(
            "CD/events",
            shape=(0,),
            maxshape=(None,),
            chunks=(_ROWS,),
            dtype=[("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")],
            compression="gzip",
            compression_opts=4,
            shuffle=True,
        )

    def write(self, events: NDArray[np.void]) -> None:
        if len(events) and int(events["t"][-1]) > _LAST_TIME:
            raise InputError(f"t={events['t'][-1]} µs is more than HDF5 files hold: shift the times towards 0")
        rows = np.empty(len(events), self._events.dtype)
        for name in Columns._fields:
            rows[name] = events[name]
        with held_back():
            start = len(self._events)
            self._events.resize((start + len(rows),))
            self._events[start:] = rows
        self._sink.check()

    def add_triggers(self, triggers: NDArray[np.void]) -> None:
        if len(triggers) and int(triggers["t"].max()) > _LAST_TIME:
            raise InputError(f"t={triggers['t'].max()} µs is more than HDF5 files hold: shift the times towards 0")
        with held_back():
            if self._triggers is None:
                self._triggers = self._file.create_dataset(
                    "EXT_TRIGGER/events",
                    shape=(0,),
                    maxshape=(None,),
                    chunks=(1 << 10,),
                    dtype=[("p", "<i2"), ("t", "<i8"), ("id", "<i2")],
                    compression="gzip",
                )
            rows = np.empty(len(triggers), self._triggers.dtype)
            for name in rows.dtype.names or ():
                rows[name] = triggers[name]
            start = len(self._triggers)
            self._triggers.resize((start + len(rows),))
            self._triggers[start:] = rows
        self._sink.check()

    def close(self) -> None:
        self.discard()
        self._sink.check()

    def discard(self) -> None:
        with held_back():
            self._file.close()
        self._sink.close()
