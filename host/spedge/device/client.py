"""`Device`: a typed client for everything a device can be asked, over any byte stream."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, UsageError
from spedge.link.faults import Faults, FaultyTransport, with_faults
from spedge.link.live import LiveSender
from spedge.link.protocol import (
    REPLY_BIT,
    TOKEN_DTYPE,
    VERSION,
    Configuration,
    Configured,
    Error,
    ErrorCode,
    Frame,
    FrameReader,
    Hello,
    RawPage,
    Result,
    Stats,
    Status,
    TokenPage,
    Type,
    unpack_labels,
)
from spedge.link.silence import Silence
from spedge.link.stream import EventSender, RetryTimer
from spedge.link.transport import Outgoing, Reconnecting, Transport, connect

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle

_OUT_BYTES = 1 << 16  # handed to the transport at once
_PULL_TOKENS = 32  # unread tokens worth a request while events are on their way
_PULL_ALL = 0xFFFF
_LEAST_WAIT = 0.02
_ASK_AGAIN = 0.1  # for a result that is missing while live
_PING = 0.5  # seconds without a word after which a device that owes none is asked for one
_STOPPED = 1.0  # this process was, when a wait took so much longer than it should
_SLOW = (Type.INFER, Type.CONFIGURE, Type.RESET)  # the device works before it answers


@dataclass(frozen=True)
class Timeouts:
    """Seconds. What is not answered is sent again, after a time that follows the link's pace but stays within
    resend_least and resend_most; a device from which no answer comes for `notice` is mentioned in the log, and after
    `silence` it is given up, or after `work` when it computes here; so is a line that broke and does not come back
    within `reconnect`."""

    resend_least: float = 0.25
    resend_most: float = 2.0
    notice: float = 1.25
    silence: float = 7.0
    work: float = 60.0
    reconnect: float = 1.5


@dataclass(frozen=True)
class LineCounts:
    """Frames, and what happened to them on the line.

    resent: sent again by the host. repeated: EVENTS that the device had taken before; refused: EVENTS that came too
    early, after a gap or beyond its credits; both of the present session. damaged_there, damaged_here: dropped by the
    device, since it started, and by the host, since it opened the link. reconnects: times that the line came back.
    """

    resent: int = 0
    repeated: int = 0
    refused: int = 0
    damaged_there: int = 0
    damaged_here: int = 0
    reconnects: int = 0

    def since(self, before: LineCounts) -> LineCounts:
        """What came after `before`, which is of an earlier session."""
        running = ("resent", "damaged_there", "damaged_here", "reconnects")
        return replace(self, **{name: getattr(self, name) - getattr(before, name) for name in running})


class Device:
    """A device on the other end of a transport; a context manager.

    Opening says hello. `configure` begins a session; then `send` events, and ask for `tokens`, `infer` and `stats`.
    All calls block, none for longer than the time-outs. Not for use by several threads at once.
    Every method raises DeviceError when the device does not answer, has restarted or refuses; after one of the first
    two `resume` finds out how to go on. A line that breaks and comes back soon, and a device that is silent for a
    while, are only mentioned in the log (the logger `spedge.device`): nothing of the stream is lost by that.
    """

    def __init__(
        self,
        transport: Transport,
        timeouts: Timeouts | None = None,
        obituary: Callable[[], str | None] | None = None,
        at_work: Callable[[], bool] | None = None,
    ) -> None:
        """obituary: says why the device is gone, None while it is not known to be; asked when the link breaks.
        at_work: says whether the device's processor is busy, where that can be seen from here."""
        #: The other end of the camera port of a board that was started here: what an EmulatedCamera connects to.
        self.camera_address: str | None = None
        self.timeouts = timeouts or Timeouts()
        self._transport = transport
        self._obituary = obituary or (lambda: None)
        self._owned = contextlib.ExitStack()
        self._owned.callback(transport.close)
        self._reader = FrameReader()
        self._out = Outgoing(b"\0")  # ends a frame that somebody before us left unfinished
        self._session = 0
        self._backlog = 0  # bytes that the device has not taken
        self._moved = 0.0  # when it last took some
        self._seq = secrets.randbelow(1 << 16)
        self._awaited: tuple[int, int] | None = None  # type and seq of the request under way
        self._reply: Frame | None = None
        self._silence = Silence(transport.name, self.timeouts.notice, self.timeouts.silence, at_work)
        self._heard = 0.0  # when the last frame came
        self._pinged: int | None = None  # seq of the HELLO that was sent only to hear something
        self._pinged_at = 0.0
        self._sender = EventSender(0, 0)
        self._timer = RetryTimer(self.timeouts.resend_least, self.timeouts.resend_most)
        self._status: Status | None = None
        self._progress = time.monotonic()
        self._reporting = False
        self._pages: list[NDArray] = []
        self._pulled = 0
        self._resent_requests = 0
        self._configuration = Configuration()
        self._configured: Configured | None = None
        self._live: LiveSender | None = None
        self._live_marks: dict[int, int] = {}  # number of a FLUSH under way: frames sent before it
        self._results: list[Result] = []  # not taken yet, in order
        self._early: dict[int, Result] = {}  # came before the one that is next
        self._asked_results = self._asked_room = 0.0  # when
        self._next_result = 0
        self._next_raw = 0
        try:
            self.hello = self._hello()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls,
        address: str,
        bundle: Bundle | None = None,
        baud: int = 115200,
        timeouts: Timeouts | None = None,
        faults: Faults | None = None,
    ) -> Device:
        """Open a device by its address or a board by its name.

        address: `/dev/…` (serial port or pseudo-terminal), `unix:PATH`, `tcp://HOST:PORT`, or the name of a board
        ("sim", "mps2-an500", …), which is built with the model of `bundle`, or none, and started; one on a cable is
        looked for by its USB ids. faults: what shall go wrong on the line, for tests.
        Raises UsageError when the address makes no sense, DeviceError when nothing is there, may not be used or does
        not answer, and what build.build raises.
        """
        from spedge.boards.launch import open_named
        from spedge.boards.manifest import board_names

        if address in board_names():
            return open_named(address, bundle, timeouts, faults)
        limits = timeouts or Timeouts()
        line = Reconnecting(lambda: connect(address, baud), limits.reconnect)
        return cls(with_faults(line, faults), timeouts)

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def owns(self, callback: Callable[[], object]) -> None:
        """Call it when the device is closed, before the link is."""
        self._owned.callback(callback)

    def close(self) -> None:
        """Close the link and end what was started for it. May be called again."""
        self._owned.close()

    @property
    def name(self) -> str:
        """What messages call the device."""
        return self._transport.name

    @property
    def resent(self) -> int:
        """Frames sent again so far because no answer came or one was missing."""
        return self._resent_requests + self._sender.resent

    @property
    def status(self) -> Status | None:
        """What the device last said of this session's stream; None before it said anything."""
        return self._status

    @property
    def corrupted(self) -> int:
        """Damaged frames received so far."""
        return self._reader.corrupted

    def line_counts(self) -> LineCounts:
        """What the line did to the frames so far, as both ends saw it."""
        stats = self.stats()
        return LineCounts(
            resent=self.resent,
            repeated=stats.repeated,
            refused=stats.refused,
            damaged_there=stats.corrupted + stats.oversized + stats.truncated,
            damaged_here=self.corrupted,
            reconnects=getattr(self._transport, "reconnects", 0),
        )

    @property
    def faults_done(self) -> dict[str, int]:
        """What was done to the line on purpose so far, by kind; empty without `faults`."""
        return dict(self._transport.done) if isinstance(self._transport, FaultyTransport) else {}

    def resume(self, within: float = 30.0) -> bool:
        """After a DeviceError: wait up to `within` seconds for the device to come back, and go on if it can.

        Returns True when it still has the session; what an interrupted `send` had left is sent then. False when it has
        restarted or serves another session: nothing of ours is left, begin with `configure`. Raises DeviceError
        when it is not back in time.
        """
        deadline = time.monotonic() + within
        while True:
            try:
                session = self._session
                self.hello = self._hello()
                break
            except DeviceError:
                if time.monotonic() > deadline:
                    raise
        if self._session == session != 0:
            if self._sender.pending:
                self.send(b"")
            return True
        self._begin(self._session)
        self._reporting = False
        return False

    # ---- requests ---------------------------------------------------------------------------------------------

    def labels(self) -> list[str]:
        """Names of the model's classes."""
        labels: list[str] = []
        while True:
            total, first, page = unpack_labels(self._request(Type.LABELS, len(labels).to_bytes(2, "little")).payload)
            if first == len(labels):
                labels += page
            if len(labels) >= total or not page:
                return labels

    def configure(self, configuration: Configuration) -> Configured:
        """Begin a session: forget everything, carve the memory anew. Returns the settings in effect."""
        session = self._new_session()
        reply = self._request(Type.CONFIGURE, configuration.pack(session), opens=session)
        self._configuration = configuration
        self._configured = configured = Configured.unpack(reply.payload)
        self._begin(session)
        self._reporting = configured.report_tokens > 0
        return configured

    def reset(self) -> None:
        """Begin a session with the same settings: forget all events and tokens."""
        session = self._new_session()
        self._request(Type.RESET, session.to_bytes(4, "little"), opens=session)
        self._begin(session)

    def send(self, words: NDArray[np.uint32] | bytes, on_progress: Callable[[int], None] | None = None) -> Status:
        """Send raw EVT2 words; returns when the device has accepted all of them, exactly once each.

        on_progress gets the bytes accepted so far of these. Reported tokens and results are collected on the way.
        Raises UsageError in a session whose events do not come from here, losslessly.
        """
        self._require("lossless", "send")
        data = memoryview(words if isinstance(words, bytes) else np.ascontiguousarray(words, "<u4").tobytes())
        step = self.hello.max_payload
        for at in range(0, len(data), step):
            self._sender.offer(data[at : at + step])
        self._progress = time.monotonic()
        while self._sender.pending:
            if not self._sender.in_flight:
                self._timer.start(time.monotonic())
            while (frame := self._sender.next_frame()) is not None:
                self._out += frame.encode()
            if self._sender.blocked or self._unpulled >= _PULL_TOKENS:
                self._make_room()
            else:
                self._pump(max(self._timer.left(time.monotonic()), _LEAST_WAIT))
            now = time.monotonic()
            if self._sender.in_flight and not self._backlog and not self._timer.left(now):
                self._sender.rewind()
                self._timer.retried(now)
            if now - max(self._progress, self._moved) > self.timeouts.silence:
                raise self._gave_up("takes no more events")
            if on_progress is not None:
                on_progress(max(len(data) - self._sender.pending * step, 0))
        return self._latest

    def flush(self) -> Status:
        """Wait until everything sent, or in the device's RAM, has been processed."""
        self._progress = time.monotonic()
        while (status := self._ask_status()).queued:
            self._make_room()
            if time.monotonic() - self._progress > self.timeouts.silence:
                raise self._gave_up("does not finish the events it has")
        return status

    def tokens(self) -> NDArray:
        """All tokens of the session so far, as protocol.TOKEN_DTYPE [n]; times without `evt2.time_base`.

        Raises UsageError when the session was configured without reports.
        """
        if not self._reporting:
            raise UsageError("tokens can be read only in a session configured with report_tokens > 0")
        self.flush()
        while self._unpulled:
            self._pull()
        return np.concatenate(self._pages) if self._pages else np.empty(0, TOKEN_DTYPE)

    def infer(self) -> Result:
        """Run the encoder on the last tokens, after everything sent has been processed."""
        self.flush()
        begin = time.monotonic()
        result = Result.unpack(self._request(Type.INFER).payload)
        if self.hello.cost_unit in ("instructions", "cycles"):
            self._silence.inferred(time.monotonic() - begin, result.cost_encode)
        self._take_status(result.status)
        return result

    def stats(self) -> Stats:
        return Stats.unpack(self._request(Type.STATS).payload)

    # ---- live mode and results that come unasked --------------------------------------------------------------

    def offer(self, events: NDArray[Any]) -> None:
        """Live mode: send events (structured t µs, x, y, p; sorted, also across calls) as far as the device has room.

        Never waits for the device: what it has no room for is thinned out evenly over time and patches, and counted.
        Call it, or `wait`, often. Raises UsageError in a session that is not live over the link, InputError for events
        that are not sorted.
        """
        self._require("live", "offer")
        assert self._live
        self._live.offer(events)
        self._pump_live(0.0)

    def wait(self, seconds: float) -> None:
        """Let the link work for that long: send what waits, take in results."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            self._pump_live(max(min(left, _LEAST_WAIT), 0.0))
            if left <= 0:
                return

    def finish(self) -> Status:
        """Live mode: send what still waits, and return when the device has processed it and every event is counted."""
        self._require("live", "finish")
        assert self._live
        self._progress = time.monotonic()
        while self._live.waiting:
            self._pump_live(_LEAST_WAIT)
        status = self.flush()
        self._pull_results()
        return status

    def take_results(self) -> list[Result]:
        """Results that the device made unasked since the last call, in order; times with `LiveSender.base` added.

        In live mode with push it returns what has come, and sees to it that what was lost on the way comes again;
        else it asks the device, which releases them there. Results that the device had to drop are missing: their
        index, and Loss.results_dropped, tell.
        """
        if self._live and self._configuration.push:
            self._pump_live(0.0)
        else:
            self._pull_results()
        taken, self._results = self._results, []
        return taken

    def raw(self) -> tuple[int, bytes]:
        """Bytes of the board's camera, or of its RAM, as they came: how many were lost before them, and they.

        In a session configured with raw=True, in order, each byte once. None are lost in lossless mode: the camera
        waits for the host.
        """
        if not self._configuration.raw:
            raise UsageError("the bytes of the source are kept only in a session configured with raw=True")
        reply = self._request(Type.RAW, self._next_raw.to_bytes(8, "little"))
        page = RawPage.unpack(reply.payload)
        self._take_status(page.status)
        lost, self._next_raw = page.first - self._next_raw, page.first + len(page.data)
        return lost, page.data

    def _require(self, mode: str, what: str) -> None:
        c = self._configuration
        if c.source != "link":
            raise UsageError(f"{what}: the events of this session come from the board's {c.source}, not over the link")
        if c.mode != mode:
            raise UsageError(f"{what} is for a session configured with mode={mode!r}; this one is {c.mode}")

    def _pump_live(self, timeout: float) -> None:
        """One turn of the link for at most `timeout` seconds, without waiting for any answer."""
        live, now = self._live, time.monotonic()
        if live:
            idle = not live.in_flight
            for frame in live.frames():
                self._out += frame.encode()
            if idle and live.in_flight:
                self._timer.start(now)
                self._progress = now
        self._pump(timeout)
        now = time.monotonic()
        if live and live.blocked and now - self._asked_room > _LEAST_WAIT:
            self._asked_room = now
            self._post(Type.FLUSH, live.sent.to_bytes(8, "little"))
        if live and live.in_flight and not self._backlog and not self._timer.left(now):
            self._post(Type.FLUSH, live.sent.to_bytes(8, "little"))
            self._timer.retried(now)
        if live and live.in_flight and now - max(self._progress, self._moved) > self.timeouts.silence:
            raise self._gave_up("takes no more events")
        if not self._backlog and now - max(self._heard, self._pinged_at) > _PING and not (live and live.in_flight):
            self._ping(now)
        if min(self._silence.lasts(now), now - self._progress) > self.timeouts.silence:
            raise self._gave_up("does not answer")
        if self._early and now - self._asked_results > _ASK_AGAIN:
            self._asked_results = now
            self._post(Type.RESULTS, self._next_result.to_bytes(4, "little"))

    def _post(self, kind: Type, payload: bytes) -> None:
        """Send a request and do not wait for its reply; `_take` knows what to do with it."""
        self._seq = (self._seq + 1) % (1 << 16)
        if kind == Type.FLUSH and self._live:
            self._live_marks[self._seq] = self._live.mark()
        self._out += Frame(kind, self._seq, self._session, payload).encode()

    def _pull_results(self) -> None:
        """Ask for all results there are."""
        while self._configuration.infers:
            first = self._next_result
            self._request(Type.RESULTS, first.to_bytes(4, "little"))
            if self._next_result == first:
                return

    def _take_result(self, payload: bytes, oldest: bool) -> None:
        """oldest: the device has none between the one that is next and this one."""
        result = Result.unpack(payload)
        if result.index < self._next_result:
            return
        self._early[result.index] = result
        if oldest:
            self._next_result = result.index
        while (found := self._early.pop(self._next_result, None)) is not None:
            self._results.append(self._with_base(found))
            self._next_result += 1

    def _with_base(self, result: Result) -> Result:
        base = self._live.base if self._live else 0
        if not base:
            return result
        loss = result.loss
        if loss.until:
            loss = replace(loss, since=loss.since + base, until=loss.until + base)
        return replace(result, t=result.t + base, loss=loss)

    # ---- the session ------------------------------------------------------------------------------------------

    def _hello(self) -> Hello:
        reply = self._request(Type.HELLO, VERSION.to_bytes(2, "little"), any_session=True)
        hello = Hello.unpack(reply.payload, reply.session)
        self._session = hello.session
        return hello

    def _new_session(self) -> int:
        while True:
            session = secrets.randbits(32)
            if session not in (0, self._session):
                return session

    def _begin(self, session: int) -> None:
        self._resent_requests += self._sender.resent
        self._session = session
        self._sender = EventSender(session, self.hello.credits)
        self._status = None
        self._pages = []
        self._pulled = 0
        self._live = None
        self._live_marks = {}
        self._results, self._early, self._next_result = [], {}, 0
        self._next_raw = 0
        self._pinged = None
        if self._configuration.mode == "live" and self._configuration.source == "link" and self._configured:
            patch_size = self._configured.tokenizer.patch_size
            self._live = LiveSender(session, self.hello.credits, self.hello.max_payload, patch_size)

    @property
    def _latest(self) -> Status:
        return self._status or self._ask_status()

    @property
    def _unpulled(self) -> int:
        """Reported tokens that the device is known to have and we have not."""
        return self._status.tokens - self._pulled if self._reporting and self._status else 0

    def _ask_status(self) -> Status:
        offered = self._live.sent.to_bytes(8, "little") if self._live else b""
        status = Status.unpack(self._request(Type.FLUSH, offered).payload)
        self._take_status(status)
        return status

    def _take_status(self, status: Status) -> None:
        self._status = status
        if (self._live or self._sender).on_status(status):
            self._progress = time.monotonic()

    def _make_room(self) -> None:
        """Let the device go on: read the tokens and results it waits with, or let it work off its queue."""
        self._pull_results()
        if self._reporting:
            self._pull()
        else:
            self._ask_status()

    def _pull(self) -> None:
        page = TokenPage.unpack(
            self._request(Type.TOKENS, self._pulled.to_bytes(4, "little") + _PULL_ALL.to_bytes(2, "little")).payload
        )
        self._take_status(page.status)
        if len(page.tokens):
            self._pages.append(page.tokens)
            self._pulled += len(page.tokens)
            self._progress = time.monotonic()

    # ---- frames -----------------------------------------------------------------------------------------------

    def _request(self, kind: Type, payload: bytes = b"", opens: int | None = None, any_session: bool = False) -> Frame:
        """Send a request until its reply comes. opens: the session that the reply has to be of."""
        self._seq = (self._seq + 1) % (1 << 16)
        if kind == Type.FLUSH and self._live:
            self._live_marks[self._seq] = self._live.mark()
        frame = Frame(kind, self._seq, self._session, payload).encode()
        self._awaited, self._reply = (kind, self._seq), None
        begin = now = time.monotonic()
        self._timer.start(now, measuring=kind not in _SLOW)
        self._out += frame
        try:
            while self._reply is None:
                give_up = max(begin, self._progress, self._moved) + self.timeouts.silence
                if now > give_up:
                    raise self._gave_up("does not answer")
                self._pump(max(min(self._timer.left(now), give_up - now), _LEAST_WAIT))
                now = time.monotonic()
                if self._reply is None and not self._backlog and not self._timer.left(now):
                    self._out += frame
                    self._resent_requests += 1
                    self._timer.retried(now)
        finally:
            self._awaited = None
        reply = self._reply
        if reply.type == Type.ERROR:
            raise self._refused(Error.unpack(reply.payload))
        if not any_session and reply.session != (self._session if opens is None else opens):
            raise self._restarted()
        return reply

    def _pump(self, timeout: float) -> None:
        """Move bytes for at most `timeout` seconds and take in what comes."""
        begin = time.monotonic()
        self._silence.expect(self._owed, begin)
        timeout = min(timeout, max(self._silence.left(begin), _LEAST_WAIT))
        try:
            written, received = self._transport.exchange(self._out.head(_OUT_BYTES), timeout)
        except DeviceError as error:
            raise self._explained(error) from error
        self._out.advance(written)
        now = time.monotonic()
        if now - begin > timeout + _STOPPED:  # the device perhaps, too
            self._progress = now
            self._silence.restart(now)
        self._watch_backlog()
        for frame in self._reader.feed(received):
            self._heard = now = time.monotonic()
            self._timer.heard(now)
            self._silence.heard(now)
            self._take(frame)
        self._watch_silence()

    @property
    def _owed(self) -> bool:
        """Whether the device has to say something."""
        asked = (self._awaited is not None and self._reply is None) or self._pinged is not None
        return asked or self._sender.in_flight > 0 or (self._live is not None and self._live.in_flight > 0)

    def _watch_silence(self) -> None:
        """Say what there is to say of a silent device; one that computes is doing what it was asked to."""
        slow = self._configuration.infers or (self._awaited is not None and self._awaited[0] in _SLOW)
        now = time.monotonic()
        if self._owed and self._silence.look(now, slow) and self._silence.lasts(now) < self.timeouts.work:
            self._progress = now

    def _ping(self, now: float) -> None:
        """See whether a device is there that nobody asks for anything: it says hello in any state."""
        if self._pinged is None:
            self._seq = (self._seq + 1) % (1 << 16)
        self._pinged, self._pinged_at = self._seq, now
        self._out += Frame(Type.HELLO, self._seq, self._session, VERSION.to_bytes(2, "little")).encode()

    def _watch_backlog(self) -> None:
        """See how much the device has not taken yet: it may be slow. Sending that again would make it slower still, and
        taking it is a sign of life, unless it is what silence made us send again."""
        backlog = len(self._out) + self._transport.unsent()
        if backlog < self._backlog:
            now = time.monotonic()
            self._timer.moved(now)
            if not self._timer.retries and self._pinged is None:
                self._moved = now
                self._silence.restart(now)
        self._backlog = backlog

    def _take(self, frame: Frame) -> None:
        if frame.type == Type.ERROR:
            self._take_error(frame)
        elif frame.type == Type.EVENTS | REPLY_BIT:
            if frame.session == self._session:
                status = Status.unpack(frame.payload)
                self._status = status
                if self._live:
                    if self._live.on_status(status):
                        self._progress = time.monotonic()
                elif self._sender.on_ack(frame.seq, frame.flags, status):
                    self._progress = time.monotonic()
        else:
            if frame.session == self._session:
                self._take_unasked(frame)
            if frame.type == Type.HELLO | REPLY_BIT and frame.seq == self._pinged:
                self._pinged = None
                if frame.session != self._session:
                    raise self._restarted()
            if self._awaited == (frame.type & ~REPLY_BIT, frame.seq):
                self._reply = frame

    def _take_unasked(self, frame: Frame) -> None:
        """What is taken in whether somebody waits for it or not."""
        if frame.type == Type.RESULT_PUSH:
            self._take_result(frame.payload, oldest=False)
        elif frame.type == Type.RESULTS | REPLY_BIT and frame.payload:
            self._take_result(frame.payload, oldest=True)
        elif frame.type == Type.FLUSH | REPLY_BIT and self._live:
            mark = self._live_marks.pop(frame.seq, None)
            if mark is not None:
                self._live_marks = {seq: m for seq, m in self._live_marks.items() if m > mark}
                self._live.settled(mark, Status.unpack(frame.payload))
                self._progress = time.monotonic()

    def _take_error(self, frame: Frame) -> None:
        error = Error.unpack(frame.payload)
        if error.code == ErrorCode.FAULT:
            raise DeviceError(f"{self.name} has failed: {error.sentence()}; it has to be restarted")
        if self._awaited == (error.request, frame.seq):
            self._reply = frame
        elif error.request == Type.EVENTS and self._sender.in_flight and frame.session != self._session:
            raise self._restarted()

    # ---- what goes wrong --------------------------------------------------------------------------------------

    def _refused(self, error: Error) -> DeviceError:
        if error.code in (ErrorCode.SESSION, ErrorCode.NO_SESSION) and self._session:
            return self._restarted()
        remedy = "; ask for less, or export the model with a shorter window (spedge export --tokens)"
        hint = remedy if error.code == ErrorCode.MEMORY else ""
        return DeviceError(f"{self.name} refused {Type(error.request).name}: {error.sentence()}{hint}")

    def _restarted(self) -> DeviceError:
        return DeviceError(f"{self.name} was restarted or taken over by another program: what it had been sent is gone")

    def _gave_up(self, what: str) -> DeviceError:
        return self._explained(
            DeviceError(
                f"{self.name} {what} (waited {self.timeouts.silence:g} s): check its cable and power, or restart it"
            )
        )

    def _explained(self, error: DeviceError) -> DeviceError:
        reason = self._obituary()
        return DeviceError(reason) if reason else error
