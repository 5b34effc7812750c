"""The messages of firmware/lib/SPEC.md, packed and unpacked. Pure data, no input or output."""

from __future__ import annotations

import struct
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceRefused, UsageError
from spedge.base.outputs import Output, by_name
from spedge.events.formats import FORMATS, format_name
from spedge.events.part import WHOLE, Part
from spedge.link.counts import Loss, Status
from spedge.link.frames import VERSION, ErrorCode, ProtocolError, Reader
from spedge.link.steps import StepResult
from spedge.link.tokens import TOKEN_DTYPE
from spedge.tokens.settings import KINDS, TokenizerSettings

MODES = ("lossless", "live")
SOURCES = ("link", "camera", "ram", "frames")
TASKS = ("unknown", "classification", "detection")
CAUSES = ("asked", "every_us", "every_tokens", "step")
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


#: Of a Cortex-M's CFSR: the MPU refused an access, or that to the stack of a fault.
_STACK_FAULTS = 1 << 1 | 1 << 4


@dataclass(frozen=True)
class Hello:
    """Who the device is. `memory_bytes` is the block it carves sessions from; `model_hash` is None without a model.

    task: what the model is for, one of TASKS. outputs: tensors that a result has; numbers: in all of them together.
    state: numbers of a detector's state, or words of the graphs of a model on graphs, that can be read; step_us: stream
    time of a detector's steps, 0 of other models.
    ended: what ended the firmware before it was started this time, where it was not told to; else empty.
    """

    protocol: int
    session: int
    cost_unit: str
    max_payload: int
    credits: int
    memory_bytes: int
    arena_bytes: int
    window_tokens: int
    width: int
    height: int
    task: str
    outputs: int
    numbers: int
    model_hash: bytes | None
    version: str
    build: str
    board: str
    model: str
    has_camera: bool = False
    has_ram: bool = False
    has_frames: bool = False
    state: int = 0
    step_us: int = 0
    ended: str = ""

    @property
    def detects(self) -> bool:
        """Whether the model is a detector, whose results are the steps of its stream."""
        return self.step_us > 0

    @classmethod
    def unpack(cls, payload: bytes, session: int) -> Hello:
        """Raises DeviceRefused, naming both versions and which is to be renewed, for one of another protocol."""
        reader = Reader(payload, "HELLO")
        (protocol,) = reader.take("H")
        if protocol != VERSION:
            older = "flash the firmware that belongs to this version of spedge (spedge flash)"
            newer = "update spedge, or flash the firmware that belongs to this version of it (spedge flash)"
            raise DeviceRefused(
                f"the device speaks protocol {protocol} and this spedge speaks {VERSION}: "
                + (older if protocol < VERSION else newer)
            )
        flags, unit, max_payload, credits, memory, arena, tokens = reader.take("BBHHIIH")
        width, height, task, outputs, numbers, state, step_us = reader.take("HHBBIII")
        model_hash = reader.raw(32)
        version, build, board, model = (reader.string() for _ in range(4))
        ended = _ended(*reader.take("BII"))
        return cls(
            protocol, session, COST_UNITS.get(unit, f"unit {unit}"), max_payload, credits, memory, arena, tokens,
            width, height, TASKS[task] if task < len(TASKS) else TASKS[0], outputs, numbers,
            model_hash if flags & 1 else None, version, build, board, model, bool(flags & 2), bool(flags & 4),
            bool(flags & 8), state, step_us, ended,
        )  # fmt: skip


def _ended(why: int, at: int, detail: int) -> str:
    """Why a firmware ended, as HELLO has it, in words."""
    if why == 0:
        return ""
    if why == 1:
        guess = ", most likely because its stack ran over" if detail & _STACK_FAULTS else ""
        return f"its core took a fault at {f'0x{at:08x}' if at else 'an unknown place'} (0x{detail:08x}){guess}"
    return "it hung, and its watchdog reset it" if why == 2 else f"for reason {why}"


