"""Agents that ask for a key: who is let in, who is not, and that nobody else disturbs who is."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import DeviceRefused, UsageError
from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.link.faults import Faults
from spedge.link.frames import REPLY_BIT, VERSION, ErrorCode, Frame, FrameReader, Type
from spedge.link.key import answered, challenge_of, read_key, split_key
from spedge.link.protocol import Error
from tests.ends import HASTY, REPORTING, Agent, host_tokens
from tests.events import scattered
from tests.needs import needs

needs("cc")

EVENTS = scattered(20_000, 1_000_000)
HELLO = VERSION.to_bytes(2, "little")


def make_key(path: Path, data: bytes = b"", mode: int = 0o600) -> Path:
    path.write_bytes(data or secrets.token_bytes(32))
    path.chmod(mode)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key")


@pytest.fixture
def agent(image: Path, key: Path) -> Iterator[Agent]:
    agent = Agent(image, "--key", key)
    yield agent
    agent.kill()


class Stranger:
    """A connection that says what it is told to."""

    def __init__(self, agent: Agent) -> None:
        self.line = socket.create_connection(("127.0.0.1", int(agent.port)), timeout=5)
        self._reader = FrameReader()

    def say(self, *frames: Frame) -> list[Frame]:
        """The reply to each, or those that came before the connection ended."""
        self.line.sendall(b"\0" + b"".join(frame.encode() for frame in frames))
        heard: list[Frame] = []
        while len(heard) < len(frames) and (data := self.line.recv(4096)):
            heard += self._reader.feed(data)
        return heard

    def challenge(self) -> bytes:
        (reply,) = self.say(Frame(Type.HELLO, 1, 0, HELLO))
        found = challenge_of(reply.payload)
        assert found, reply
        return found

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()


def require_all(device: Device) -> None:
    device.configure(REPORTING)
    for piece in np.array_split(encode_words(EVENTS), 5):
        device.send(piece)
    assert device.tokens().tolist() == host_tokens(EVENTS)
    assert device.stats().imbalance(len(EVENTS)) is None


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:7343", "128.0.0.1:80"])
def test_a_port_listener_without_a_key_is_refused(image: Path, address: str) -> None:
    done = subprocess.run([image, "--listen", address], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2
    assert f"{address} can be reached by others, who would need no key: give one with --key FILE" in done.stderr
    assert done.stdout == ""


def test_with_a_key_it_would_listen_there(image: Path, key: Path) -> None:
    """An address that no machine has, so that nothing does listen on a network."""
    command = [str(image), "--listen", "192.0.2.1:7343", "--key", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert done.returncode == 3
    assert "cannot listen on 192.0.2.1:7343: Cannot assign requested address" in done.stderr


@pytest.mark.parametrize(
    ("data", "mode", "why"),
    [
        (b"fifteen bytes..\r\n", 0o600, "it has fewer than 16 bytes, and could be guessed"),
        (b"\n" * 40, 0o600, "it has fewer than 16 bytes, and could be guessed"),
        (b"k" * 1025, 0o600, "it has more than 1024 bytes"),
        (b"k" * 32, 0o640, "others may read it, so make another one, and keep it from them with chmod 600"),
    ],
)
def test_a_file_that_is_no_key_is_refused_with_its_reason(
    image: Path, tmp_path: Path, data: bytes, mode: int, why: str
) -> None:
    path = make_key(tmp_path / "key", data, mode)
    command = [str(image), "--listen", "127.0.0.1:0", "--key", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (2, f"{path} is no key: {why}\n")
    if "chmod" not in why:
        with pytest.raises(UsageError, match=why):
            read_key(path)


def test_a_key_that_is_not_there_is_told(image: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    command = [str(image), "--listen", "127.0.0.1:0", "--key", str(missing)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (2, f"{missing}: No such file or directory\n")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Device.open(f"tcp://127.0.0.1:9,key={missing}")
    done = subprocess.run([image, "--key", missing], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "usage: " in done.stderr  # a board behind its terminal has no use for one


def test_line_ends_behind_a_key_do_not_count(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key", b"0123456789abcdef\r\n")
    assert split_key(f"tcp://a:1,key={path}") == ("tcp://a:1", b"0123456789abcdef")
    assert split_key("tcp://a:1") == ("tcp://a:1", None)


def test_who_has_the_key_is_let_in_at_once(agent: Agent, key: Path) -> None:
    begin = time.monotonic()
    with Device.open(f"{agent.address},key={key}") as device:
        assert time.monotonic() - begin < 0.2  # no time-out was waited for
        assert device.name == agent.address
        require_all(device)
        assert device.line_counts().resent == 0
    assert agent.said[0][1] == "a host has come from 127.0.0.1"


@pytest.mark.parametrize("seed", range(2))
def test_who_has_the_key_is_let_in_over_a_lossy_line(agent: Agent, key: Path, seed: int) -> None:
    faults = Faults(drop=0.05, flip=0.05, dup=0.05, swap=0.05, noise=0.05, cut=2, away=0.05, seed=seed)
    with Device.open(f"{agent.address},key={key}", timeouts=HASTY, faults=faults) as device:
        device.configure(REPORTING)
        for piece in np.array_split(encode_words(EVENTS), 40):
            device.send(piece)
        assert device.tokens().tolist() == host_tokens(EVENTS)
        assert device.link.reconnects == device.faults_done["cut"] == 2


def test_a_host_without_the_key_or_with_another_is_told_and_disturbs_nobody(
    agent: Agent, key: Path, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other", mode=0o644)
    with Device.open(f"{agent.address},key={key}") as device:
        device.configure(REPORTING)
        for yields in (False, True):
            with pytest.raises(DeviceRefused, match=f"^{agent.address} lets in only who has its key: add ,key=FILE"):
                Device.open(agent.address, yields=yields)
            with pytest.raises(DeviceRefused, match=f"^{agent.address} has another key than the one given"):
                Device.open(f"{agent.address},key={other}", yields=yields)
        require_all(device)
        assert device.line_counts().reconnects == 0
    said = [line for _, line in agent.said]
    assert said.count("a host has come from 127.0.0.1 with another key") == 2
    assert not [line for line in said if "in the place" in line]


def test_what_was_heard_on_one_connection_opens_no_other(agent: Agent, key: Path) -> None:
    """A proof, whole as it was sent, said again; and a right answer to a challenge of before."""
    secret = key.read_bytes()
    with Stranger(agent) as first, Stranger(agent) as second:
        heard = Frame(Type.HELLO, 7, 0, answered(first.challenge(), secret))
        (again,) = second.say(heard)
        assert challenge_of(again.payload) == second.challenge()
        (welcome,) = first.say(heard)
        assert welcome.type == Type.HELLO | REPLY_BIT and challenge_of(welcome.payload) is None
        (once_more,) = first.say(heard)  # a reply that was lost is asked for again
        assert once_more.payload == welcome.payload
        (refused,) = second.say(Frame(Type.RESET, 1, 0, bytes(4)))
        assert (refused.type, Error.unpack(refused.payload).code) == (Type.ERROR, ErrorCode.KEY)


def test_challenges_are_never_the_same(agent: Agent) -> None:
    seen = set()
    for _ in range(30):
        with Stranger(agent) as stranger:
            seen.add(challenge := stranger.challenge())
            assert stranger.challenge() == challenge  # of one connection: what was lost is asked for again
    assert len(seen) == 30


def test_without_the_key_nothing_is_done(agent: Agent, key: Path) -> None:
    """No request but the right HELLO; nor is one flipped bit of the proof forgiven."""
    with Device.open(f"{agent.address},key={key}") as device, Stranger(agent) as stranger:
        device.configure(REPORTING)
        for kind in Type:
            if kind not in (Type.HELLO, Type.ERROR):
                (reply,) = stranger.say(Frame(kind, 3, device.session.id, b"\x01\0\0\0"))
                assert (reply.type, reply.seq, reply.session) == (Type.ERROR, 3, 0)
                assert Error.unpack(reply.payload).code == ErrorCode.KEY
        long = Frame(Type.EVENTS, 0, device.session.id, os.urandom(61_000))
        stranger.line.sendall(long.encode() * 3)
        good = bytearray(answered(stranger.challenge(), key.read_bytes()))
        good[-1] ^= 0x10
        (reply,) = stranger.say(Frame(Type.HELLO, 9, 0, bytes(good)))
        assert Error.unpack(reply.payload).code == ErrorCode.KEY and Error.unpack(reply.payload).request == Type.HELLO
        assert stranger.line.recv(1) == b""
        assert agent.process.poll() is None
        require_all(device)


def test_the_proof_is_the_one_of_the_specification(repository: Path) -> None:
    text = (repository / "firmware/lib/SPEC.md").read_text()
    proof = answered(bytes(range(0xA0, 0xB0)), bytes(range(32)))[18:]
    assert f"have the proof\n`{proof.hex()}`" in text
