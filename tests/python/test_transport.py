"""The host's end of a line, without a device: bytes that wait, the reading thread, and faults made on purpose."""

from __future__ import annotations

import dataclasses
import logging
import socket
import threading
import time

import numpy as np
import pytest

from spedge.base.errors import DeviceError, DeviceGone, UsageError
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.transport import KEPT_BYTES, FdTransport, Outgoing, Reconnecting
from tests.ends import wait_for
from tests.scripted import Scripted, Simulated

# ---- the reading thread ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "most"), [((1, 2, 300, 7), 10), ((1, 61756, 44, 61756), 1 << 16), ((5,) * 50, 64)])
def test_what_waits_to_be_sent_goes_in_order_and_once(sizes: tuple[int, ...], most: int) -> None:
    random = np.random.default_rng(0)
    pieces = [random.bytes(n) for n in sizes]
    out, sent = Outgoing(pieces[0]), b""
    for piece in pieces[1:]:
        out += piece
    while out:
        left = len(out)
        head = out.head(most)
        assert min(left, most // 2) <= len(head) <= most  # not byte by byte
        taken = int(random.integers(0, len(head) + 1))
        sent += head[:taken]
        out.advance(taken)
        assert len(out) == left - taken
    assert sent == b"".join(pieces) and not out.head(most)


def test_a_device_is_read_from_while_nobody_asks() -> None:
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    data = bytes(range(256)) * 4096  # far more than a socket holds
    theirs.settimeout(10)
    theirs.sendall(data)
    received = b""
    while len(received) < len(data):
        received += transport.exchange(b"", 1.0)[1]
    assert received == data
    transport.close()
    theirs.close()


def test_what_nobody_fetches_is_bounded_and_the_latest_is_kept() -> None:
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    theirs.settimeout(10)
    theirs.sendall(bytes(KEPT_BYTES + 100_000) + b"the end")
    theirs.shutdown(socket.SHUT_WR)
    wait_for(lambda: transport._broken)  # it has all been read
    received = transport.exchange(b"", 1.0)[1]
    assert len(received) == KEPT_BYTES
    assert received.endswith(b"the end")
    with pytest.raises(DeviceError, match="pair closed the link"):
        transport.exchange(b"", 1.0)
    transport.close()


def test_closing_ends_the_thread_and_may_be_done_twice() -> None:
    before = threading.active_count()
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    assert threading.active_count() == before + 1
    transport.close()
    transport.close()
    assert threading.active_count() == before
    with pytest.raises(DeviceError, match="the link to pair is closed"):
        transport.exchange(b"x", 0.1)
    theirs.close()


def test_two_ends_with_full_buffers_do_not_wait_for_each_other() -> None:
    """An end that writes before it reads, and ours that does the same."""
    ours, theirs = socket.socketpair()
    transport = FdTransport("pair", ours.fileno(), ours)
    data = bytes(3_000_000)

    def write_and_read() -> None:
        theirs.sendall(data)
        left = len(data)
        while left:
            left -= len(theirs.recv(1 << 16))

    other = threading.Thread(target=write_and_read)
    other.start()
    sent = got = 0
    deadline = time.monotonic() + 20
    while (sent < len(data) or got < len(data)) and time.monotonic() < deadline:
        written, received = transport.exchange(data[sent : sent + 65536], 0.5)
        sent, got = sent + written, got + len(received)
    assert (sent, got) == (len(data), len(data))
    other.join(10)
    transport.close()
    theirs.close()


def test_faults_are_written_as_on_the_command_line() -> None:
    assert Faults.parse("drop=0.01, flip=0.02,dup=0.5,cut=2,seed=7") == Faults(
        drop=0.01, flip=0.02, dup=0.5, cut=2, seed=7
    )
    assert Faults.parse("delay=1,late=0.2,away=3") == Faults(delay=1.0, late=0.2, away=3.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lose=0.1", "there is no fault 'lose' .known: drop, flip, dup, delay"),
        ("drop=2", "give drop=a chance between 0 and 1"),
        ("drop=nan", "give drop=a chance"),
        ("drop", "give drop=a chance"),
        ("cut=0.5", "give cut=a whole number"),
        ("away=-1", "give away=seconds"),
    ],
)
def test_a_fault_that_is_none_ends_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Faults.parse(text)


def through(faults: Faults, frames: int = 400) -> tuple[list[bytes], FaultyTransport]:
    clock, taken = Simulated(), bytearray()

    def take(out: bytes) -> bytes:
        taken.extend(out)
        return b""

    line = FaultyTransport(Scripted(clock, take), faults, clock)
    for i in range(frames):
        line.exchange(b"frame %d\0" % i, 0.0)
    end = clock.monotonic() + faults.late + 0.05
    while clock.monotonic() < end:
        line.exchange(b"", 0.01)
    return bytes(taken).split(b"\0")[:-1], line


def test_each_fault_does_what_it_says() -> None:
    sent = [b"frame %d" % i for i in range(400)]
    dropped, line = through(Faults(drop=0.1))
    assert len(dropped) == 400 - line.done["drop"] < 390
    assert set(dropped) < set(sent)
    flipped, line = through(Faults(flip=0.1))
    assert 10 < line.done["flip"] < 80
    assert flipped != sent
    doubled, line = through(Faults(dup=0.1))
    assert len(doubled) == 400 + line.done["dup"] > 410
    delayed, line = through(Faults(delay=0.1, late=0.05))
    assert sorted(delayed) == sorted(sent) and delayed != sent and line.done["delay"] > 10
    swapped, line = through(Faults(swap=0.1))
    assert line.done["swap"] > 10 and swapped != sent
    _, line = through(Faults(cut=2, away=0.0))
    assert line.done["cut"] == 2


def test_the_same_seed_does_the_same() -> None:
    faults = Faults(drop=0.1, flip=0.1, dup=0.1, swap=0.1, noise=0.1, seed=5)
    assert through(faults)[0] == through(faults)[0] != through(dataclasses.replace(faults, seed=6))[0]


# ---- a line that breaks and comes back ---------------------------------------------------------------------------


class Bridge:
    """Lines to a port that others have: each can be opened and then closes, until it is `free`."""

    def __init__(self, clock: Simulated) -> None:
        self.clock = clock
        self.free = False
        self.dialled = 0

    def dial(self) -> Scripted:
        self.dialled += 1
        return Scripted(self.clock, self._answer)

    def _answer(self, out: bytes) -> bytes:
        if not self.free:
            raise DeviceGone("it closed the link")
        return out


def test_a_line_that_opens_and_closes_again_is_not_back(caplog: pytest.LogCaptureFixture) -> None:
    """As of a bridge whose serial port another program has, and of an agent that turns us away unheard."""
    clock = Simulated()
    bridge = Bridge(clock)
    line = Reconnecting(bridge.dial, 1.5, clock=clock)
    line.greeting = lambda: b"hello"
    with caplog.at_level(logging.WARNING, "spedge.device"):
        with pytest.raises(DeviceGone, match=r"^it closed the link, and did not come back within 1\.5 s$"):
            while True:
                line.exchange(b"x", 1.0)
        assert 1.5 < clock.monotonic() < 1.7
        assert 10 < bridge.dialled <= 32  # not as fast as it can
        bridge.free = True
        while not line.reconnects:
            received = line.exchange(b"x", 1.0)[1]
        assert received == b"hello"
        assert line.exchange(b"x", 1.0) == (1, b"x")
    assert [record.getMessage() for record in caplog.records] == [
        "it closed the link; waiting for it to come back",
        f"the link to {line.name} is back",
    ]
