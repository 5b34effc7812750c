"""Emulated cameras, and the driver on the device (firmware/app/camera.c) against them."""

from __future__ import annotations

import ctypes
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spedge
from spedge.base.errors import DeviceError, InputError, UsageError
from spedge.cameras import FORMATS, Edvs, EmulatedCamera, heard
from spedge.events.evt21 import encode as encode_evt21
from spedge.events.words import encoder
from tests.c_library import c_library
from tests.python.test_decoders import Event, edvs_by_definition, evt3_by_definition, evt21_by_definition

WORD_BYTES = {"edvs-e0": 2, "edvs-e2": 4, "edvs-e3": 5, "edvs-e4": 6, "evt2": 4, "evt2.1": 8, "evt3": 2}


def some_events(n: int, seed: int = 0, step: int = 20) -> np.ndarray:
    random = np.random.default_rng(seed)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.cumsum(random.integers(0, step, n))
    events["x"], events["y"] = random.integers(0, 128, (2, n))
    events["p"] = random.integers(0, 2, n)
    return events


def rows(events: np.ndarray) -> list[Event]:
    return [(int(e["t"]), int(e["x"]), int(e["y"]), int(e["p"])) for e in events]


# ---- bytes ----------------------------------------------------------------------------------------------------


def decoded_by_definition(data: bytes, format: str) -> list[Event]:
    if format.startswith("edvs"):
        return edvs_by_definition(data, int(format[-1]))
    if format == "evt3":
        return evt3_by_definition(data, 2048, 2048)
    return evt21_by_definition(data, format.endswith("legacy"), 2048, 2048)


