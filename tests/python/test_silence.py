"""A device that is silent: when that is said, when it is given up. By a clock that nobody waits for."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import spedge
from spedge.base.errors import DeviceError, DeviceTimeout
from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.frames import REPLY_BIT, VERSION, ErrorCode, Frame, FrameReader, Type
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration
from spedge.link.silence import Silence
from spedge.link.transport import connect
from tests.ends import (
    REPORTING,
    SETTINGS,
    WITHIN,
    Agent,
)
from tests.events import scattered
from tests.scripted import Scripted, Simulated, Skipped, Stoppable

# ---- a device that is silent: the rule -----------------------------------------------------------------------------


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the logger of devices says; to be asked by calling it."""
    with caplog.at_level(logging.WARNING, "spedge.device"):
        yield Said(caplog)


class Said(list):
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog

    def __call__(self) -> list[str]:
        return [record.getMessage() for record in self.caplog.records]


def test_a_silence_is_mentioned_once_and_so_is_its_end(said: Said) -> None:
    silence = Silence("it", 1.25, 7)
    silence.expect(True, 10)
    for now in (10.5, 11.2, 11.3, 12, 13, 20):
        silence.look(now, False)
    assert said() == ["it has not answered for 1.3 s; waiting"]
    silence.expect(False, 20)  # the question was given up
    silence.heard(23)
    silence.heard(24)
    assert said()[1:] == ["it answers again after 13.0 s"]


def test_no_answer_is_missed_where_none_is_owed(said: Said) -> None:
    silence = Silence("it", 1.25, 7)
    for owed, now in ((False, 0.0), (True, 5.0), (False, 5.5), (True, 9.0)):
        silence.expect(owed, now)
        silence.look(now, False)
    silence.look(10.2, False)
    silence.restart(10.2)  # it takes what it is sent
    silence.look(11.4, False)
    assert said() == []
    assert silence.left(11.4) == pytest.approx(0.05)


def test_one_that_computes_is_not_silent_before_that_takes_long(said: Said) -> None:
    silence = Silence("it", 1.25, 7, lambda: True)
    silence.expect(True, 0)
    assert all(silence.look(now, True) for now in np.arange(1.3, 7, 0.3))
    assert said() == []
    assert silence.look(7.3, True) and silence.look(7.7, True)
    assert said() == ["it has been computing for 7.3 s; waiting"]
    silence.heard(8)
    silence.expect(True, 10)
    silence.look(11.3, False)  # asked for nothing that takes long
    assert said()[1:] == ["it answers again after 8.0 s", "it has not answered for 1.3 s; waiting"]


def test_what_an_inference_takes_is_learned_from_those_before(said: Said) -> None:
    silence = Silence("it", 1.25, 7)
    for seconds, cost in ((2.0, 1000), (9.0, 1500)):  # the second one was held up
        silence.inferred(seconds, cost)
    silence.expect(True, 0)
    assert silence.look(1.3, True) and silence.look(5.9, True)
    assert not silence.look(6.3, True)  # twice 1500 of 2 ms
    assert said() == ["it has not answered for 6.3 s; waiting"]


# ---- devices, by that clock --------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Skipped:
    return Skipped()


@pytest.fixture
def line(agent: Agent, clock: Skipped) -> Stoppable:
    return Stoppable(connect(agent.address), clock)


def test_silence_is_mentioned_before_it_is_given_up(line: Stoppable, clock: Skipped, said: Said) -> None:
    with Device(line, Timeouts(notice=1.0, silence=1.6), clock=clock) as device:
        line.stop()
        with pytest.raises(DeviceTimeout, match="does not answer"):
            device.stats()
    assert said() == [f"{line.name} has not answered for 1.0 s; waiting"]


def test_a_device_that_stops_answering_is_given_up(line: Stoppable, clock: Skipped) -> None:
    with Device(line, Timeouts(silence=1.5), clock=clock) as device:
        device.configure(Configuration())
        line.stop()
        begin = clock.monotonic()
        with pytest.raises(DeviceTimeout, match=r"does not answer \(waited 1.5 s\)"):
            device.stats()
        with pytest.raises(DeviceTimeout, match=r"takes no more events \(waited 1.5 s\)"):
            device.send(encode_words(scattered(3000, 120_000)))
        assert clock.monotonic() - begin < 8
        line.go_on()
        device.reset()  # and it can go on
        device.send(encode_words(scattered(300, 12_000)))
        assert device.flush().events == 300


def test_one_that_stays_silent_is_given_up_in_every_mode(agent: Agent, clock: Skipped, said: Said) -> None:
    limits = Timeouts(notice=0.3, silence=0.9)
    events = scattered(100, 10_000)
    for mode in ("lossless", "live", "nothing to do"):
        line = Stoppable(connect(agent.address), clock)
        with Device(line, limits, clock=clock) as device:
            device.configure(Configuration(SETTINGS, model=False, mode="live" if mode == "live" else "lossless"))
            line.stop()
            begin = clock.monotonic()
            with pytest.raises(DeviceTimeout, match=r"(takes no more events|does not answer) \(waited 0\.9 s\)"):
                while True:
                    if mode == "lossless":
                        device.send(encode_words(events))
                    elif mode == "live":
                        device.offer(events)
                        events["t"] += 10_000
                    device.wait(0.01)
            assert 0.9 < clock.monotonic() - begin < 0.9 + WITHIN
            line.go_on()
            assert device.resume(within=5)
    lines = said()
    assert len(lines) == 6
    assert all("has not answered for 0.3 s; waiting" in line for line in lines[0::2])
    assert all("answers again after" in line for line in lines[1::2])


