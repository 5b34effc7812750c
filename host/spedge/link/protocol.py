"""The messages of firmware/lib/SPEC.md, packed and unpacked. Pure data, no input or output."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, UsageError
from spedge.events.formats import FORMATS, format_name
from spedge.link.counts import Loss, Status
from spedge.link.frames import VERSION, ErrorCode, ProtocolError, Reader
from spedge.link.tokens import TOKEN_DTYPE
from spedge.tokens.settings import KINDS, TokenizerSettings

MODES = ("lossless", "live")
SOURCES = ("link", "camera", "ram")
CAUSES = ("asked", "every_us", "every_tokens")
COST_UNITS = {0: "none", 1: "instructions", 2: "ns", 3: "cycles"}


@dataclass(frozen=True)
class Error:
    """An ERROR reply. `detail` depends on the code (SPEC.md)."""

    code: int
    request: int
    detail: tuple[int, int]
    text: str

    @classmethod
    def unpack(cls, payload: bytes) -> Error:
        reader = Reader(payload, "ERROR")
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
        reader = Reader(payload, "HELLO")
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


def _take_tokenizer(reader: Reader) -> TokenizerSettings:
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
        reader = Reader(payload, "CONFIGURE reply")
        settings = _take_tokenizer(reader)
        pool, reports, used, window, hidden, buckets, flags, _, results = reader.take("IIIHHBBBB")
        return cls(settings, pool, reports, used, window, hidden, buckets, bool(flags & 1), results)


@dataclass(frozen=True)
class RawPage:
    """Bytes of the source on the board; the first is the `first`-th of the session."""

    status: Status
    first: int
    data: bytes

    @classmethod
    def unpack(cls, payload: bytes) -> RawPage:
        reader = Reader(payload, "RAW reply")
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
        reader = Reader(payload, "TOKENS reply")
        status = Status.take(reader)
        first, count = reader.take("IH")
        return cls(status, first, np.frombuffer(reader.raw(count * TOKEN_DTYPE.itemsize), TOKEN_DTYPE))


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
        reader = Reader(payload, "RESULT")
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


def pack_live(first: int, offered: int, words: bytes) -> bytes:
    """Payload of EVENTS in live mode. first: events offered before; offered: those that this frame stands for."""
    return struct.pack("<QI", first, offered) + words


def unpack_labels(payload: bytes) -> tuple[int, int, list[str]]:
    """Reply to LABELS: how many the model has, the index of the first here, and these."""
    reader = Reader(payload, "LABELS reply")
    total, first = reader.take("HH")
    labels = []
    while reader.left:
        labels.append(reader.string())
    return total, first, labels
