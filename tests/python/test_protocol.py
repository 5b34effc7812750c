"""The wire: frames against vectors made elsewhere, messages, and the logic of the event stream."""

from __future__ import annotations

import contextlib
import random
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spedge
from spedge.base.errors import DeviceRefused
from spedge.base.outputs import Output
from spedge.events.evt2 import encode_words
from spedge.events.part import Part
from spedge.link.counts import Loss, Stats, Status
from spedge.link.frames import REPLY_BIT, VERSION, Frame, FrameReader, ProtocolError, Type
from spedge.link.protocol import (
    BOXES,
    Configuration,
    Error,
    Hello,
    Result,
    TokenPage,
    ValuesPage,
    pack_live,
    pack_tokenizer,
    unpack_outputs,
)
from spedge.link.steps import WIRE_BOX_DTYPE, BoxesPage, StepResult
from spedge.link.stream import EventSender, RetryTimer
from spedge.link.tokens import TOKEN_DTYPE
from spedge.tokens.settings import TokenizerSettings

LOGITS = (Output("logits", (2,)),)
HEAD = (Output("head", (6, 7)), Output("state", (8,)))


def result_of(payload: bytes) -> Result:
    return Result.unpack(payload, LOGITS)


def step_of(payload: bytes) -> Result:
    return Result.unpack(payload, HEAD, detects=True)


def vectors(repository: Path) -> list[tuple[Frame, bytes]]:
    found = []
    for line in (repository / "tests/golden/frames.txt").read_text().splitlines():
        kind, flags, seq, session, payload, wire = line.split()
        data = b"" if payload == "-" else bytes.fromhex(payload)
        found.append((Frame(int(kind, 16), int(seq, 16), int(session, 16), data, int(flags, 16)), bytes.fromhex(wire)))
    return found


def test_frames_are_those_of_the_vectors(repository: Path) -> None:
    for frame, wire in vectors(repository):
        assert frame.encode() == wire
        assert list(FrameReader().feed(wire)) == [frame]


def test_the_specification_shows_vectors_that_hold(repository: Path) -> None:
    text = (repository / "firmware/lib/SPEC.md").read_text()
    shown = re.search(r"<!-- vectors: frames -->\n```\n(.*?)```", text, re.DOTALL)
    assert shown
    lines = shown[1].splitlines()
    assert len(lines) >= 3
    assert set(lines) <= set((repository / "tests/golden/frames.txt").read_text().splitlines())


def test_the_specification_names_every_number_of_the_firmware(repository: Path) -> None:
    spec = (repository / "firmware/lib/SPEC.md").read_text()
    header = (repository / "firmware/app/protocol.h").read_text()
    messages = {name: int(value, 16) for name, value in re.findall(r"MSG_(\w+) = (0x\w+)", header)}
    assert messages.pop("REPLY_BIT") == REPLY_BIT
    assert messages == {kind.name: kind.value for kind in Type}
    for name, value in messages.items():
        assert f"### {value:02X} {name}" in spec
    for code in re.findall(r"ERROR_\w+ = (\d+)", header):
        assert f"\n| {code} |" in spec


