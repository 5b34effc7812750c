"""An OpenMV camera on a pseudo-terminal: its protocol, a sensor that is told what to see, and our program run as it is.

It is called a fake: the program is run by this Python, with modules that play MicroPython's.
"""

from __future__ import annotations

import builtins
import os
import random
import struct
import threading
import time
import tty
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.sources.openmv_link import ACK, EVENT, FIRST_PAYLOAD, FRAGMENT, NAK, Packet, PacketReader

SIDE = 320
_BUILT_IN = {"stdin": 1, "stdout": 2, "stream": 3}
_OWN = 4  # the number of a channel that a program registers


def rows_of(first: int, n: int, clock_us: int, step_us: int = 7) -> NDArray[np.uint16]:
    """What a sensor gives of events first, first + 1, …: a number is an event's place and polarity."""
    numbers = np.arange(first, first + n)
    t = clock_us + np.arange(n) * step_us
    columns = [numbers // SIDE**2 % 2, t // 10**6, t // 1000 % 1000, t % 1000, numbers % SIDE, numbers // SIDE % SIDE]
    return np.stack(columns, axis=1).astype(np.uint16)


def numbers_of(events: NDArray[np.void]) -> NDArray[np.int64]:
    """The numbers of events again."""
    return events["x"].astype(np.int64) + events["y"].astype(np.int64) * SIDE + events["p"].astype(np.int64) * SIDE**2


@dataclass
class FakeOpenMv:
    """drop: chance of a packet to be lost, either way. empty: chance that a block is said to be there when none
    is. pace: seconds between two reads of the sensor. most: events at once. no_sensor: the program fails."""

    count: int = 20_000
    drop: float = 0.0
    empty: float = 0.0
    pace: float = 0.001
    most: int = 2048
    reset_at: int | None = None  # once so many events were given
    no_sensor: bool = False
    patient: bool = False  #: the sensor sees nothing while a block waits
    begin_us: int = 0
    seed: int = 0
    given: int = 0  #: events that the sensor gave
    dropped_packets: int = 0
    given_at_reset: int = 0
    boots: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path, self._slave = os.ttyname(slave), slave
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._program: threading.Thread | None = None
        self._boot()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> FakeOpenMv:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._stop()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    # ---- the camera -------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self.boots += 1
        self._reader = PacketReader()
        self._seq, self._most, self._clock = 0, FIRST_PAYLOAD, self.begin_us
        self._channel: Any = None
        self._scope: dict[str, Any] = {}
        self._text, self._printed = b"", b""
        self._running = threading.Event()
        self._deaf_until = time.monotonic() + (0.05 if self.boots > 1 else 0.0)

    def _stop(self) -> None:
        self._running.clear()
        if self._program:
            self._program.join()
        self._program, self._channel = None, None

    def _execute(self) -> None:
        self._running.set()
        self._program = threading.Thread(target=self._run, args=(self._text.decode(), self._running))
        self._program.start()

    def _run(self, text: str, running: threading.Event) -> None:
        modules = {
            "csi": types.SimpleNamespace(
                CSI=lambda cid: types.SimpleNamespace(reset=lambda: None, ioctl=self._ioctl(running)),
                GENX320=320, IOCTL_GENX320_SET_MODE="mode", GENX320_MODE_EVENT=1, IOCTL_GENX320_READ_EVENTS="read",
            ),
            "protocol": types.SimpleNamespace(register=self._register),
            "ulab": types.SimpleNamespace(numpy=np),
            "struct": struct,
        }  # fmt: skip
        scope = self._scope = {"__builtins__": {**vars(builtins), "__import__": lambda name, *_: modules[name]}}
        try:
            exec(text, scope)
        except SystemExit:
            pass
        except Exception as error:
            self._printed = f"Traceback\n{type(error).__name__}: {error}\n".encode()

    def _register(self, name: str, backend: Any) -> None:
        with self._lock:
            self._channel = (name, backend)
            self._send(Packet(self._seq, 0, EVENT, 0x13, b"\0\0"))

    def _ioctl(self, running: threading.Event) -> Callable[..., int]:
        def ioctl(what: object, *arguments: Any) -> int:
            if what != "read":
                if self.no_sensor:
                    raise RuntimeError("Failed to detect the image sensor")
                return 0
            time.sleep(self.pace)
            if not running.is_set():
                raise SystemExit
            return self._see(arguments[0])

        return ioctl

    def _see(self, rows: NDArray[np.uint16]) -> int:
        """What a read of the sensor gives: some events, none, or an error; at last some when nothing waits any more, so
        that there is a block that tells what was dropped before."""
        if self.patient and self._scope["blocks"]:
            return 0
        if self._random.random() < 0.1:
            return self._random.choice((0, -1))
        if self.reset_at is not None and self.given >= self.reset_at:
            return 0
        n = min(self._random.randrange(1, self.most), self.count - 10 - self.given)
        if n <= 0:
            n = 10 if not self._scope["blocks"] and self.given < self.count else 0
            if not n and not self._scope["blocks"]:
                self.done.set()
        rows[:n] = rows_of(self.given, n, self._clock)
        self.given += n
        self._clock += 7 * n
        return n

    def _reset(self, asked: Packet) -> None:
        """As by its button, in the middle of a reply."""
        self.reset_at, self.given_at_reset = None, self.given
        self._stop()
        reply = Packet(self._seq, asked.channel, 0, asked.opcode, bytes(200)).encode()
        os.write(self._master, reply[: len(reply) // 2])
        self._boot()

    # ---- its protocol -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        os.set_blocking(self._master, False)
        while not self._ended.wait(0.0005):
            try:
                data = os.read(self._master, 1 << 16)
            except (BlockingIOError, OSError):
                continue
            if time.monotonic() < self._deaf_until:
                continue
            for packet in self._reader.feed(data):
                if self._lost():
                    continue
                if self.reset_at is not None and self.given >= self.reset_at and packet.opcode == 0x26:
                    self._reset(packet)
                    break
                with self._lock:
                    self._answer(packet)

    def _lost(self) -> bool:
        lost = self._random.random() < self.drop
        self.dropped_packets += lost
        return lost

    def _send(self, packet: Packet) -> None:
        data = packet.encode()
        while data and not self._lost_at_once(packet):
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                time.sleep(0.001)
                if self._ended.is_set():
                    return

    def _lost_at_once(self, packet: Packet) -> bool:
        return not packet.flags & EVENT and self._lost()

    def _answer(self, asked: Packet) -> None:
        if asked.opcode == 0x00:
            self._seq, self._most = 0, FIRST_PAYLOAD
            self._send(Packet(0, 0, ACK, 0x00))
            return
        if asked.seq != self._seq:
            self._reply(asked, b"\6\0", NAK)
            return
        payload = self._do(asked)
        if payload is None:
            self._reply(asked, b"\2\0", NAK)
            return
        pieces = [payload[i : i + self._most] for i in range(0, len(payload), self._most)] or [b""]
        for piece in pieces[:-1]:
            self._reply(asked, piece, FRAGMENT)
        self._reply(asked, pieces[-1], 0 if payload else ACK)
        if asked.opcode == 0x02:
            self._most = struct.unpack_from("<IH", asked.payload)[1]

    def _reply(self, asked: Packet, payload: bytes, flags: int) -> None:
        self._send(Packet(self._seq, asked.channel, flags, asked.opcode, payload))
        self._seq = (self._seq + 1) & 0xFF

    def _do(self, asked: Packet) -> bytes | None:
        """The reply's payload; None: refused."""
        if asked.opcode == 0x01:
            return struct.pack("<IH10x", 0b1111, 4096)
        if asked.opcode == 0x02:
            return b""
        if asked.opcode == 0x20:
            own = {self._channel[0]: _OWN} if self._channel else {}
            return b"".join(struct.pack("<BB14s", i, 1, name.encode()) for name, i in (_BUILT_IN | own).items())
        if asked.channel == _OWN and self._channel:
            return self._own(asked)
        if asked.channel == _BUILT_IN["stdin"]:
            return self._stdin(asked)
        if asked.channel == _BUILT_IN["stdout"]:
            return len(self._printed).to_bytes(4, "little") if asked.opcode == 0x25 else self._printed
        return None

    def _own(self, asked: Packet) -> bytes | None:
        backend = self._channel[1]
        if asked.opcode == 0x25:
            size = backend.size()
            if not size and self._random.random() < self.empty:
                size = self._random.choice((4, 20, 44, 24596))
            return struct.pack("<I", size)
        if asked.opcode == 0x26:
            offset, size = struct.unpack("<II", asked.payload)
            return bytes(backend.read(offset, size)).ljust(size, b"\0")
        if asked.opcode == 0x27:
            backend.write(0, asked.payload[8:])
            return b""
        return None

    def _stdin(self, asked: Packet) -> bytes | None:
        if asked.opcode == 0x27:
            offset = struct.unpack_from("<I", asked.payload)[0]
            self._text = self._text[:offset] + asked.payload[8:]
            return b""
        command = struct.unpack_from("<I", asked.payload)[0]
        if command in (1, 3):
            self._lock.release()  # the program may be about to register
            self._stop()
            self._lock.acquire()
        if command == 3:
            self._text = b""
        if command == 2:
            self._execute()
        return b""
