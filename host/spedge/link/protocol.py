"""The wire of firmware/lib/SPEC.md: frames and messages, packed and unpacked. Pure data, no input or output."""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from cobs import cobs
from numpy.typing import NDArray

from spedge import _native
from spedge.base.errors import DeviceError, UsageError
from spedge.events.formats import FORMATS, format_name
from spedge.tokens.settings import KINDS, TokenizerSettings

VERSION = 3
REPLY_BIT = 0x80
FLAG_YIELD = 1  #: of HELLO's frame: leave the device to the host that has it, if there is another one

_HEADER = struct.Struct("<BBHI")
_CRC = struct.Struct("<I")

#: A token as the device reports it. `crc` is the CRC-32 of its events: t u64, x u16, y u16, p u8, little-endian.
TOKEN_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4"), ("crc", "<u4")])

#: What the CRC of a token is taken over, per event.
PACKED_EVENT_DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])


class Type(enum.IntEnum):
    """Requests. The reply has REPLY_BIT set, or is ERROR."""

    HELLO = 0x01
    LABELS = 0x02
    CONFIGURE = 0x03
    RESET = 0x04
    EVENTS = 0x05
    FLUSH = 0x06
    TOKENS = 0x07
    INFER = 0x08
    STATS = 0x09
    RESULTS = 0x0A
    RAW = 0x0B
    RESULT_PUSH = 0x40  #: of the device, unasked
    ERROR = 0xFF


class ErrorCode(enum.IntEnum):
    TYPE = 1
    LENGTH = 2
    SESSION = 3
    NO_SESSION = 4
    VALUE = 5
    MEMORY = 6
    NO_MODEL = 7
    RANGE = 8
    UNREAD = 9
    MODEL = 10
    FAULT = 11
    TAKEN = 12


MODES = ("lossless", "live")
SOURCES = ("link", "camera", "ram")
CAUSES = ("asked", "every_us", "every_tokens")
COST_UNITS = {0: "none", 1: "instructions", 2: "ns", 3: "cycles"}


class ProtocolError(DeviceError):
    """A good frame whose payload does not say what its type promises."""


@dataclass(frozen=True)
class Frame:
    """One frame. `flags` of a request come back in its reply."""

    type: int
    seq: int
    session: int
    payload: bytes = b""
    flags: int = 0

    def encode(self) -> bytes:
        """The frame on the wire, with its delimiter."""
        return _native.encode_frame(self.type, self.flags, self.seq, self.session, self.payload)


@dataclass
class FrameReader:
    """Collects bytes, yields good frames, counts the others."""

    limit: int = 1 << 16
    frames: int = 0
    corrupted: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        self._rest += data
        while (end := self._rest.find(0)) >= 0:
            chunk = bytes(self._rest[:end])
            del self._rest[: end + 1]
            if chunk:
                frame = self._open(chunk)
                if frame is not None:
                    self.frames += 1
                    yield frame
        if len(self._rest) > self.limit:  # noise without a delimiter
            self.corrupted += 1
            self._rest.clear()

    def _open(self, chunk: bytes) -> Frame | None:
        try:
            body = bytes(cobs.decode(chunk))
        except cobs.DecodeError:
            body = b""
        if len(body) < _HEADER.size + _CRC.size or zlib.crc32(body[:-4]) != _CRC.unpack(body[-4:])[0]:
            self.corrupted += 1
            return None
        kind, flags, seq, session = _HEADER.unpack_from(body)
        return Frame(kind, seq, session, body[_HEADER.size : -_CRC.size], flags)


class _Reader:
    """Takes fields from a payload; every shortage is a ProtocolError."""

    def __init__(self, payload: bytes, what: str) -> None:
        self._payload = payload
        self._at = 0
        self._what = what

    def take(self, layout: str) -> tuple:  # the types are those of the layout
        try:
            values = struct.unpack_from("<" + layout, self._payload, self._at)
        except struct.error:
            raise ProtocolError(f"the device sent a {self._what} of only {len(self._payload)} bytes") from None
        self._at += struct.calcsize("<" + layout)
        return values

    def raw(self, n: int) -> bytes:
        return bytes(self.take(f"{n}s")[0])

    def string(self) -> str:
        (n,) = self.take("B")
        return self.raw(n).decode("utf-8", "replace")

    @property
    def left(self) -> int:
        return len(self._payload) - self._at


