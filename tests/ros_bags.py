"""Writes ROS bags of both kinds by the library rosbags, its own serialization, as recorders do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from tests.recording_files import Event

WIDTH, HEIGHT = 128, 96
UNIX = 1_504_645_177
EVENT = "uint16 x\nuint16 y\n{time} ts\nbool polarity\n"
ARRAY = "std_msgs/Header header\nuint32 height\nuint32 width\n{package}/Event[] events\n"
PACKET = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"
    "bool is_bigendian\nuint8[] events\n"
)


@cache
def types(ros: int) -> Any:
    """The messages of ROS 1 or 2, those of events among them."""
    store = get_typestore(Stores.ROS1_NOETIC if ros == 1 else Stores.ROS2_HUMBLE)
    time = "time" if ros == 1 else "builtin_interfaces/Time"
    for package in ("dvs_msgs", "prophesee_event_msgs"):
        store.register(get_types_from_msg(EVENT.format(time=time), f"{package}/msg/Event"))
        store.register(get_types_from_msg(ARRAY.format(package=package), f"{package}/msg/EventArray"))
    for name in ("event_camera_msgs/msg/EventPacket", "event_array_msgs/msg/EventArray"):
        store.register(get_types_from_msg(PACKET, name))
    return store


class Bag:
    """A bag being written, of ROS 1 or 2."""

    def __init__(self, path: Path, ros: int, **options: Any) -> None:
        self.ros, self.path = ros, path
        self.store = types(ros)
        if ros == 1:
            self.writer: Any = rosbag1.Writer(path)
            self.writer.chunk_threshold = 1 << 12
            if options:
                self.writer.set_compression(rosbag1.Writer.CompressionFormat[options["compression"].upper()])
        else:
            self.writer = rosbag2.Writer(path, version=9, **options)
        self.writer.open()
        self.topics: dict[str, Any] = {}
        self.time = UNIX * 10**9

    def add(self, topic: str, kind: str, **fields: Any) -> None:
        types = self.store.types
        if topic not in self.topics:
            self.topics[topic] = self.writer.add_connection(topic, kind, typestore=self.store)
        extra = {"seq": 7} if self.ros == 1 else {}
        header = types["std_msgs/msg/Header"](
            stamp=types["builtin_interfaces/msg/Time"](sec=UNIX, nanosec=5), frame_id="camera", **extra
        )
        message = types[kind](header=header, **({"height": HEIGHT, "width": WIDTH} | fields))
        serialize = self.store.serialize_ros1 if self.ros == 1 else self.store.serialize_cdr
        self.time += 1000
        self.writer.write(self.topics[topic], self.time, serialize(message, kind))

    def array(
        self, events: Sequence[Event], topic: str = "/dvs/events", package: str = "dvs_msgs", **said: int
    ) -> None:
        event, time = self.store.types[f"{package}/msg/Event"], self.store.types["builtin_interfaces/msg/Time"]
        found = [
            event(x=x, y=y, ts=time(sec=UNIX + t // 10**6, nanosec=t % 10**6 * 1000), polarity=bool(p))
            for t, x, y, p in events
        ]
        self.add(topic, f"{package}/msg/EventArray", events=found, **said)

    def packet(self, data: bytes, encoding: str, number: int, **said: Any) -> None:
        fields: dict[str, Any] = {
            "time_base": 0,
            "is_bigendian": False,
            "kind": "event_camera_msgs/msg/EventPacket",
        } | said
        kind = fields.pop("kind")
        self.add(
            "/event_camera/events", kind, seq=number, encoding=encoding, events=np.frombuffer(data, np.uint8), **fields
        )

    def other(self) -> None:
        self.add_string("/about")

    def add_string(self, topic: str) -> None:
        kind = "std_msgs/msg/String"
        self.topics.setdefault(topic, self.writer.add_connection(topic, kind, typestore=self.store))
        serialize = self.store.serialize_ros1 if self.ros == 1 else self.store.serialize_cdr
        self.writer.write(self.topics[topic], self.time, serialize(self.store.types[kind](data="hello"), kind))

    def close(self) -> Path:
        self.writer.close()
        return self.path


KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "ROS 1": (1, {}),
    "ROS 1, bz2": (1, {"compression": "bz2"}),
    "ROS 1, lz4": (1, {"compression": "lz4"}),
    "ROS 2, sqlite": (2, {"storage_plugin": rosbag2.StoragePlugin.SQLITE3}),
    "ROS 2, mcap": (2, {"storage_plugin": rosbag2.StoragePlugin.MCAP}),
}
