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

from spedge.errors import DeviceError

VERSION = 2
REPLY_BIT = 0x80

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


_KINDS = ("continuous", "discrete")  # tokenizers that a device has
COST_UNITS = {0: "none", 1: "instructions", 2: "ns", 3: "cycles"}


class ProtocolError(DeviceError):
    """A good frame whose payload does not say what its type promises."""


@dataclass(frozen=True)
class Frame:
    """One frame. `flags` of a request come back in its reply."""

    type: int
    seq: int
    session: int
    payload: bytes | memoryview = b""
    flags: int = 0

    def encode(self) -> bytes:
        """The frame on the wire, with its delimiter."""
        header = _HEADER.pack(self.type, self.flags, self.seq, self.session)
        crc = zlib.crc32(self.payload, zlib.crc32(header))
        return bytes(cobs.encode(b"".join((header, self.payload, _CRC.pack(crc))))) + b"\0"


@dataclass
class FrameReader:
    """Collects bytes, yields good frames, counts the others."""

    limit: int = 1 << 16
    frames: int = 0
    corrupted: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Frame]:
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
            ErrorCode.UNREAD: f" ({a} tokens)",
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
        )  # fmt: skip


@dataclass(frozen=True)
class TokenizerSettings:
    """The tokenizer's parameters; 0 means default where sp_tokenizer_config_t names one. Times in µs.

    kind: "continuous" or "discrete".
    """

    width: int = 0
    height: int = 0
    patch_size: int = 16
    threshold: float = 256.0
    absolute_refractory_us: int = 0
    relative_refractory_us: int = 0
    relative_scale: float = 0.4
    decay_per_us: float = 0.0
    kind: str = "continuous"
    duration_us: int = 0

    LAYOUT = "HHHBBdQQddQ"

    def pack(self) -> bytes:
        return struct.pack(
            "<" + self.LAYOUT, self.width, self.height, self.patch_size, _KINDS.index(self.kind), 0, self.threshold,
            self.absolute_refractory_us,
            self.relative_refractory_us, self.relative_scale, self.decay_per_us, self.duration_us,
        )  # fmt: skip


@dataclass(frozen=True)
class Configuration:
    """CONFIGURE. model: take tokenizer, embedding and window from the device's model and ignore `tokenizer`.

    report_tokens: how many tokens the device keeps for TOKENS, 0 for none; processing waits while all are unread.
    pool_events: slots for pending events, 0 for as many as fit.
    """

    tokenizer: TokenizerSettings = TokenizerSettings()
    model: bool = True
    report_tokens: int = 0
    pool_events: int = 0

    def pack(self, session: int) -> bytes:
        head = struct.pack("<IHBBII", session, int(self.model), 0, 0, self.report_tokens, self.pool_events)
        return head + self.tokenizer.pack()


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

    @classmethod
    def unpack(cls, payload: bytes) -> Configured:
        reader = _Reader(payload, "CONFIGURE reply")
        w, h, patch, kind, _, threshold, absolute, relative, scale, decay, duration = reader.take(
            TokenizerSettings.LAYOUT
        )
        if kind >= len(_KINDS):
            raise ProtocolError(f"the device names a tokenizer of the unknown kind {kind}")
        pool, reports, used, window, hidden, buckets, flags, _ = reader.take("IIIHHBBH")
        settings = TokenizerSettings(w, h, patch, threshold, absolute, relative, scale, decay, _KINDS[kind], duration)
        return cls(settings, pool, reports, used, window, hidden, buckets, bool(flags & 1))


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
class Result:
    """Reply to INFER: logits float32 [classes] of the last `window` tokens.

    Costs are in the unit of HELLO. tokenize (with decoding) and embed: since the session began; window (positions
    in time, copied to the encoder) and encode: of this inference.
    """

    status: Status
    window: int
    cost_tokenize: int
    cost_embed: int
    cost_window: int
    cost_encode: int
    logits: NDArray[np.float32]

    @classmethod
    def unpack(cls, payload: bytes) -> Result:
        reader = _Reader(payload, "RESULT")
        status = Status.take(reader)
        window, tokenize, embed, rows, encode, classes = reader.take("IQQQQH")
        logits = np.frombuffer(reader.raw(4 * classes), "<f4").astype(np.float32)
        return cls(status, window, tokenize, embed, rows, encode, logits)


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

    @classmethod
    def unpack(cls, payload: bytes) -> Stats:
        reader = _Reader(payload, "STATS reply")
        return cls(Status.take(reader), *reader.take("24Q6I"))

    @property
    def dropped(self) -> dict[str, int]:
        """Events in no token and not pending, by cause."""
        causes = ("untimed", "refractory", "decayed", "pool_lost", "outside", "backwards")
        return {cause: getattr(self, cause) for cause in causes}

    def imbalance(self, sent: int) -> str | None:
        """None when every one of the `sent` event words is accounted for, else a sentence that says which are not."""
        words = self.events + self.times + self.triggers + self.other + self.unknown + self.untimed
        kept = self.taken - self.refractory - self.decayed - self.pool_lost - self.outside - self.backwards
        if self.words != words:
            return f"of {self.words} words the decoder accounts for {words}"
        if self.events != self.taken:
            return f"the decoder made {self.events} events and the tokenizer took {self.taken}"
        if sent != self.taken + self.untimed:
            return f"{sent} events were sent, {self.taken} taken and {self.untimed} lost"
        if kept != self.in_tokens + self.pending:
            return f"{kept} events were kept, {self.in_tokens} are in tokens and {self.pending} pending"
        return None


def unpack_labels(payload: bytes) -> tuple[int, int, list[str]]:
    """Reply to LABELS: how many the model has, the index of the first here, and these."""
    reader = _Reader(payload, "LABELS reply")
    total, first = reader.take("HH")
    labels = []
    while reader.left:
        labels.append(reader.string())
    return total, first, labels


def events_crc(events: NDArray) -> int:
    """CRC-32 over events (structured t, x, y, p) as a device takes it over a token's."""
    packed = np.empty(len(events), PACKED_EVENT_DTYPE)
    for name in ("t", "x", "y", "p"):
        packed[name] = events[name]
    return zlib.crc32(packed.tobytes())
