"""Sources of events: recordings played, serial cameras on pseudo-terminals, USB cameras behind a fake driver."""

import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, InputError, UsageError
from spedge.events.evt2 import encode
from spedge.recordings import write
from spedge.sources import EdvsCamera, RecordingSource, SerialSource, Source, UsbCamera, open_source
from tests.events import scattered
from tests.needs import needs


def made(n: int = 5000, span_us: int = 200_000, seed: int = 0, side: int = 34) -> NDArray[np.void]:
    return scattered(n, span_us, seed, side, 1_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "r.raw", made(), 34, 34)
    return tmp_path / "r.raw"


def joined(source: Source) -> NDArray[np.void]:
    return np.concatenate(list(source.packets()))


def test_a_recording_is_handed_out_whole(path: Path) -> None:
    with open_source(str(path)) as source:
        assert (source.width, source.height, source.live) == (34, 34, False)
        assert np.array_equal(joined(source), made())


def test_a_paced_recording_takes_its_time_over_its_speed(path: Path) -> None:
    with open_source(str(path), speed=2.0) as source:
        begin = time.monotonic()
        packets = list(source.packets())
        took = time.monotonic() - begin
    assert source.live
    assert np.array_equal(np.concatenate(packets), made())
    last = (int(made()["t"][-1]) - int(made()["t"][0])) / 1e6 / 2
    assert took >= last  # no event is handed out before it is due
    assert len(packets) > 3


def test_a_slow_reader_of_a_paced_recording_finds_larger_packets(path: Path) -> None:
    with RecordingSource(path, 1.0) as source:
        packets = source.packets()
        next(packets)
        time.sleep(0.1)
        late = next(packets)
    assert len(late) > 1000  # about half of the events were due


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_has_to_be_positive(path: Path, speed: float) -> None:
    with pytest.raises(UsageError, match="speed"):
        RecordingSource(path, speed)


def test_a_source_can_be_stopped(path: Path) -> None:
    with RecordingSource(path, 0.001) as source:  # would take minutes
        threading.Timer(0.1, source.stop).start()
        assert len(joined(source)) < 5000


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("nothing.raw", InputError, "no such file"),
        ("camera:nikon", UsageError, "known are evk3"),
        ("camera:evk4,lens=3", UsageError, "neuromorphic|lens|opened"),
        ("edvs:/dev/null,format=9", UsageError, "format 9"),
        ("edvs:/dev/null,baud=fast", UsageError, "baud=fast is no number"),
        ("serial:/dev/null", UsageError, "width=W"),
        ("serial:/dev/null,width=3,height=3,format=EVT9", UsageError, "known are evt2, evt2.1, evt2.1-legacy, evt3$"),
        ("serial:/dev/nowhere,width=3,height=3", DeviceError, "/dev/nowhere"),
        ("edvs:,format=4", UsageError, "say which"),
    ],
)
def test_what_is_not_understood_is_said(text: str, error: type[Exception], says: str) -> None:
    expected = (error, DeviceError) if text.startswith("camera:evk4") else error
    with pytest.raises(expected, match=says):
        open_source(text)


# ---- serial ports: the other end of a pseudo-terminal ------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    import pty
    import tty

    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def collect(source: Source, count: int) -> NDArray[np.void]:
    """Read until `count` events have come, for at most some seconds."""
    parts, got, deadline = [], 0, time.monotonic() + 10
    for packet in source.packets():
        parts.append(packet)
        got += len(packet)
        if got >= count or time.monotonic() > deadline:
            break
    return np.concatenate(parts)


def test_raw_words_on_a_serial_port(terminal: tuple[int, str]) -> None:
    master, name = terminal
    events = made(3000)
    sender = threading.Thread(target=_write_all, args=(master, encode(events)))
    with open_source(f"serial:{name},width=34,height=34,format=evt2") as source:
        sender.start()
        got = collect(source, len(events))
    sender.join()
    assert np.array_equal(got, events)
    assert not any(source.lost.values())


def test_events_that_go_back_in_time_are_counted(terminal: tuple[int, str]) -> None:
    master, name = terminal
    events = made(100)
    after = made(5)
    after["t"] = events["t"][-1]
    with SerialSource(name, "EVT2", width=34, height=34) as source:
        _write_all(master, encode(events) + encode(events[:10]) + encode(after))
        got = collect(source, 105)
    assert np.array_equal(got, np.concatenate([events, after]))
    assert source.lost["backwards"] == 10


def test_a_port_that_disappears_is_said(terminal: tuple[int, str]) -> None:
    import pty

    master, slave = pty.openpty()
    with SerialSource(os.ttyname(slave), "EVT2", width=34, height=34) as source:
        packets = source.packets()
        next(packets)
        os.close(slave)
        os.close(master)
        with pytest.raises(DeviceError):
            for _ in packets:
                pass


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data[:4096]) :]