@dataclass(frozen=True)
class ImageInfo:
    """Reply to IMAGE: the program that the device runs, read from its own memory.

    length: bytes, 0 when it cannot be read. crc: CRC-32 over them. build_id: by which the linker tells it from others;
    unique_id: the chip's own number; both may be empty.
    """

    length: int
    crc: int
    build_id: bytes
    unique_id: bytes

    @classmethod
    def unpack(cls, payload: bytes) -> ImageInfo:
        reader = Reader(payload, "IMAGE reply")
        length, crc = reader.take("II")
        return cls(length, crc, reader.short(), reader.short())


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
    outputs: names of those that results are to have, None for all; not sent, but large ones take requests to read.
    numbers_every: of a detector, whose results have boxes: which have those outputs, too, and the state it left, as
    "state": each so many-th, the first among them; 0: none. In lossless mode it waits with each step until then.
    part: what of the source's sensor the session's is.
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
    outputs: tuple[str, ...] | None = None
    numbers_every: int = 0
    part: Part = WHOLE

    def __post_init__(self) -> None:
        """Raises UsageError for a name or number that cannot be sent."""
        object.__setattr__(self, "format", format_name(self.format))
        for name, known in (("mode", MODES), ("source", SOURCES)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} {getattr(self, name)!r} is unknown; use one of {', '.join(known)}")
        for name in ("report_tokens", "pool_events", "baud", "window_us", "every_us", "every_tokens", "numbers_every"):
            if not 0 <= getattr(self, name) < 1 << 32:
                raise UsageError(f"{name}={getattr(self, name)} is out of range; it must be 0 to {(1 << 32) - 1}")

    @property
    def infers(self) -> bool:
        """Whether the device makes results unasked."""
        return self.every_us > 0 or self.every_tokens > 0

    def pack(self, session: int) -> bytes:
        flags = int(self.model) | int(self.push) << 1 | int(self.raw) << 2 | int(self.numbers_every > 0) << 3
        form, mode = FORMATS[self.format].wire, MODES.index(self.mode)
        head = struct.pack("<IHBBII", session, flags, form, mode, self.report_tokens, self.pool_events)
        tail = struct.pack(
            "<BBHIIIIHH",
            SOURCES.index(self.source),
            self.part.bin if self.part.bin > 1 else 0,
            self.part.left,
            self.baud,
            self.window_us,
            self.every_us,
            self.every_tokens,
            self.part.top,
            0,
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
    candidates: int = 0  #: for a box, that a step of a detector looks at; 0: no detector

    @classmethod
    def unpack(cls, payload: bytes) -> Configured:
        reader = Reader(payload, "CONFIGURE reply")
        settings = _take_tokenizer(reader)
        pool, reports, used, window, hidden, buckets, flags, _, results, boxes = reader.take("IIIHHBBBBH")
        return cls(settings, pool, reports, used, window, hidden, buckets, bool(flags & 1), results, boxes)


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


BOXES = "boxes"  #: in Result.gone
_RESULT_BYTES = 172  # but for the numbers


def fits_result(numbers: int, max_payload: int) -> bool:
    """Whether a RESULT holds so many numbers."""
    return _RESULT_BYTES + 4 * numbers <= max_payload


@dataclass(frozen=True)
class Result:
    """One inference: what the model gives for the newest `window` tokens, or in a step of a detector, for those of it.

    outputs: float32 by name, in the model's order; NaN when the model failed with `code`. gone: those that are missing,
    though they were wanted, because the device had gone on before they could be read (in live mode only).
    step: of a detector, its boxes. It has outputs only where `Configuration.numbers_every` says so.
    first: the numbers that came with the result, the outputs' one behind the other; run: what the device calls it by.
    Costs are in the unit of HELLO. tokenize (with decoding) and embed: since the session began; window (positions
    in time, copied to the encoder) and encode: of this inference.
    index counts the results that were not asked for; one that was asked for has that of the next. cause: one of
    CAUSES. t: stream time in µs that it stands for, as the device counts it. newest: tokens fired when it was computed.
    latency: from when the bytes of the newest event had arrived until the outputs were there, in the unit of HELLO.
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
    run: int
    first: NDArray[np.float32]
    outputs: dict[str, NDArray[np.float32]]
    gone: tuple[str, ...] = ()
    step: StepResult | None = None

    @property
    def boxes(self) -> NDArray[Any]:
        """A detector's, WIRE_BOX_DTYPE [n], by falling score. `step.found` says how many there were: in live mode the
        device may have gone on before those that did not fit the result could be read.

        Raises UsageError for another model's result.
        """
        if self.step is None:
            raise UsageError("the device's model is no detector: its results have no boxes")
        return self.step.boxes

    @property
    def logits(self) -> NDArray[np.float32]:
        """A classifier's, float32 [classes]. Raises DeviceError when they are gone, KeyError when there are none."""
        if "logits" in self.gone:
            raise DeviceRefused("the device had gone on before its logits could be read: ask for results less often")
        return self.outputs["logits"]

    @classmethod
    def unpack(
        cls, payload: bytes, outputs: Sequence[Output], wanted: Container[str] | None = None, detects: bool = False
    ) -> Result:
        """outputs: the model's; wanted: names of those that matter, None for all. `gone`: those that are not whole.

        detects: whether it is a detector's, with boxes.
        """
        reader = Reader(payload, "RESULT")
        status = Status.take(reader)
        window, tokenize, embed, rows, encode, run = reader.take("IQQQQI")
        index, cause, _, code, t, newest, latency = reader.take("IBBhQIQ")
        if cause >= len(CAUSES):
            raise ProtocolError(f"the device names the unknown cause {cause} for a result")
        loss = Loss.take(reader)
        step = StepResult.take(reader) if detects else None
        first = reader.numbers()
        if code:
            whole = {o.name: np.full(o.shape, np.nan, np.float32) for o in outputs}
        else:
            ends = accumulate(o.size for o in outputs)
            whole = by_name(first, [o for o, end in zip(outputs, ends, strict=True) if end <= len(first)])
        gone = tuple(o.name for o in outputs if o.name not in whole and (wanted is None or o.name in wanted))
        if step is not None and len(step.boxes) < step.found:
            gone = (BOXES, *gone)
        return cls(
            status, window, tokenize, embed, rows, encode, index, CAUSES[cause], code, t, newest, latency, loss, run,
            first, whole, gone, step,
        )  # fmt: skip


@dataclass(frozen=True)
class ValuesPage:
    """Reply to VALUES: numbers first, first + 1, … of the result of that run, which is the device's last; or none."""

    run: int
    first: int
    numbers: NDArray[np.float32]

    @classmethod
    def unpack(cls, payload: bytes) -> ValuesPage:
        reader = Reader(payload, "VALUES reply")
        run, first = reader.take("II")
        return cls(run, first, reader.numbers())


def pack_live(first: int, offered: int, words: bytes) -> bytes:
    """Payload of EVENTS in live mode. first: events offered before; offered: those that this frame stands for."""
    return struct.pack("<QI", first, offered) + words


def unpack_outputs(payload: bytes) -> tuple[int, int, list[Output]]:
    """Reply to OUTPUTS: how many the model has, the index of the first here, and these."""
    reader = Reader(payload, "OUTPUTS reply")
    total, first = reader.take("HH")
    outputs = []
    while reader.left:
        name = reader.string()
        (rank,) = reader.take("B")
        outputs.append(Output(name, reader.take(f"{rank}I")))
    return total, first, outputs
