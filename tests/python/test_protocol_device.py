"""The device application behind the real protocol: the `sim` board, built with the address sanitizer."""

from __future__ import annotations

import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge.base.errors import DeviceError, UsageError
from spedge.base.outputs import Output
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.link.counts import Stats, Status
from spedge.link.faults import Faults, FaultyTransport
from spedge.link.frames import REPLY_BIT, ErrorCode, Frame, FrameReader, Type
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration, Error
from spedge.link.tokens import as_reported
from spedge.tokens.settings import TokenizerSettings
from tests.ends import HASTY, SETTINGS, host_tokens, sim_process
from tests.events import scattered
from tests.needs import needs
from tests.tiny import SANITIZED, Slow, build_firmware

needs("cc")


QUICK = Timeouts(silence=1.5)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A firmware without a model."""
    return build_firmware("sim", tmp_path_factory.mktemp("bare") / "firmware", extra=SANITIZED)


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    return SANITIZED


def some_events(n: int = 6000, seed: int = 0, side: int = 34) -> np.ndarray:
    return scattered(n, 40 * n, seed, side)


# ---- what a device does ------------------------------------------------------------------------------------------


def test_hello_says_what_the_model_is(device: Device) -> None:
    hello = device.hello
    assert (hello.board, hello.model, hello.cost_unit) == ("sim", "tiny", "ns")
    assert (hello.window_tokens, hello.width, hello.height) == (24, 34, 34)
    assert (hello.task, hello.outputs, hello.numbers) == ("classification", 1, 3)
    assert hello.model_hash is not None and len(hello.model_hash) == 32
    assert device.outputs == (Output("logits", (3,)),)


@pytest.mark.parametrize("report_tokens", [1, 7, 1000])
def test_tokens_are_those_of_the_host_however_few_the_device_keeps(device: Device, report_tokens: int) -> None:
    events = some_events()
    device.configure(Configuration(SETTINGS, model=False, report_tokens=report_tokens))
    device.send(encode_words(events))
    tokens = device.tokens()
    assert len(tokens) > 300
    assert tokens.tolist() == host_tokens(events)
    assert device.stats().imbalance(len(events)) is None


def test_pieces_make_no_difference(device: Device) -> None:
    events = some_events(2000)
    data = encode_words(events).tobytes()
    device.configure(Configuration(SETTINGS, model=False, report_tokens=64))
    for at in range(0, len(data), 333):  # words are cut
        device.send(data[at : at + 333])
    assert device.tokens().tolist() == host_tokens(events)


@pytest.mark.parametrize(
    "settings",
    [
        {"absolute_refractory_us": 3000},
        {"relative_refractory_us": 9000, "relative_scale": 0.3},
        {"decay_per_us": 0.0005},
        {"pool_events": 320},
        {"kind": "discrete", "duration_us": 30_000},
        {"kind": "discrete", "duration_us": 100_000, "absolute_refractory_us": 3000, "pool_events": 640},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_every_event_is_accounted_for_and_counted_as_on_the_host(device: Device, settings: dict) -> None:
    events = some_events()
    pool = settings.get("pool_events", 0)
    own = {name: value for name, value in settings.items() if name != "pool_events"}
    wanted = TokenizerSettings(34, 34, 4, 12.0, **own)
    configured = device.configure(Configuration(wanted, model=False, report_tokens=64, pool_events=pool))
    device.send(encode_words(events))
    tokenizer = spedge.Tokenizer(
        width=34, height=34, patch_size=4, threshold=12.0, pool_events=configured.pool_events, **own
    )
    host = tokenizer.push(events)
    assert device.tokens().tolist() == as_reported(host).tolist()
    stats = device.stats()
    assert stats.imbalance(len(events)) is None
    dropped = {name: getattr(tokenizer.stats, name) for name in stats.dropped if name != "untimed"}
    assert stats.dropped == dropped | {"untimed": 0}
    assert sum(dropped.values()) > 0 or "relative_scale" in settings  # that one drops nothing
    assert stats.status.lost == dropped["pool_lost"]


def test_inference_is_repeatable_and_reset_forgets(device: Device) -> None:
    events = some_events(3000)
    device.configure(Configuration())
    empty = device.infer()
    assert (empty.window, empty.status.tokens) == (0, 0)
    for _ in range(2):
        device.reset()
        assert device.stats().taken == 0
        device.send(encode_words(events))
        first, second = device.infer(), device.infer()
        assert first.window == 24
        assert first.logits.tolist() == second.logits.tolist() != empty.logits.tolist()
        assert min(first.cost_tokenize, first.cost_embed, first.cost_window, first.cost_encode) > 0


def test_a_firmware_without_a_model_makes_tokens_and_says_why_it_infers_nothing(bare: Path) -> None:
    with open_board(load_board("sim"), bare) as device:
        assert device.hello.model_hash is None
        with pytest.raises(DeviceError, match="this firmware has no model"):
            device.configure(Configuration(model=True))
        device.configure(Configuration(SETTINGS, model=False))
        device.send(encode_words(some_events(100)))
        assert device.flush().events == 100
        with pytest.raises(DeviceError, match="this firmware has no model"):
            device.infer()
        with pytest.raises(UsageError, match="report_tokens"):
            device.tokens()


def test_a_board_with_little_room_for_frames(tmp_path: Path) -> None:
    sizes = ("-DSP_APP_PAYLOAD_BYTES=384u", "-DSP_APP_CREDITS=1u")
    events = some_events(3000)
    with open_board(load_board("sim"), build_firmware("sim", tmp_path / "firmware", extra=sizes)) as device:
        assert (device.hello.max_payload, device.hello.credits) == (384, 1)
        device.configure(Configuration(SETTINGS, model=False, report_tokens=3))
        device.send(encode_words(events))
        assert device.tokens().tolist() == host_tokens(events)


def test_the_template_of_a_port_builds(repository: Path, tmp_path: Path) -> None:
    """It lacks only the chip: what porting asks for is what is there."""
    firmware = repository / "firmware"
    sources = [path for part in ("lib/src", "app", "port/template") for path in (firmware / part).rglob("*.c")]
    includes = [f"-I{firmware / part}" for part in ("lib/include", "runtime/include", "app", "port", "port/template")]
    options = ["-std=gnu99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", '-DSP_BOARD_NAME="sim"']
    subprocess.run(["cc", *options, *includes, *sources, "-lm", "-o", tmp_path / "firmware"], check=True)


def test_too_much_memory_is_refused_with_both_numbers_and_nothing_changes(device: Device) -> None:
    device.configure(Configuration(SETTINGS, model=False))
    device.send(encode_words(some_events(500)))
    before = device.flush()
    with pytest.raises(DeviceError, match=r"needs more memory .*\(\d{8,} bytes needed, 134217728 available\)"):
        device.configure(Configuration(SETTINGS, model=False, report_tokens=20_000_000))
    with pytest.raises(DeviceError, match="needs more memory"):
        device.configure(Configuration(SETTINGS, model=False, pool_events=2**31 - 100))
    for bad in (TokenizerSettings(0, 34), TokenizerSettings(34, 34, 4, -1.0), TokenizerSettings(34, 34, 4, np.nan)):
        with pytest.raises(DeviceError, match="out of range"):
            device.configure(Configuration(bad, model=False))
    assert device.flush() == before


# ---- what a device must not do -----------------------------------------------------------------------------------


class Raw:
    """Frames by hand."""

    def __init__(self, device: Device) -> None:
        self.transport = device.link.transport
        self.reader = FrameReader()
        self.session = device.hello.session

    def ask(self, kind: int, payload: bytes = b"", session: int | None = None, seq: int = 77, flags: int = 5) -> Frame:
        frame = Frame(kind, seq, self.session if session is None else session, payload, flags)
        return self.tell(frame.encode())

    def tell(self, wire: bytes, wait: float = 5.0) -> Frame:
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            written, received = self.transport.exchange(wire, 0.1)
            wire = wire[written:]
            for frame in self.reader.feed(received):
                return frame
        raise TimeoutError

    def configure(self, session: int, old: int = 0) -> Frame:
        self.session = session
        return self.ask(Type.CONFIGURE, Configuration(SETTINGS, False, 16).pack(session), old)

    def stats(self) -> Stats:
        return Stats.unpack(self.ask(Type.STATS).payload)

    def state(self) -> tuple:
        """Everything that is the session's and not the link's, once all events are processed."""
        assert self.ask(Type.FLUSH).type == Type.FLUSH | REPLY_BIT
        stats = self.stats()
        link = ("frames", "corrupted", "oversized", "truncated", "repeated", "refused")
        return tuple(getattr(stats, name) for name in Stats.__dataclass_fields__ if name not in link)


@pytest.fixture
def raw(device: Device) -> Raw:
    return Raw(device)


def code_of(frame: Frame) -> int:
    assert frame.type == Type.ERROR
    return Error.unpack(frame.payload).code


WORDS = encode_words(some_events(200)).tobytes()


def test_replies_carry_number_flags_and_session_of_the_request(raw: Raw) -> None:
    raw.configure(9)
    sizes = {Type.HELLO: 2, Type.OUTPUTS: 2, Type.VALUES: 8, Type.FLUSH: 0, Type.STATS: 0, Type.TOKENS: 6}
    for kind, size in sizes.items():
        reply = raw.ask(kind, bytes(size), seq=4321, flags=0xA5)
        assert (reply.type, reply.seq, reply.flags, reply.session) == (kind | REPLY_BIT, 4321, 0xA5, 9)


def test_unknown_types_and_wrong_lengths_are_errors(raw: Raw) -> None:
    raw.configure(9)
    before = raw.state()
    for kind in (0x00, 0x10, 0x40, 0x42, 0x80, 0x85, 0xFE, 0xFF):
        assert code_of(raw.ask(kind, b"abc")) == ErrorCode.TYPE
    for kind in Type:
        if kind not in (Type.ERROR, Type.EVENTS, Type.RESULT_PUSH):
            assert code_of(raw.ask(kind, bytes(51 if kind == Type.HELLO else 7))) == ErrorCode.LENGTH
    assert code_of(raw.ask(Type.HELLO, bytes(1))) == ErrorCode.LENGTH
    assert raw.ask(Type.HELLO, bytes(50)).type == Type.HELLO | REPLY_BIT  # an answer that nobody asked for
    assert code_of(raw.ask(Type.EVENTS, b"", seq=0)) == ErrorCode.LENGTH
    assert raw.state() == before


def test_another_representation_than_tokens_is_refused(raw: Raw) -> None:
    wanted = bytearray(Configuration(SETTINGS, False, 16).pack(9))
    wanted[16 + 7] = 1  # a bundle's representation "events"
    reply = raw.ask(Type.CONFIGURE, bytes(wanted), 0)
    assert code_of(reply) == ErrorCode.VALUE and Error.unpack(reply.payload).text.startswith(
        "this firmware makes tokens"
    )
    assert raw.stats().memory_used == 0


def test_before_configure_there_is_no_session(raw: Raw) -> None:
    for kind, payload in ((Type.EVENTS, WORDS[:100]), (Type.FLUSH, b""), (Type.INFER, b""), (Type.RESET, b"\1\0\0\0")):
        assert code_of(raw.ask(kind, payload, seq=0)) == ErrorCode.NO_SESSION
    assert raw.stats().taken == 0


def test_frames_of_another_session_change_nothing(raw: Raw) -> None:
    raw.configure(9)
    raw.ask(Type.EVENTS, WORDS[:800], seq=0)
    before = raw.state()
    for session in (0, 8, 10, 2**32 - 1):
        for kind, payload, seq in (
            (Type.EVENTS, WORDS[:800], 1),
            (Type.FLUSH, b"", 3),
            (Type.TOKENS, bytes(6), 3),
            (Type.INFER, b"", 3),
            (Type.RESET, b"\7\0\0\0", 3),
            (Type.CONFIGURE, Configuration(SETTINGS, False).pack(7), 3),
        ):
            assert code_of(raw.ask(kind, payload, session, seq)) == ErrorCode.SESSION
    assert raw.state() == before


def test_repeated_openings_are_answered_and_not_done_again(raw: Raw) -> None:
    first = raw.configure(9)
    raw.ask(Type.EVENTS, WORDS[:400], seq=0)
    before = raw.state()
    assert raw.configure(9, old=0) == first
    assert raw.state() == before
    assert raw.stats().words == 100
    assert raw.ask(Type.RESET, b"\x0a\0\0\0", session=9).type == Type.RESET | REPLY_BIT
    raw.session = 10
    raw.ask(Type.EVENTS, WORDS[:400], seq=0)
    before = raw.state()
    again = raw.ask(Type.RESET, b"\x0a\0\0\0", session=9)
    assert again.type == Type.RESET | REPLY_BIT
    assert raw.state() == before
    assert code_of(raw.configure(9, old=0)) == ErrorCode.SESSION  # an opening older than that
    raw.session = 10
    for session in (0, 10):
        assert code_of(raw.ask(Type.RESET, struct.pack("<I", session))) == ErrorCode.VALUE
    assert raw.state() == before


def test_repeated_and_missing_events_frames_change_nothing(raw: Raw) -> None:
    raw.configure(9)
    for seq, next_seq in ((1, 0), (65535, 0), (0, 1), (0, 1), (2, 1), (1, 2), (0, 2), (1, 2), (2, 3), (30000, 3)):
        status = Status.unpack(raw.ask(Type.EVENTS, WORDS[:80], seq=seq).payload)
        assert status.next_seq == next_seq
    stats = raw.stats()
    assert (stats.words, stats.repeated, stats.refused) == (60, 4, 3)


def test_events_beyond_the_credits_are_refused_and_not_lost(raw: Raw, device: Device) -> None:
    raw.session = 9
    settings = TokenizerSettings(34, 34, 4, 1.0)  # a token per event
    raw.ask(Type.CONFIGURE, Configuration(settings, False, 4).pack(9), 0)
    words = encode_words(some_events(9000)).tobytes()
    seq = 0
    for _ in range(30):
        status = Status.unpack(raw.ask(Type.EVENTS, words[1024 * seq : 1024 * (seq + 1)], seq=seq).payload)
        seq = status.next_seq
    assert (status.credits, status.unread) == (0, 4)
    assert seq == device.hello.credits  # what was processed is less than a frame
    assert Error.unpack(raw.ask(Type.INFER).payload).code == ErrorCode.NO_MODEL
    assert code_of(raw.ask(Type.TOKENS, struct.pack("<IH", 5, 1))) == ErrorCode.RANGE
    raw.ask(Type.TOKENS, struct.pack("<IH", 4, 4))
    assert code_of(raw.ask(Type.TOKENS, struct.pack("<IH", 3, 4))) == ErrorCode.RANGE
    assert raw.stats().tokens == 8


def test_inference_is_refused_while_unread_tokens_hold_up_events(raw: Raw) -> None:
    raw.session = 9
    raw.ask(Type.CONFIGURE, Configuration(TokenizerSettings(), True, 2).pack(9), 0)
    words = encode_words(some_events(4000)).tobytes()
    for seq in range(8):
        raw.ask(Type.EVENTS, words[1024 * seq : 1024 * (seq + 1)], seq=seq)
    reply = raw.ask(Type.INFER)
    assert code_of(reply) == ErrorCode.UNREAD
    assert "(2 of them)" in Error.unpack(reply.payload).sentence()


def test_a_repeated_inference_is_not_computed_again(raw: Raw) -> None:
    raw.session = 9
    raw.ask(Type.CONFIGURE, Configuration(TokenizerSettings(), True, 0).pack(9), 0)
    raw.ask(Type.EVENTS, WORDS[:1024], seq=0)
    first = raw.ask(Type.INFER, seq=5)
    assert raw.ask(Type.INFER, seq=5) == first
    assert raw.ask(Type.INFER, seq=6).payload != first.payload  # its own costs, in ns


def test_garbage_changes_nothing_and_the_device_still_answers(raw: Raw) -> None:
    raw.configure(9)
    raw.ask(Type.EVENTS, WORDS[:400], seq=0)
    before = raw.state()
    random = np.random.default_rng(1)
    good = Frame(Type.EVENTS, 1, 9, WORDS[:400]).encode()
    for _ in range(100):
        noise = random.integers(0, 256, random.integers(1, 3000), np.uint8).tobytes()
        cut = good[: random.integers(1, len(good) - 1)]
        flipped = bytearray(good)
        flipped[random.integers(0, len(good) - 1)] ^= 1 << random.integers(0, 8)
        raw.tell(noise + b"\0" + cut + b"\0" + bytes(flipped) + Frame(Type.STATS, 0, 9).encode())
    assert raw.state() == before
    stats = raw.stats()
    assert stats.corrupted + stats.oversized + stats.truncated >= 300


# ---- a bad line --------------------------------------------------------------------------------------------------

BAD_LINES = {
    "drop": Faults(drop=0.05),
    "flip": Faults(flip=0.05),
    "dup": Faults(dup=0.05),
    "swap": Faults(swap=0.05),
    "noise": Faults(noise=0.1),
    "all": Faults(drop=0.02, flip=0.02, dup=0.02, swap=0.02, noise=0.02),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_changes_no_token_and_no_logit(image: Path, name: str) -> None:
    events = some_events(8_000, seed=3)
    words = encode_words(events)
    with open_board(load_board("sim"), image, timeouts=HASTY) as device:
        device.configure(Configuration(report_tokens=32))
        device.send(words)
        clean = device.tokens(), device.infer().logits.tolist()
        line = FaultyTransport(device.link.transport, replace(BAD_LINES[name], seed=len(name)))
        device.link.transport = line
        for _ in range(2):
            device.reset()
            device.send(words)
            tokens = device.tokens()
            assert tokens.tolist() == clean[0].tolist()
            assert device.infer().logits.tolist() == clean[1]
            assert device.stats().imbalance(len(events)) is None
        assert line.done.total() > 3
        if name in ("drop", "flip"):
            assert device.resent > 0


# ---- devices that are another's, or slow --------------------------------------------------------------------------


def test_a_restarted_device_is_noticed(device: Device) -> None:
    device.configure(Configuration(report_tokens=8))
    device.send(encode_words(some_events(3000)))
    Raw(device).ask(Type.RESET, b"\x01\0\0\0", session=device.session.id)  # somebody else begins a session
    for action in (device.flush, device.stats, device.infer, device.tokens, lambda: device.send(WORDS)):
        with pytest.raises(DeviceError, match="was restarted or taken over"):
            action()


def test_a_closed_terminal_can_be_opened_again(image: Path) -> None:
    device, process = sim_process(image)
    path = device.name
    device.link.transport.close()
    for _ in range(3):
        with Device.open(path, timeouts=QUICK) as again:
            again.configure(Configuration(SETTINGS, model=False, report_tokens=4))
            frame = Frame(Type.EVENTS, 0, again.session.id, WORDS[:1000])
            again.link._out += frame.encode()[:-7]  # it ends within a frame
            again.link.pump(0)
        assert process.poll() is None
    device.close()
    assert process.wait(5) is not None


def test_a_slow_line_is_waited_for_and_sent_nothing_twice(image: Path) -> None:
    """More than the silence passes between two acknowledgements."""
    device, _ = sim_process(image, Timeouts(resend_least=0.05, resend_most=0.1, silence=0.4))
    with device:
        device.configure(Configuration(SETTINGS, model=False, report_tokens=64))
        device.link.transport = Slow(device.link.transport, 1500)
        device.send(WORDS[:800] * 4)
        assert device.flush().queued == 0
        assert device.resent == 0