@pytest.mark.parametrize("before", [0.0, 0.05, 0.6])
def test_a_host_that_was_stopped_itself_does_not_blame_the_device(
    line: Stoppable, clock: Skipped, said: Said, before: float
) -> None:
    """As Ctrl-Z does, and a lid that is closed: both ends stop, and go on, the device a little later."""
    with Device(line, Timeouts(silence=1.5), clock=clock) as device:
        device.configure(REPORTING)
        device.wait(before)  # at 0.6 s it was asked whether it is there
        line.stop(3.0, host=2.5)
        device.wait(1.5)
        assert device.stats().frames > 0
    assert said() == []


@pytest.mark.parametrize("asks", [False, True], ids=["waiting", "asking"])
def test_a_device_that_was_stopped_alone_is_blamed(line: Stoppable, clock: Skipped, said: Said, asks: bool) -> None:
    """For as long as the host and the device of the test before this one, but the host has been there all the time."""
    with Device(line, Timeouts(silence=1.5), clock=clock) as device:
        device.configure(REPORTING)
        line.stop(3.0)
        with pytest.raises(DeviceTimeout, match="does not answer"):
            if asks:
                device.stats()
            device.wait(3.0)
    assert said() == [f"{line.name} has not answered for 1.3 s; waiting"]


def test_a_live_device_that_is_gone_is_given_up(line: Stoppable, clock: Skipped) -> None:
    """The line takes all, and all is lost on it."""
    with Device(line, Timeouts(silence=0.5), clock=clock) as device:
        device.configure(Configuration(SETTINGS, model=False, mode="live"))
        line.stop()
        device.link.transport = FaultyTransport(line, Faults(drop=1.0), clock)
        begin = clock.monotonic()
        with pytest.raises(DeviceTimeout, match="takes no more events"):
            for at in range(1000):
                device.offer(scattered(10, 400) if at == 0 else np.empty(0, spedge.EVENT_DTYPE))
                device.wait(0.01)
        assert clock.monotonic() - begin < 10


def test_the_default_gives_up_within_ten_seconds() -> None:
    assert Timeouts().silence < 10


# ---- devices that play a part ------------------------------------------------------------------------------------


def play(answer: Callable[[bytes], bytes], silence: float = 1.5) -> Device:
    clock = Simulated()
    return Device(Scripted(clock, answer), Timeouts(silence=silence), clock=clock)


def test_noise_is_not_an_answer() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(DeviceError, match=r"ttyTEST0 does not answer \(waited 0.3 s\)"):
        play(lambda out: random.bytes(500), 0.3)


def test_a_device_that_answers_and_never_gets_on_is_given_up() -> None:
    hello = struct.pack("<HBBHHIIHHHBBIII", VERSION, 0, 0, 1024, 2, *[0] * 10) + bytes(32) + bytes(4) + bytes(9)
    stuck = struct.pack("<HHIQQII", 0, 0, 100, 0, 0, 0, 0)
    payloads = {Type.HELLO: hello, Type.CONFIGURE: bytes(78), Type.FLUSH: stuck, Type.EVENTS: stuck}

    def answer(out: bytes) -> bytes:
        replies = []
        for frame in FrameReader().feed(out):
            opened = struct.unpack_from("<I", frame.payload)[0] if frame.type == Type.CONFIGURE else frame.session
            reply = Frame(frame.type | REPLY_BIT, frame.seq, opened, payloads[Type(frame.type)], frame.flags)
            replies.append(reply.encode())
        return b"".join(replies)

    device = play(answer, 0.5)
    device.configure(Configuration(SETTINGS, model=False))
    with pytest.raises(DeviceError, match="does not finish the events it has"):
        device.flush()
    with pytest.raises(DeviceError, match="takes no more events"):
        device.send(encode_words(scattered(200, 8000)))


def test_another_version_is_refused_with_a_sentence() -> None:
    def answer(out: bytes) -> bytes:
        return b"".join(
            Frame(frame.type | REPLY_BIT, frame.seq, 0, struct.pack("<H", VERSION + 1) + bytes(300)).encode()
            for frame in FrameReader().feed(out)
        )

    with pytest.raises(DeviceError, match=f"the device speaks protocol {VERSION + 1} and this spedge speaks {VERSION}"):
        play(answer)


def test_a_device_that_failed_says_so() -> None:
    fault = struct.pack("<HBII", ErrorCode.FAULT, 0, 0x1234, 0x82) + b"\x0athe core 1"
    with pytest.raises(DeviceError, match=r"ttyTEST0 has failed: the core 1 \(0x00001234, 0x00000082\); it has to be"):
        play(lambda out: Frame(Type.ERROR, 0, 0, fault).encode())