@dataclass(frozen=True)
class Error:
    """An ERROR reply. `detail` depends on the code (SPEC.md)."""

    code: int
    request: int
    detail: tuple[int, int]
    text: str

    @classmethod
    def unpack(cls, payload: bytes) -> Error:
        reader = _Reader(payload, "ERROR")
        code, request, a, b = reader.take("HBII")
        return cls(code, request, (a, b), reader.string())

    def sentence(self) -> str:
        """What the device said, with the numbers that its code gives meaning to."""
        a, b = self.detail
        more = {
            ErrorCode.MEMORY: f" ({a} bytes needed, {b} available)",
            ErrorCode.UNREAD: f" ({a} of them)",
            ErrorCode.MODEL: f" (code {a - (1 << 32) if a >> 31 else a})",
            ErrorCode.FAULT: f" (0x{a:08x}, 0x{b:08x})",
            ErrorCode.SESSION: f" (0x{a:08x}; the device is in 0x{b:08x})",
        }
        return self.text + more.get(ErrorCode(self.code) if self.code in list(ErrorCode) else ErrorCode.TYPE, "")


@dataclass(frozen=True)
class Hello:
    """Who the device is. `memory_bytes` is the block it carves sessions from; `model_hash` is None without a model."""

    protocol: int
    session: int
    cost_unit: str
    max_payload: int
    credits: int
    memory_bytes: int
    arena_bytes: int
    window_tokens: int
    classes: int
    width: int
    height: int
    model_hash: bytes | None
    version: str
    build: str
    board: str
    model: str
    has_camera: bool = False
    has_ram: bool = False

    @classmethod
    def unpack(cls, payload: bytes, session: int) -> Hello:
        """Raises DeviceError, naming both versions, when the device speaks another protocol."""
        reader = _Reader(payload, "HELLO")
        (protocol,) = reader.take("H")
        if protocol != VERSION:
            raise DeviceError(
                f"the device speaks protocol {protocol} and this spedge speaks {VERSION}: "
                "flash the firmware that belongs to this version of spedge"
            )
        flags, unit, max_payload, credits, memory, arena, tokens, classes, width, height = reader.take("BBHHIIHHHH")
        model_hash = reader.raw(32)
        version, build, board, model = (reader.string() for _ in range(4))
        return cls(
            protocol, session, COST_UNITS.get(unit, f"unit {unit}"), max_payload, credits, memory, arena, tokens,
            classes, width, height, model_hash if flags & 1 else None, version, build, board, model,
            bool(flags & 2), bool(flags & 4),
        )  # fmt: skip


_TOKENIZER = struct.Struct("<HHHBBdQQddQ")


def pack_tokenizer(settings: TokenizerSettings) -> bytes:
    """The tokenizer in CONFIGURE; a 0 means default where sp_tokenizer_config_t names one. pool_events is apart."""
    s = settings
    return _TOKENIZER.pack(
        s.width, s.height, s.patch_size, KINDS.index(s.kind), 0, s.threshold, s.absolute_refractory_us,
        s.relative_refractory_us, s.relative_scale, s.decay_per_us, s.duration_us or 0,
    )  # fmt: skip


def _take_tokenizer(reader: _Reader) -> TokenizerSettings:
    w, h, patch, kind, _, threshold, absolute, relative, scale, decay, duration = reader.take(_TOKENIZER.format[1:])
    if kind >= len(KINDS):
        raise ProtocolError(f"the device names a tokenizer of the unknown kind {kind}")
    name = KINDS[kind]
    lasting = None if name == "continuous" else duration
    return TokenizerSettings(w, h, patch, threshold, absolute, relative, scale, decay, name, lasting)


