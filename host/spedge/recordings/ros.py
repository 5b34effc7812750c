"""ROS bags, of ROS 1 (.bag) and ROS 2 (a folder, .mcap, .db3), read by the library rosbags; no ROS is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CutError, InputError, SpedgeError, UsageError, line_of
from spedge.recordings import layout, ros_cut, ros_messages
from spedge.recordings.base import Recording, choose_geometry, gathered
from spedge.recordings.layout import NOTHING, Said
from spedge.recordings.ros_messages import ARRAYS, PACKETS, Head


def is_bag(path: Path) -> bool:
    """Whether a folder is a bag of ROS 2."""
    return path.is_dir() and ((path / "metadata.yaml").is_file() or bool(ros_cut.storages(path)))


class _Bag:
    """A bag's messages. topics: their types by name. problem: why only what is before damage can be read, or None."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.ros2 = path.suffix.lower() != ".bag"
        self.problem: str | None = None
        try:
            with self._opened() as reader:
                self.topics = {connection.topic: connection.msgtype for connection in reader.connections}
        except SpedgeError:
            raise
        except Exception as error:  # the library trusts what a bag says, and fails in any way
            self.problem = line_of(error)
            self.topics = {record.topic: record.kind for record in ros_cut.records(path)}
            if not self.topics:
                where = f"no message before its end at byte {_size(path)}"
                raise InputError(f"{path}: not a ROS bag, or cut off or damaged: {where} ({self.problem})") from None

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            from rosbags import rosbag1, rosbag2
        except ImportError:
            raise UsageError(f"{self._path}: ROS bags need the library rosbags: pip install 'spedge[ros]'") from None
        with (rosbag2 if self.ros2 else rosbag1).Reader(self._path) as reader:
            yield reader

    def messages(self, topic: str) -> Iterator[bytes]:
        """The messages of a topic; where the bag is cut or damaged an InputError behind those before that."""
        if self.problem is not None:
            yield from self._present(topic)
            where = f"at byte {_size(self._path)}"
            raise CutError(f"{self._path}: cut off, or not finished when it was recorded, {where} ({self.problem})")
        count, last = 0, b""
        try:
            with self._opened() as reader:
                chosen = [connection for connection in reader.connections if connection.topic == topic]
                for _, _, data in reader.messages(chosen):
                    last = bytes(data)
                    yield last
                    count += 1
        except (SpedgeError, GeneratorExit):
            raise
        except Exception as error:
            for data in self._more(topic, count, last):
                yield data
                count += 1
            kind = CutError if ros_cut.is_cut(self._path) else InputError
            raise kind(f"{self._path}: cannot read message {count} of {topic} ({line_of(error)})") from None

    def _present(self, topic: str) -> Iterator[bytes]:
        """Messages in the order of the file, up to damage."""
        return (record.data for record in ros_cut.records(self._path) if record.data and record.topic == topic)

    def _more(self, topic: str, count: int, last: bytes) -> Iterator[bytes]:
        """Messages behind the last of so many that the library has read, if it has read them in the file's order."""
        present = self._present(topic)
        if count == 0 or next(islice(present, count - 1, None), None) == last:
            yield from present


class RosRecording(Recording):
    """The events of one topic: messages of ros_messages.ARRAYS or PACKETS.

    Events outside the sensor are dropped where the packets are EVT3, as its makers do, and refused elsewhere.
    left_out: of EVT words as in raw.py; `invalid`, marked so by libcaer; `lost packets`, whose numbers are missing.
    """

    def __init__(self, path: Path, width: int | None = None, height: int | None = None, said: Said = NOTHING) -> None:
        said.refuse(path, "columns", "time_unit")
        self.path = path
        self._bag = _Bag(path)
        topics = [topic for topic, kind in self._bag.topics.items() if kind in ARRAYS + PACKETS]
        if not topics:
            have = ", ".join(f"{topic} ({kind})" for topic, kind in list(self._bag.topics.items())[:8]) or "none"
            raise InputError(f"{path}: no topic is of {', '.join(ARRAYS + PACKETS)}; there are {have}")
        self._topic = layout.one_of(path, topics, said)
        self._kind = self._bag.topics[self._topic]
        first = next((head for head, _ in self._messages()), None)
        self._size = (first.width, first.height) if first else (0, 0)
        self._encoding = first.encoding if first else None
        if self._encoding is not None:
            try:
                ros_messages.encoding_of(self._encoding)
            except InputError as error:
                raise InputError(f"{path}: {self._topic}: {error}") from None
        self.format = f"ROS {2 if self._bag.ros2 else 1} {self._kind.replace('/msg', '')}"
        found = self._size if 0 not in self._size else (None, None)
        super().__init__(path, *choose_geometry(path, found, width, height))
        self.layout = f"topic {self._topic}" + (f", packets of {self._encoding}" if self._encoding else "")
        if self._encoding == "evt3":
            self.outside = "drop"

    def _messages(self) -> Iterator[tuple[Head, NDArray[Any]]]:
        for number, data in enumerate(self._bag.messages(self._topic)):
            try:
                yield ros_messages.read(data, self._kind, self._bag.ros2)
            except ValueError as error:
                raise InputError(self._where(number, str(error))) from None

    def _where(self, number: int, what: str) -> str:
        return f"{self.path}: message {number} of {self._topic}: {what}"

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        return gathered(self._events())

    def _events(self) -> Iterator[NDArray[np.void]]:
        events = ros_messages.Events(self._encoding)
        for number, (head, body) in enumerate(self._messages()):
            if (head.width, head.height) != self._size or head.encoding != self._encoding:
                what = f"it is of {head.width}x{head.height} pixels{f' in {head.encoding}' if head.encoding else ''}"
                raise InputError(self._where(number, f"{what}, unlike those before it"))
            try:
                found = events.of(head, body)
            except ValueError as error:
                raise InputError(self._where(number, str(error))) from None
            self.left_out = {name: count for name, count in (self.left_out | events.left_out).items() if count}
            yield found


def _size(path: Path) -> int:
    """Of a bag, or of the last of its files."""
    return [path, *ros_cut.storages(path)][-1].stat().st_size