@given(st.binary(max_size=1200), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_a_frame_survives_any_cuts(payload: bytes, kind: int, seq: int, session: int) -> None:
    frame = Frame(kind, seq, session, payload, flags=kind ^ 0xFF)
    wire = frame.encode()
    assert wire.count(0) == 1
    reader, piece = FrameReader(), 1 + seq % 50
    found = [f for at in range(0, len(wire), piece) for f in reader.feed(wire[at : at + piece])]
    assert found == [frame]
    assert (reader.frames, reader.corrupted) == (1, 0)


@given(st.binary(max_size=3000))
def test_noise_makes_no_frame_and_does_no_harm(noise: bytes) -> None:
    reader = FrameReader()
    good = Frame(1, 2, 3, b"good")
    assert list(reader.feed(noise + b"\0")) == []
    assert list(reader.feed(good.encode())) == [good]


def test_noise_without_end_does_not_fill_memory() -> None:
    reader = FrameReader(limit=1000)
    for _ in range(100):
        assert list(reader.feed(b"\x55" * 999)) == []
    assert reader.corrupted > 0
    assert len(reader._rest) <= 1000


@given(st.integers(0, 400), st.randoms(use_true_random=False))
def test_cut_messages_are_protocol_errors(length: int, rng: random.Random) -> None:
    payload = VERSION.to_bytes(2, "little") + rng.randbytes(length)
    for unpack in (
        Error.unpack, Status.unpack, TokenPage.unpack, result_of, step_of, Stats.unpack, ValuesPage.unpack,
        BoxesPage.unpack, unpack_outputs,
    ):  # fmt: skip
        with contextlib.suppress(ProtocolError):
            unpack(payload)
    with contextlib.suppress(ProtocolError):
        Hello.unpack(payload, 0)


@pytest.mark.parametrize(("spoken", "remedy"), [(VERSION - 1, "flash the firmware"), (VERSION + 3, "update spedge")])
def test_another_protocol_version_is_refused_with_both_named(spoken: int, remedy: str) -> None:
    """An older firmware is to be renewed, a newer one wants a newer host; the rest of HELLO may be anything."""
    with pytest.raises(DeviceRefused, match=f"protocol {spoken} and this spedge speaks {VERSION}: {remedy}") as refused:
        Hello.unpack(struct.pack("<H", spoken), 0)
    assert refused.value.exit_code == 3


def test_layouts_have_the_sizes_of_the_specification() -> None:
    assert struct.calcsize("<" + Status.LAYOUT) == 32
    assert len(pack_tokenizer(TokenizerSettings())) == 56
    assert TOKEN_DTYPE.itemsize == 20
    assert len(Configuration().pack(1)) == 96
    assert WIRE_BOX_DTYPE.itemsize == 22
    assert struct.calcsize("<" + Loss.LAYOUT) == 72


def test_an_imbalance_is_named() -> None:
    status = Status(0, 0, 0, 0, 0, 0, 0)
    good: dict[str, Any] = dict.fromkeys(Stats.__dataclass_fields__, 0)
    good |= {
        "status": status, "words": 12, "events": 9, "times": 2, "untimed": 1, "taken": 8, "in_tokens": 4, "pending": 1,
        "refractory": 2, "pool_lost": 1, "loss": Loss(offered=12, link=2, thinned=1, decoder=1, pool=1),
    }  # fmt: skip
    assert Stats(**good).imbalance(12) is None
    assert Stats(**good).imbalance(13) == "13 events were sent and the device knows of 12"
    for field in ("words", "taken", "in_tokens", "pending", "untimed", "refractory"):
        assert Stats(**good | {field: good[field] + 1}).imbalance(12) is not None
    for field in ("offered", "link", "thinned", "decoder", "pool"):
        loss = replace(good["loss"], **{field: getattr(good["loss"], field) + 1})
        assert Stats(**good | {"loss": loss}).imbalance() is not None


class Receiver:
    """A device's half of the stream, as SPEC.md section 4 says it, with room for 4 frames."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.room = 4

    def take(self, frame: Frame) -> tuple[int, int, Status]:
        if frame.seq == len(self.taken) % 65536 and self.room:
            self.taken.append(frame.payload)
            self.room -= 1
        return frame.seq, frame.flags, Status(len(self.taken) % 65536, self.room, 0, 0, 0, 0, 0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 120), st.floats(0, 0.4))
def test_every_frame_is_taken_once_and_in_order_over_a_bad_line(seed: int, count: int, bad: float) -> None:
    rng = random.Random(seed)
    sender, receiver = EventSender(1, credits=4), Receiver()
    for i in range(count):
        sender.offer(i.to_bytes(2, "little"))
    frames: list[Frame] = []
    acks: list[tuple[int, int, Status]] = []
    for _ in range(20000):
        while (frame := sender.next_frame()) is not None:
            frames += [frame] * (rng.random() > bad) + [frame] * (rng.random() < bad)
        if rng.random() < bad:
            rng.shuffle(frames)
        for frame in frames:
            acks += [receiver.take(frame)] * (rng.random() > bad)
        frames.clear()
        receiver.room = min(4, receiver.room + rng.randrange(3))
        if rng.random() < bad:
            rng.shuffle(acks)
        for ack in acks:
            sender.on_ack(*ack)
        acks.clear()
        if not sender.pending:
            break
        if sender.blocked:
            sender.on_status(Status(len(receiver.taken) % 65536, receiver.room, 0, 0, 0, 0, 0))
        elif rng.random() < 0.3:
            sender.rewind()
    assert receiver.taken == [i.to_bytes(2, "little") for i in range(count)]
    assert sender.pending == 0


def test_sequence_numbers_wrap() -> None:
    sender, receiver = EventSender(1, credits=4), Receiver()
    for i in range(70_000):
        sender.offer(b"%d" % i)
        frame = sender.next_frame()
        assert frame is not None
        receiver.room = 4
        sender.on_ack(*receiver.take(frame))
    assert len(receiver.taken) == 70_000
    assert (sender.pending, sender.resent) == (0, 0)


def test_one_complaint_about_a_gap_sends_the_window_again_once() -> None:
    sender, receiver = EventSender(1, credits=4), Receiver()
    for i in range(4):
        sender.offer(bytes([i]))
    frames = [sender.next_frame() for _ in range(4)]
    acks = [receiver.take(frame) for frame in frames[1:] if frame]  # the first is lost
    for ack in acks:
        sender.on_ack(*ack)
    again = []
    while (frame := sender.next_frame()) is not None:
        again.append(frame)
    assert [frame.seq for frame in again] == [0, 1, 2, 3]
    assert sender.resent == 4


def test_the_retry_timer_follows_the_line_and_backs_off() -> None:
    timer = RetryTimer(least=0.1, most=2.0)
    assert timer.seconds == 2.0
    now = 0.0
    for _ in range(50):
        timer.start(now)
        now += 0.2
        timer.heard(now)
    assert 0.2 <= timer.seconds < 0.3
    for _ in range(3):
        timer.retried(now)
    assert timer.seconds == pytest.approx(1.6, rel=0.1)
    timer.retried(now)
    assert timer.seconds == 2.0
    timer.heard(now + 1.9)
    assert timer.seconds < 0.3  # what followed a retry is not measured
    assert timer.left(now + 100) == 0.0


def test_token_pages_hold_what_was_packed() -> None:
    tokens = np.zeros(3, TOKEN_DTYPE)
    tokens["t"] = [1, 2, 2**40]
    payload = struct.pack("<HHIQQII", 1, 2, 3, 4, 5, 6, 7) + struct.pack("<IH", 9, 3) + tokens.tobytes()
    page = TokenPage.unpack(payload)
    assert page.status == Status(1, 2, 3, 4, 5, 6, 7)
    assert page.first == 9
    assert page.tokens.tolist() == tokens.tolist()


def test_messages_are_those_of_the_vectors(repository: Path) -> None:
    """Fields of the protocol against frames that were packed by hand."""
    payloads = {(frame.type, frame.session): frame.payload for frame, _ in vectors(repository)}
    session = 0xA1B2C3D4
    settings = TokenizerSettings(34, 34, 4, 12.0)
    configuration = Configuration(settings, mode="live", window_us=200_000, every_us=50_000, push=True)
    assert configuration.pack(session) == payloads[Type.CONFIGURE, 0]
    part = replace(configuration, part=Part(5, 260, 3)).pack(session)
    assert [i for i, (a, b) in enumerate(zip(part, configuration.pack(session), strict=True)) if a != b] == [
        73,
        74,
        92,
        93,
    ]
    assert (part[73], part[74:76], part[92:94]) == (3, b"\x05\0", b"\x04\x01")
    step = step_of(payloads[Type.RESULT_PUSH, session + 1])
    boxes = [(1.5, 2.0, 30.25, 8.0, 0.875, 1), (0.0, 100.0, 4.0, 5.0, 0.5, 65535)]
    assert (step.cause, step.t, step.run, step.outputs) == ("step", 149_999, 3, {})
    assert step.step and replace(step.step, boxes=None) == StepResult(None, 3, True, 70, 2, 1)  # type: ignore[arg-type]
    assert (step.boxes.tolist(), step.gone) == (boxes, (BOXES, "head", "state"))
    page = BoxesPage.unpack(payloads[Type.BOXES | REPLY_BIT, session + 1])
    assert (page.run, page.first, page.boxes.tolist()) == (3, 2, boxes[:1])
    result = result_of(payloads[Type.RESULT_PUSH, session])
    assert result.status == Status(4, 7, 0, 20, 0, 3, 0)
    assert (result.window, result.cost_tokenize, result.cost_embed) == (3, 1000, 2000)
    assert (result.cost_window, result.cost_encode) == (300, 40_000)
    assert (result.index, result.cause, result.code, result.t, result.newest) == (1, "every_us", 0, 100_000, 3)
    assert result.latency == 45_000
    assert result.loss == Loss(offered=1010, link=990, since=64, until=101)
    assert (result.loss.lost, result.loss.by_cause["link"]) == (990, 990)
    assert result.logits.tolist() == [1.5, -0.25]
    events = np.zeros(2, spedge.EVENT_DTYPE)
    events["t"], events["x"], events["y"], events["p"] = [100, 101], [5, 6], [7, 8], [1, 0]
    words = encode_words(events, 0, first=True).astype("<u4").tobytes()
    live = [frame.payload for frame, _ in vectors(repository) if frame.type == Type.EVENTS]
    assert pack_live(1000, 10, words) in live


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ((0, 0, 0), ""),
        ((1, 0x08001234, 0x8200), "its core took a fault at 0x08001234 (0x00008200)"),
        (
            (1, 0, 0x92),
            "its core took a fault at an unknown place (0x00000092), most likely because its stack ran over",
        ),
        ((2, 0, 0), "it hung, and its watchdog reset it"),
        ((9, 0, 0), "for reason 9"),
    ],
)
def test_hello_says_how_the_firmware_ended(end: tuple[int, int, int], words: str) -> None:
    payload = struct.pack("<HBBHHIIHHHBBIII", VERSION, 0, 0, 1024, 2, *[0] * 10) + bytes(32) + bytes(4)
    assert Hello.unpack(payload + struct.pack("<BII", *end), 0).ended == words