@pytest.mark.parametrize("format", [format for format in FORMATS if format not in ("evt2", "edvs-e0")])
@given(
    steps=st.lists(st.sampled_from([0, 0, 0, 1, 63, 64, 127, 128, 5000, 16383, 16384, 65535]), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_the_bytes_of_a_camera_decode_to_its_events(format: str, steps: list[int], cuts: list[int], seed: int) -> None:
    events = some_events(len(steps), seed)
    events["t"] = np.cumsum(steps, dtype=np.uint64)
    events["y"] = events["y"] // 64
    encode = encoder(format)
    ends = sorted({min(cut, len(steps)) for cut in cuts} | {len(steps)})
    data = b"".join(encode(events[a:b]) for a, b in zip([0, *ends], ends, strict=False))
    assert decoded_by_definition(data, format) == rows(events)
    assert rows(heard(events, format)) == rows(events)


def test_neighbours_share_an_evt21_word() -> None:
    events = np.zeros(5, spedge.EVENT_DTYPE)
    events["x"] = [33, 34, 63, 64, 40]
    words = encode_evt21(events)
    assert len(words) == 8 * (1 + 3)  # the time, 33 with 34 and 63, 64, 40
    assert [event[1] for event in evt21_by_definition(words, False, 2048, 2048)] == [33, 34, 63, 64, 40]


def test_what_a_format_cannot_say_is_refused_or_wraps() -> None:
    events = some_events(3)
    events["t"] = [70_000, 70_001, 1 << 29]
    assert heard(events, "edvs-e2")["t"].tolist() == [70_000 % 65536, 70_001 % 65536, 65536]  # wraps unseen are none
    assert heard(events, "edvs-e0")["t"].tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="longer than eDVS format 1 can say"):
        heard(events, "edvs-e1")
    events["x"] = 128
    with pytest.raises(InputError):
        heard(events, "edvs-e4")
    with pytest.raises(UsageError, match="no camera format 'evt4'"):
        heard(events, "evt4")


# ---- the commands of an eDVS ----------------------------------------------------------------------------------


def test_an_edvs_echoes_confirms_and_is_silent_when_it_streams() -> None:
    camera = Edvs()
    assert camera.feed(b"!E2\n") == b"!E2\n-E2\n"
    assert camera.feed(b"?E\r") == b"?E\n-E2\n"
    assert camera.feed(b"x\x08y\n") == b"x\b \by\n?\n"
    assert camera.feed(b"!E7\n").endswith(b"Set: parsing error\n")
    assert b"!E4" in camera.feed(b"??E\n")
    assert camera.feed(b"!U=4000000\n").endswith(b"Switching Baud Rate to 4000000 Baud!\n")
    assert camera.feed(b"!U0\n!E4\n\n") == b"!U0\n"  # no echo from here on
    assert camera.feed(b"E+\n") == b"" and (camera.streaming, camera.mode, camera.starts) == (True, 4, 1)
    assert camera.feed(b"!E3\nE-\n") == b"" and (camera.streaming, camera.mode) == (False, 3)
    camera.feed(b"z" * 200 + b"E+\n")
    assert not camera.streaming  # a line too long is no command


def test_an_edvs_is_deaf_between_reset_and_greeting() -> None:
    now = [0.0]
    camera = Edvs(boot_seconds=1.0, clock=lambda: now[0])
    camera.feed(b"!U0\n!E4\nE+\n")
    assert camera.feed(b"R\nE+\n") == b""
    now[0] = 0.9
    assert camera.feed(b"E+\n") == b"" and not camera.streaming
    now[0] = 1.1
    assert b"EDVS" in camera.feed(b"") and camera.mode == 0
    assert camera.feed(b"E+\n") == b"E+\n" and camera.streaming


# ---- an emulated camera on a line -----------------------------------------------------------------------------


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[str, Callable[[], socket.socket]]]:
    """An address to plug a camera into, and the port behind it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "port"))
        listener.listen()
        listener.settimeout(10)
        ports = []

        def port() -> socket.socket:
            accepted, _ = listener.accept()
            accepted.settimeout(10)
            ports.append(accepted)
            return accepted

        yield f"unix:{tmp_path / 'port'}", port
        for accepted in ports:
            accepted.close()


def read_until(port: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := port.recv(4096)):
        data += more
    return data


def test_an_edvs_plays_when_told_and_again_after_a_reset(line: tuple[str, Callable[[], socket.socket]]) -> None:
    address, port_of = line
    events = some_events(700)
    with EmulatedCamera(address, events, pace="full", boot_seconds=0.001) as camera, port_of() as port:
        for seed in (1, 2):
            port.sendall(b"R\n")
            while b"Clock" not in (said := port.recv(4096)):
                pass
            assert said.isascii()
            port.sendall(b"!U0\n!E3\n")
            assert port.recv(4) == b"!U0\n"
            port.sendall(b"E+\n")
            data = read_until(port, 5 * len(events))
            camera.wait(10)
            assert (data, camera.starts) == (camera.sent, seed)
            assert edvs_by_definition(data, 3) == rows(events) == rows(camera.sent_events)
            events = some_events(300, seed)
            camera.load(events)
        with pytest.raises(UsageError, match="when it is told to"):
            camera.play()


def test_a_camera_keeps_to_the_time_of_its_events(line: tuple[str, Callable[[], socket.socket]]) -> None:
    address, port_of = line
    events = some_events(1000, step=400)
    seconds = float(events["t"][-1] - events["t"][0]) / 1e6
    with EmulatedCamera(address, events, "evt3", pace=2.0) as camera, port_of() as port:
        begin = time.monotonic()
        camera.play()
        assert evt3_by_definition(read_until(port, len(encoder("evt3")(events))), 128, 128) == rows(events)
        assert time.monotonic() - begin >= seconds / 2 - 0.002


def test_a_camera_without_a_line_says_so(line: tuple[str, Callable[[], socket.socket]], tmp_path: Path) -> None:
    address, port_of = line
    with pytest.raises(DeviceError, match="cannot connect"):
        EmulatedCamera(f"unix:{tmp_path / 'absent'}", some_events(1))
    with EmulatedCamera(address, some_events(100_000), "evt2", "full") as camera:
        port_of().close()
        camera.play()
        with pytest.raises(DeviceError, match="link"):
            camera.wait(10)
    for protocol, pace in (("dvs", "full"), ("evt2", "fast"), ("evt2", 0.0)):
        with pytest.raises(UsageError):
            EmulatedCamera(address, some_events(1), protocol, pace)


# ---- the driver on the device ---------------------------------------------------------------------------------


class Driver:
    """app/camera.c behind a port of 64 bytes."""

    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))
        self._c.app_camera_take.restype = ctypes.c_size_t
        self._c.fake_said.restype = ctypes.c_size_t
        self._c.app_camera_take.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self._c.fake_put.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        self._c.fake_pass_time.argtypes = [ctypes.c_uint64]
        self.pass_time = self._c.fake_pass_time
        self.overrun = self._c.fake_overrun
        self.stop = self._c.app_camera_stop
        self.lost = self._c.app_camera_lost
        self.level = self._c.app_camera_level

    def start(self, format: str, greeting: bool = True) -> bytes:
        """Up to the stream; returns what it said."""
        number = 16 + int(format[-1]) if format.startswith("edvs") else {"evt2": 0, "evt2.1": 1, "evt3": 3}[format]
        self._c.app_camera_start(number, 0, 0)
        said = self.turns()
        if number >= 16:
            self.put(b"\xff\x81R\n" if greeting else b"")
            said += self.turns()
            self.put(b"\nEDVS-4337\nClock\n" if greeting else b"")
            self.pass_time(0 if greeting else 600_000_000)
            said += self.turns()
        return said

    def turns(self) -> bytes:
        for _ in range(20):
            self._c.app_camera_step()
        out = ctypes.create_string_buffer(256)
        n = self._c.fake_said(out)
        return out.raw[:n]

    def put(self, data: bytes) -> None:
        self._c.fake_put(data, len(data))

    def take(self, n: int = 256) -> bytes:
        out = ctypes.create_string_buffer(n)
        got = self._c.app_camera_take(out, n)
        return out.raw[:got]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    out = tmp_path_factory.mktemp("camera") / "camera.so"
    return Driver(c_library(out, "camera_port.c", "app/camera.c", includes=("app", "port")))


def test_the_driver_sets_an_edvs_up(driver: Driver) -> None:
    assert driver.start("edvs-e3") == b"\nR\n!U0\n!E3\nE+\n"
    driver.put(b"!U0\n")  # text is not an event
    assert driver.take() == b""
    event = bytes([0x81, 0x02, 0, 0, 9])
    driver.put(b"-E3\n" + event + event[:2])
    assert driver.take() == event
    driver.put(event[2:] + event * 3)
    assert driver.take(12) == event * 2
    assert driver.take(12) == event * 2
    assert driver.lost() == 0
    driver.stop()
    assert driver.turns() == b"\nE-\n"
    driver.put(event)
    assert driver.take() == b""


def test_the_driver_does_not_wait_for_ever_for_a_greeting(driver: Driver) -> None:
    assert driver.start("edvs-e2", greeting=False) == b"\nR\n!U0\n!E2\nE+\n"


@pytest.mark.parametrize("format", WORD_BYTES)
@given(pieces=st.lists(st.tuples(st.integers(1, 150), st.booleans()), max_size=30))
@settings(max_examples=60, deadline=None)
def test_an_overflow_costs_whole_words_and_never_the_place(
    driver: Driver, format: str, pieces: list[tuple[int, bool]]
) -> None:
    """Whatever is lost for want of room: what comes out are words that went in, in order, and the rest is counted."""
    word = WORD_BYTES[format]
    words = [bytes([0x80 | i >> 7 & 0x7F, i & 0x7F, *[i % 251] * 6][:word]) for i in range(1, 2500)]
    stream = b"".join(words)
    driver.start(format)
    before, sent, out = driver.lost(), 0, b""
    for size, reads in pieces:
        driver.put(stream[sent : sent + size])
        sent += size
        out += driver.take(64) if reads else b""
    end = sent + -sent % word  # the last word whole
    driver.put(stream[sent:end])
    while got := driver.take(64):
        out += got
    resume = len(out) + driver.lost() - before
    driver.put(stream[end : end + 3 * word])  # and it goes on
    out += driver.take(64)
    assert resume == end
    assert len(out) % word == 0
    it = iter(words)
    assert all(any(out[i : i + word] == w for w in it) for i in range(0, len(out), word))
    assert out[-3 * word :] == stream[end : end + 3 * word]


@pytest.mark.parametrize("mode", [2, 3, 4])
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_stream_out_of_step_is_found_again(driver: Driver, mode: int, missing: int) -> None:
    """Bytes are lost that nobody counts: after a few wrong events, all is as it was."""
    driver.start(f"edvs-e{mode}")
    wrong = []
    for seed in range(20):
        events = some_events(200, seed)
        data = encoder(f"edvs-e{mode}")(events)
        size = mode + 2
        at = 50 * size + seed % size
        out = b""
        broken = data[:at] + data[at + missing :]
        for i in range(0, len(broken), 40):
            driver.put(broken[i : i + 40])
            out += driver.take()
        good = {data[i : i + size] for i in range(0, len(data), size)}
        got = [out[i : i + size] for i in range(0, len(out), size)]
        wrong.append(sum(event not in good for event in got))
        assert len(got) > 200 - 40
        driver.start(f"edvs-e{mode}")
    assert np.mean(wrong) < 6
    assert max(wrong) < 40


def test_an_overrun_of_the_hardware_is_counted(driver: Driver) -> None:
    driver.start("edvs-e2")
    event = bytes([0x90, 1, 0, 1])
    driver.put(event * 3)
    driver.overrun()
    driver.put(event * 2)  # dropped, until the place of the loss has been read
    assert driver.take() == event * 3
    assert driver.take() == b""
    assert driver.lost() >= 1 + 8
    driver.put(event * 20)
    assert driver.level() == 255
    assert driver.take() == event * 15  # of 16 that had room; where they begin, one showed