@dataclass(frozen=True)
class Configuration:
    """CONFIGURE. model: take tokenizer, embedding and window from the device's model and ignore `tokenizer`.

    report_tokens: how many tokens the device keeps for TOKENS, 0 for none; processing waits while all are unread.
    In live mode the oldest are overwritten instead.
    pool_events: slots for pending events, 0 for as many as fit.
    format: of the raw events, one of FORMATS. mode: one of MODES. source: where the events come from, one of SOURCES;
    baud: of the camera port, 0 for the board's default.
    every_us, every_tokens: an inference at every multiple of that stream time, after every so many tokens; 0 for none.
    window_us: how old the tokens of an inference may be, 0 for any. push: the device sends results unasked.
    raw: the bytes of a camera or of RAM are kept for `Device.raw`.
    """

    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: bool = True
    report_tokens: int = 0
    pool_events: int = 0
    format: str = "evt2"
    mode: str = "lossless"
    source: str = "link"
    baud: int = 0
    window_us: int = 0
    every_us: int = 0
    every_tokens: int = 0
    push: bool = False
    raw: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a name or number that cannot be sent."""
        object.__setattr__(self, "format", format_name(self.format))
        for name, known in (("mode", MODES), ("source", SOURCES)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} {getattr(self, name)!r} is unknown; use one of {', '.join(known)}")
        for name in ("report_tokens", "pool_events", "baud", "window_us", "every_us", "every_tokens"):
            if not 0 <= getattr(self, name) < 1 << 32:
                raise UsageError(f"{name}={getattr(self, name)} is out of range; it must be 0 to {(1 << 32) - 1}")

    @property
    def infers(self) -> bool:
        """Whether the device makes results unasked."""
        return self.every_us > 0 or self.every_tokens > 0

    def pack(self, session: int) -> bytes:
        flags = int(self.model) | int(self.push) << 1 | int(self.raw) << 2
        form, mode = FORMATS[self.format].wire, MODES.index(self.mode)
        head = struct.pack("<IHBBII", session, flags, form, mode, self.report_tokens, self.pool_events)
        tail = struct.pack(
            "<BBHIIII", SOURCES.index(self.source), 0, 0, self.baud, self.window_us, self.every_us, self.every_tokens
        )
        return head + pack_tokenizer(self.tokenizer) + tail


@dataclass(frozen=True)
class Configured:
    """What CONFIGURE came to: the settings in effect, with defaults filled in."""

    tokenizer: TokenizerSettings
    pool_events: int
    report_tokens: int
    memory_used: int
    window_tokens: int
    hidden: int
    buckets: int
    model: bool
    results: int = 0  #: kept until they are read

    @classmethod
    def unpack(cls, payload: bytes) -> Configured:
        reader = _Reader(payload, "CONFIGURE reply")
        settings = _take_tokenizer(reader)
        pool, reports, used, window, hidden, buckets, flags, _, results = reader.take("IIIHHBBBB")
        return cls(settings, pool, reports, used, window, hidden, buckets, bool(flags & 1), results)


@dataclass(frozen=True)
class Status:
    """Where the stream stands.

    next_seq: the EVENTS frame expected next; credits: further frames that fit; queued: bytes accepted and not yet
    processed; events: taken by the tokenizer; lost: events that were lost for any reason but the method's own;
    tokens: fired; unread: tokens kept for TOKENS.
    """

    next_seq: int
    credits: int
    queued: int
    events: int
    lost: int
    tokens: int
    unread: int

    LAYOUT = "HHIQQII"

    @classmethod
    def take(cls, reader: _Reader) -> Status:
        return cls(*reader.take(cls.LAYOUT))

    @classmethod
    def unpack(cls, payload: bytes) -> Status:
        return cls.take(_Reader(payload, "status"))


@dataclass(frozen=True)
class RawPage:
    """Bytes of the source on the board; the first is the `first`-th of the session."""

    status: Status
    first: int
    data: bytes

    @classmethod
    def unpack(cls, payload: bytes) -> RawPage:
        reader = _Reader(payload, "RAW reply")
        status = Status.take(reader)
        (first,) = reader.take("Q")
        return cls(status, first, reader.raw(reader.left))


@dataclass(frozen=True)
class TokenPage:
    """Reply to TOKENS: tokens first, first + 1, … as TOKEN_DTYPE."""

    status: Status
    first: int
    tokens: NDArray

    @classmethod
    def unpack(cls, payload: bytes) -> TokenPage:
        reader = _Reader(payload, "TOKENS reply")
        status = Status.take(reader)
        first, count = reader.take("IH")
        return cls(status, first, np.frombuffer(reader.raw(count * TOKEN_DTYPE.itemsize), TOKEN_DTYPE))


@dataclass(frozen=True)
class Loss:
    """Where events were lost since the session began. Once nothing is queued, offered = accepted + lost.

    offered: events that the source had, as far as is known. sensor: bytes (not events, in no sum) that the camera
    port's receiver lost; link: events thinned by the host or lost on the link; thinned: of the camera, left out by the
    device; decoder: without a time, outside the sensor, backwards in time, and words of unknown types; pool: lost to a
    full pool. since, until: stream time, µs, of the first and last loss since the result before, 0 without any.
    results_dropped: results that were overwritten before they were read or sent.
    """

    offered: int = 0
    sensor: int = 0
    link: int = 0
    thinned: int = 0
    decoder: int = 0
    pool: int = 0
    since: int = 0
    until: int = 0
    results_dropped: int = 0

    LAYOUT = "9Q"

    @property
    def lost(self) -> int:
        """Events lost, for whatever reason."""
        return self.link + self.thinned + self.decoder + self.pool

    @property
    def by_cause(self) -> dict[str, int]:
        """Events lost, by cause, and under "sensor" bytes."""
        return {name: getattr(self, name) for name in ("sensor", "link", "thinned", "decoder", "pool")}

    @classmethod
    def take(cls, reader: _Reader) -> Loss:
        return cls(*reader.take(cls.LAYOUT))


@dataclass(frozen=True)
class Result:
    """One inference: logits float32 [classes] of the newest `window` tokens. NaN when the model failed with `code`.

    Costs are in the unit of HELLO. tokenize (with decoding) and embed: since the session began; window (positions
    in time, copied to the encoder) and encode: of this inference.
    index counts the results that were not asked for; one that was asked for has that of the next. cause: one of
    CAUSES. t: stream time in µs that it stands for, as the device counts it. newest: tokens fired when it was computed.
    latency: from when the bytes of the newest event had arrived until the logits were there, in the unit of HELLO.
    """

    status: Status
    window: int
    cost_tokenize: int
    cost_embed: int
    cost_window: int
    cost_encode: int
    index: int
    cause: str
    code: int
    t: int
    newest: int
    latency: int
    loss: Loss
    logits: NDArray[np.float32]

    @classmethod
    def unpack(cls, payload: bytes) -> Result:
        reader = _Reader(payload, "RESULT")
        status = Status.take(reader)
        window, tokenize, embed, rows, encode, classes = reader.take("IQQQQH")
        index, cause, _, code, t, newest, latency = reader.take("IBBhQIQ")
        if cause >= len(CAUSES):
            raise ProtocolError(f"the device names the unknown cause {cause} for a result")
        loss = Loss.take(reader)
        logits = np.frombuffer(reader.raw(4 * classes), "<f4").astype(np.float32)
        return cls(
            status, window, tokenize, embed, rows, encode, index, CAUSES[cause], code, t, newest, latency, loss, logits
        )


@dataclass(frozen=True)
class Stats:
    """Reply to STATS: where every word and event went, what the link saw, what memory holds. See SPEC.md."""

    status: Status
    words: int
    events: int
    times: int
    triggers: int
    other: int
    unknown: int
    untimed: int
    addresses: int
    vectors: int
    vector_events: int
    decoder_outside: int
    clipped: int
    skipped: int
    taken: int
    in_tokens: int
    pending: int
    refractory: int
    decayed: int
    pool_lost: int
    outside: int
    backwards: int
    tokens: int
    frames: int
    corrupted: int
    oversized: int
    truncated: int
    repeated: int
    refused: int
    cost_tokenize: int
    cost_embed: int
    pool_used: int
    pool_peak: int
    pool_events: int
    arena_bytes: int
    memory_used: int
    memory_bytes: int
    results: int
    results_kept: int
    loss: Loss

    @classmethod
    def unpack(cls, payload: bytes) -> Stats:
        reader = _Reader(payload, "STATS reply")
        values = (Status.take(reader), *reader.take("30Q8I"), Loss.take(reader))
        return cls(*values)

    @property
    def dropped(self) -> dict[str, int]:
        """Events in no token and not pending, by cause."""
        causes = ("untimed", "refractory", "decayed", "pool_lost", "outside", "backwards")
        return {cause: getattr(self, cause) for cause in causes}

    @property
    def accepted(self) -> int:
        """Events that reached their patch: those that the tokenizer took and did not lose."""
        return self.taken - self.pool_lost - self.outside - self.backwards

    def imbalance(self, sent: int | None = None) -> str | None:
        """None when every event is accounted for, else a sentence that says which are not.

        sent: event words sent in lossless mode, events offered in live mode; None where only the device knows.
        Holds when nothing is queued any more.
        """
        single = self.events + self.decoder_outside + self.clipped - self.vector_events
        words = single + self.vectors + self.addresses + self.times + self.triggers
        words += self.other + self.unknown + self.untimed
        if self.words != words:
            return f"of {self.words} words the decoder accounts for {words}"
        if self.events != self.taken + self.loss.thinned:
            return (
                f"the decoder made {self.events} events, {self.loss.thinned} were thinned out and the tokenizer "
                f"took {self.taken}"
            )
        if sent is not None and sent != self.loss.offered - self.unknown:
            return f"{sent} events were sent and the device knows of {self.loss.offered - self.unknown}"
        if self.accepted != self.in_tokens + self.pending + self.refractory + self.decayed:
            return (
                f"{self.accepted} events were accepted, {self.in_tokens} are in tokens, {self.pending} pending and "
                f"{self.refractory + self.decayed} dropped by the method"
            )
        if self.loss.offered != self.accepted + self.loss.lost:
            return f"of {self.loss.offered} events {self.accepted} were accepted and {self.loss.lost} lost"
        return None


def pack_live(first: int, offered: int, words: bytes) -> bytes:
    """Payload of EVENTS in live mode. first: events offered before; offered: those that this frame stands for."""
    return struct.pack("<QI", first, offered) + words


def unpack_labels(payload: bytes) -> tuple[int, int, list[str]]:
    """Reply to LABELS: how many the model has, the index of the first here, and these."""
    reader = _Reader(payload, "LABELS reply")
    total, first = reader.take("HH")
    labels = []
    while reader.left:
        labels.append(reader.string())
    return total, first, labels