def edvs_bytes(events: NDArray[np.void]) -> bytes:
    """Format 4: y with the top bit, x with the polarity, 32 bits of time."""
    out = bytearray()
    for event in events:
        out += bytes([0x80 | int(event["y"]), int(event["p"]) << 7 | int(event["x"])])
        out += int(event["t"]).to_bytes(4, "big")
    return bytes(out)


def test_an_edvs_is_told_to_send_and_to_stop(terminal: tuple[int, str]) -> None:
    master, name = terminal
    events = made(500)
    heard = bytearray()

    def camera() -> None:
        while b"E+\n" not in heard:
            heard.extend(os.read(master, 100))
            if heard.endswith(b"\n"):
                os.write(master, b"-!E4\n")  # its answers are text
        _write_all(master, edvs_bytes(events))

    thread = threading.Thread(target=camera)
    thread.start()
    with EdvsCamera(name, mode=4) as source:
        got = collect(source, len(events))
        thread.join()
    heard.extend(os.read(master, 100))
    assert np.array_equal(got, events)
    assert heard.decode().split() == ["E-", "!U0", "!E4", "E+", "E-"]


def test_events_that_come_with_the_end_of_the_command_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    events = made(50)

    class Line:
        name = "a line that is quick"

        def exchange(self, out: bytes, timeout: float) -> tuple[int, bytes]:
            return len(out), edvs_bytes(events) if b"E+" in out else b""

        def close(self) -> None: ...

    monkeypatch.setattr("spedge.sources.serial_port.connect", lambda *_: Line())
    with EdvsCamera("anywhere") as source:
        assert np.array_equal(collect(source, len(events)), events)


# ---- USB: a fake of the driver package at the very edge ------------------------------------------------------------


class _FakeDevice:
    """What neuromorphic_drivers.open gives, as far as we use it (0.18)."""

    def __init__(self, packets: list[Any]) -> None:
        self._packets = iter(packets)
        self.closed = False

    def __enter__(self) -> "_FakeDevice":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def __iter__(self) -> "_FakeDevice":
        return self

    def __next__(self) -> tuple[None, Any]:
        return None, next(self._packets)

    def properties(self) -> Any:
        return types.SimpleNamespace(width=1280, height=720)


def _packet(events: NDArray[np.void] | None, overflows: int = 0) -> Any:
    driver = None
    if events is not None:
        driver = np.zeros(len(events), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
        for name in ("t", "x", "y"):
            driver[name] = events[name]
        driver["on"] = events["p"]
    return types.SimpleNamespace(
        polarity_events=driver, polarity_events_overflow_indices=np.zeros(overflows, np.uint64) if overflows else None
    )


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], dict[str, Any]]:
    def install(packets: list[Any]) -> dict[str, Any]:
        device = _FakeDevice(packets)
        opened: dict[str, Any] = {"device": device}

        def open_(**options: Any) -> _FakeDevice:
            opened.update(options)
            return device

        model = types.SimpleNamespace(Configuration=lambda: "biases")
        fake = types.ModuleType("neuromorphic_drivers")
        fake.__dict__.update(open=open_, prophesee_evk4=model)
        monkeypatch.setitem(sys.modules, "neuromorphic_drivers", fake)
        return opened

    return install


def test_a_usb_camera_hands_out_events_and_counts_overflows(drivers: Callable[[list[Any]], dict[str, Any]]) -> None:
    events = made(1000)
    opened = drivers([_packet(events[:400]), _packet(None), _packet(events[400:], overflows=2)])
    with open_source("camera:evk4,serial=0042") as source:
        got = joined(source)
    assert np.array_equal(got, events)
    assert (source.width, source.height, source.live) == (1280, 720, True)
    assert source.lost == {"overflows": 2}
    assert opened["serial"] == "0042" and opened["configuration"] == "biases"
    assert opened["device"].closed


def test_a_usb_camera_that_cannot_be_opened_is_said(
    drivers: Callable[[list[Any]], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers([])

    def refuse(**_: Any) -> None:
        raise RuntimeError("device not found")

    monkeypatch.setattr(sys.modules["neuromorphic_drivers"], "open", refuse)
    with pytest.raises(DeviceError, match=r"device not found.*plugged in"):
        UsbCamera("evk4")


def test_the_real_driver_says_that_no_camera_is_there() -> None:
    """Against the package itself: our calls fit its signatures, and here is no camera."""
    needs("neuromorphic_drivers")
    for name in ("evk3", "evk4", "davis346", "dvxplorer"):
        with pytest.raises(DeviceError, match="cannot be opened"):
            UsbCamera(name)


def test_without_the_driver_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", None)
    with pytest.raises(UsageError, match=r"spedge\[cameras\]"):
        UsbCamera("evk4")
