"""`Session`: what the host knows of a session of a device. Pure state, begun by CONFIGURE and replaced whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spedge.base.outputs import Output
from spedge.link.counts import Status
from spedge.link.frames import REPLY_BIT, Frame, Type
from spedge.link.live import LiveSender
from spedge.link.protocol import BOXES, Configuration, Configured, Hello, RawPage, Result, TokenPage
from spedge.link.stream import EventSender
from spedge.link.tokens import TOKEN_DTYPE

STATE = "state"  #: of a detector: what is read like an output, and is none


class Session:
    """The events on their way, and the tokens, results and bytes that have come, each once and in order.

    Without a `configured`, the device is in a session that somebody else has begun, or in none (id 0).
    """

    def __init__(
        self,
        id: int = 0,
        hello: Hello | None = None,
        configuration: Configuration | None = None,
        configured: Configured | None = None,
        outputs: tuple[Output, ...] = (),
    ) -> None:
        """outputs: of the device's model."""
        self.id = id
        self.configuration = configuration or Configuration()
        self.configured = configured
        self.status: Status | None = None  #: what the device last said of the stream
        self.sender = EventSender(id, hello.credits if hello and configured else 0)
        self.live: LiveSender | None = None
        self.early: dict[int, Result] = {}  #: results that came before the one that is next
        self.next_result = 0
        self.newest_run = 0  #: of the model, of which a result has come
        self.outputs = outputs if configured and configured.model else ()
        self.detects = bool(hello and hello.detects and configured and configured.model)
        if hello and self.detects and hello.state:
            self.outputs = (*outputs, Output(STATE, (hello.state,)))
        self.incomplete: list[Result] = []  #: in order, of which numbers may be missing that the device still has
        self._results: list[Result] = []  # not taken yet, in order
        self._marks: dict[int, int] = {}  # live: number of a FLUSH under way: frames sent before it
        self._pages: list[NDArray[np.void]] = []
        self.pulled = 0  #: tokens that have been read
        self.next_raw = 0
        c = self.configuration
        if hello and configured and c.mode == "live" and c.source == "link":
            grid = hello.step_us if self.detects else 1
            self.live = LiveSender(id, hello.credits, hello.max_payload, configured.tokenizer.patch_size, grid_us=grid)

    # ---- what the link has to know ----------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Frames of events to which a reply is still to come."""
        return self.live.in_flight if self.live else self.sender.in_flight

    @property
    def infers(self) -> bool:
        """Whether the device makes results unasked."""
        return self.configuration.infers or self.detects

    def asked(self, kind: Type, seq: int) -> None:
        """A request is going out: the reply to a FLUSH settles what became of the frames before it."""
        if kind == Type.FLUSH and self.live:
            self._marks[seq] = self.live.mark()

    def take(self, frame: Frame) -> bool:
        """Take in a frame of this session; returns whether it brought progress."""
        if frame.type == Type.EVENTS | REPLY_BIT:
            self.status = status = Status.unpack(frame.payload)
            if self.live:
                return self.live.on_status(status)
            return self.sender.on_ack(frame.seq, frame.flags, status)
        if frame.type == Type.RESULT_PUSH:
            self._take_result(frame.payload, oldest=False)
        elif frame.type == Type.RESULTS | REPLY_BIT and frame.payload:
            self._take_result(frame.payload, oldest=True)
        elif frame.type == Type.FLUSH | REPLY_BIT and self.live:
            mark = self._marks.pop(frame.seq, None)
            if mark is not None:
                self._marks = {seq: m for seq, m in self._marks.items() if m > mark}
                self.live.settled(mark, Status.unpack(frame.payload))
                return True
        return False

    # ---- events -----------------------------------------------------------------------------------------------

    @property
    def flush(self) -> bytes:
        """The payload of FLUSH."""
        return self.live.sent.to_bytes(8, "little") if self.live else b""

    def take_status(self, status: Status) -> bool:
        """What a reply says of the stream; returns whether it brought progress."""
        self.status = status
        return (self.live or self.sender).on_status(status)

    # ---- tokens -----------------------------------------------------------------------------------------------

    @property
    def reports(self) -> bool:
        """Whether the device keeps tokens to be read."""
        return self.configured is not None and self.configured.report_tokens > 0

    @property
    def unpulled(self) -> int:
        """Reported tokens that the device is known to have and we have not."""
        return self.status.tokens - self.pulled if self.reports and self.status else 0

    def take_page(self, page: TokenPage) -> bool:
        """Tokens that were read; returns whether they brought progress."""
        progress = self.take_status(page.status)
        if len(page.tokens):
            self._pages.append(page.tokens)
            self.pulled += len(page.tokens)
        return progress or len(page.tokens) > 0

    def tokens(self) -> NDArray[np.void]:
        """All that have been read, TOKEN_DTYPE [n]."""
        return np.concatenate(self._pages) if self._pages else np.empty(0, TOKEN_DTYPE)

    # ---- results and bytes ------------------------------------------------------------------------------------

    def result(self, payload: bytes) -> Result:
        """The result in that RESULT, with the outputs that are whole in there."""
        c = self.configuration
        wanted = None if c.outputs is None else {*c.outputs, STATE}
        result = Result.unpack(payload, self.outputs, wanted, self.detects)
        if result.step is not None and not (
            result.step.ran and c.numbers_every and result.index % c.numbers_every == 0
        ):
            result = replace(result, gone=tuple(name for name in result.gone if name == BOXES))
        self.newest_run = max(self.newest_run, result.run)
        return result

    def place(self, name: str) -> tuple[Output, int]:
        """The output of that name, and which number of a result is its first."""
        at = [output.name for output in self.outputs].index(name)
        return self.outputs[at], sum(output.size for output in self.outputs[:at])

    def completed(self, result: Result) -> None:
        """The first of `incomplete` has all that there is of it."""
        self.incomplete.pop(0)
        self._results.append(result)

    def _take_result(self, payload: bytes, oldest: bool) -> None:
        """oldest: the device has none between the one that is next and this one."""
        result = self.result(payload)
        if result.index < self.next_result:
            return
        self.early[result.index] = result
        if oldest:
            self.next_result = result.index
        while (found := self.early.pop(self.next_result, None)) is not None:
            self.incomplete.append(self._with_base(found))
            self.next_result += 1

    def _with_base(self, result: Result) -> Result:
        base = self.live.base if self.live else 0
        if not base:
            return result
        loss = result.loss
        if loss.until:
            loss = replace(loss, since=loss.since + base, until=loss.until + base)
        return replace(result, t=result.t + base, loss=loss)

    def take_results(self) -> list[Result]:
        """Those that were completed since the last call, in order."""
        taken, self._results = self._results, []
        return taken

    def take_raw(self, page: RawPage) -> tuple[int, bytes]:
        """How many bytes were lost before those of the page, and they."""
        lost, self.next_raw = page.first - self.next_raw, page.first + len(page.data)
        return lost, page.data
