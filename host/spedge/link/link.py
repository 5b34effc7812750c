"""`Link`: requests and their replies over a line that may lose, damage and double what it carries, or be silent."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused, DeviceTimeout
from spedge.link.clock import SYSTEM, Clock
from spedge.link.frames import FLAG_YIELD, REPLY_BIT, VERSION, ErrorCode, Frame, FrameReader, Type
from spedge.link.key import answered, challenge_of
from spedge.link.protocol import Error
from spedge.link.silence import Silence
from spedge.link.stream import RetryTimer
from spedge.link.transport import Outgoing, Transport, reconnecting

LEAST_WAIT = 0.02
_OUT_BYTES = 1 << 16  # handed to the transport at once
_PING = 0.5  # seconds without a word after which a device that owes none is asked for one
_STOPPED = 1.0  # this process was, when a wait took so much longer than it should
_SEQ = 1 << 16
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


class DeviceTaken(DeviceGone):
    """Another program has taken the device over."""


class Stream(Protocol):
    """A session, as far as its link has to know of it."""

    @property
    def id(self) -> int: ...

    @property
    def in_flight(self) -> int:
        """Frames of events to which a reply is still to come."""

    @property
    def infers(self) -> bool:
        """Whether the device may compute without having been asked to."""

    def asked(self, kind: Type, seq: int) -> None:
        """A request is going out."""

    def take(self, frame: Frame) -> bool:
        """Take in a frame of this session, whether somebody waits for it or not; whether it brought progress."""


class Link:
    """The host's end of a link. It has one request under way at most, and any number of frames that nobody waits for.

    No wait is longer than the time-outs allow. Everything raises DeviceGone when the device is known to be gone, to
    have restarted or to serve another program, DeviceTimeout when it does not answer or get on in time; `request`
    raises DeviceRefused when the device says no.
    """

    def __init__(
        self,
        transport: Transport,
        stream: Stream,
        timeouts: Timeouts | None = None,
        obituary: Callable[[], str | None] | None = None,
        at_work: Callable[[], bool] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """obituary: says why the device is gone, None while it is not known to be; asked when the link breaks.
        at_work: says whether the device's processor is busy, where that can be seen from here."""
        self.transport = transport
        self.timeouts = timeouts or Timeouts()
        self.clock = clock
        self.resent = 0  #: requests sent again because no answer came
        self._stream = stream
        self._obituary = obituary or (lambda: None)
        self._reader = FrameReader()
        self._out = Outgoing(b"\0")  # ends a frame that somebody before us left unfinished
        self._backlog = 0  # bytes that the device has not taken
        self._moved = 0.0  # when it last took some
        self._seq = secrets.randbelow(_SEQ)
        self._awaited: tuple[int, int] | None = None  # type and seq of the request under way
        self._any_session = False  # whether its reply may be of any
        self._reply: Frame | None = None
        self._silence = Silence(transport.name, self.timeouts.notice, self.timeouts.silence, at_work)
        self._timer = RetryTimer(self.timeouts.resend_least, self.timeouts.resend_most)
        self._progress = clock.monotonic()
        self._met = False  # whether the device has answered at all
        self._heard = 0.0  # when the last frame came
        self._pinged: int | None = None  # seq of the HELLO that was sent only to hear something
        self._pinged_at = 0.0
        self._key: bytes | None = None
        if line := reconnecting(transport):
            line.greeting = self._greeting
            self._key = line.key

    @property
    def name(self) -> str:
        """What messages call the device."""
        return self.transport.name

    @property
    def corrupted(self) -> int:
        """Damaged frames received so far."""
        return self._reader.corrupted

    @property
    def reconnects(self) -> int:
        """Times that the line has come back."""
        line = reconnecting(self.transport)
        return line.reconnects if line else 0

    def begin(self, stream: Stream) -> None:
        """From here on frames are of that session."""
        self._stream = stream
        self._pinged = None

    # ---- requests ---------------------------------------------------------------------------------------------

    def request(
        self, kind: Type, payload: bytes = b"", opens: int | None = None, any_session: bool = False, flags: int = 0
    ) -> Frame:
        """Send a request until its reply comes. opens: the session that the reply has to be of."""
        data = self._numbered(kind, payload, flags)
        self._awaited, self._reply = (kind, self._seq), None
        self._any_session = any_session or opens is not None
        begin = now = self.clock.monotonic()
        self._timer.start(now, measuring=kind not in _SLOW)
        self._out += data
        try:
            while self._reply is None:
                give_up = max(begin, self._progress, self._moved) + self.timeouts.silence
                if now > give_up:
                    raise self.gave_up("does not answer")
                self.pump(max(min(self._timer.left(now), give_up - now), LEAST_WAIT))
                now = self.clock.monotonic()
                if self._reply is None and self.overdue:
                    self._out += data
                    self.resent += 1
                    self.retried()
        finally:
            self._awaited, self._any_session = None, False
        self._met = True
        if self._reply.type == Type.ERROR:
            raise self._refused(Error.unpack(self._reply.payload))
        if not any_session and self._reply.session != (self._stream.id if opens is None else opens):
            raise self._restarted()
        return self._reply

    def post(self, kind: Type, payload: bytes) -> None:
        """Send a request and do not wait for its reply; the stream takes it in."""
        self._out += self._numbered(kind, payload)

    def put(self, frame: Frame) -> None:
        """Send a frame that the stream has numbered."""
        self._out += frame.encode()

    def _numbered(self, kind: Type, payload: bytes, flags: int = 0) -> bytes:
        self._seq = (self._seq + 1) % _SEQ
        self._stream.asked(kind, self._seq)
        return Frame(kind, self._seq, self._stream.id, payload, flags).encode()

    def inferred(self, seconds: float, cost: int) -> None:
        """How long an inference took, and its cost by a counter that stands still whenever the device does."""
        self._silence.inferred(seconds, cost)

    # ---- waiting ----------------------------------------------------------------------------------------------

    def progressed(self) -> None:
        """The device has got on with something, or something new begins."""
        self._progress = self.clock.monotonic()

    def started(self) -> None:
        """Something was sent that is to be answered, after nothing was."""
        self._timer.start(self.clock.monotonic())

    @property
    def patience(self) -> float:
        """Seconds until what was not answered is to be sent again."""
        return max(self._timer.left(self.clock.monotonic()), LEAST_WAIT)

    @property
    def overdue(self) -> bool:
        """Whether that time has come."""
        return not self._backlog and not self._timer.left(self.clock.monotonic())

    def retried(self) -> None:
        self._timer.retried(self.clock.monotonic())

    def require_progress(self, otherwise: str, moving: bool = True) -> None:
        """Raises DeviceTimeout, with these words, when nothing has got on for too long. moving: taking bytes counts."""
        last = max(self._progress, self._moved) if moving else self._progress
        if self.clock.monotonic() - last > self.timeouts.silence:
            raise self.gave_up(otherwise)

    def look_after(self) -> None:
        """Where nobody waits for an answer: ask a quiet device whether it is there, and give it up when it is not."""
        now = self.clock.monotonic()
        quiet = now - max(self._heard, self._pinged_at) > _PING
        if quiet and not self._backlog and not self._stream.in_flight:
            if self._pinged is None:
                self._seq = (self._seq + 1) % _SEQ
            self._out += self._ping(now)
        if min(self._silence.lasts(now), now - self._progress) > self.timeouts.silence:
            raise self.gave_up("does not answer")

    def pump(self, seconds: float) -> None:
        """Move bytes for at most so long and take in what comes."""
        begin = self.clock.monotonic()
        self._silence.expect(self._owed, begin)
        seconds = min(seconds, max(self._silence.left(begin), LEAST_WAIT))
        if self._key and self._pinged is not None and begin - self._pinged_at > self.timeouts.resend_least:
            self._out += self._ping(begin)  # nothing else is listened to until it, and the key, have got through
        try:
            written, received = self.transport.exchange(self._out.head(_OUT_BYTES), seconds)
        except DeviceError as error:
            raise self._explained(error) from error
        self._out.advance(written)
        now = self.clock.monotonic()
        if now - begin > seconds + _STOPPED:  # the device perhaps, too
            self._progress = now
            self._silence.restart(now)
        self._watch_backlog()
        for frame in self._reader.feed(received):
            self._heard = now = self.clock.monotonic()
            self._timer.heard(now)
            self._silence.heard(now)
            self._take(frame)
        self._watch_silence()

    @property
    def _owed(self) -> bool:
        """Whether the device has to say something."""
        asked = (self._awaited is not None and self._reply is None) or self._pinged is not None
        return asked or self._stream.in_flight > 0

    def _watch_silence(self) -> None:
        """Say what there is to say of a silent device; one that computes is doing what it was asked to."""
        slow = self._stream.infers or (self._awaited is not None and self._awaited[0] in _SLOW)
        now = self.clock.monotonic()
        if self._owed and self._silence.look(now, slow) and self._silence.lasts(now) < self.timeouts.work:
            self._progress = now

    def _watch_backlog(self) -> None:
        """See how much the device has not taken yet: it may be slow. Sending that again would make it slower still, and
        taking it is a sign of life, unless it is what silence made us send again."""
        backlog = len(self._out) + self.transport.unsent()
        if backlog < self._backlog:
            now = self.clock.monotonic()
            self._timer.moved(now)
            if not self._timer.retries and self._pinged is None:
                self._moved = now
                self._silence.restart(now)
        self._backlog = backlog

    def _ping(self, now: float) -> bytes:
        """A HELLO of the present number: a device says hello in any state, and in which session it is."""
        self._pinged, self._pinged_at = self._seq, now
        return Frame(Type.HELLO, self._seq, self._stream.id, VERSION.to_bytes(2, "little"), FLAG_YIELD).encode()

    def _greeting(self) -> bytes:
        """What is said first on a line that has come back: whose it is, and that it takes the device from nobody."""
        if self._pinged is None:
            self._seq = (self._seq + 1) % _SEQ
        return b"\0" + self._ping(self.clock.monotonic())

    # ---- what comes -------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if frame.type == Type.ERROR:
            self._take_error(frame)
            return
        if frame.type == Type.HELLO | REPLY_BIT and (challenge := challenge_of(frame.payload)):
            self._show_key(frame, challenge)
            return
        if frame.session == self._stream.id and self._stream.take(frame):
            self.progressed()
        if frame.type == Type.HELLO | REPLY_BIT and frame.seq == self._pinged:
            self._pinged = None
            if frame.session != self._stream.id:
                self._found_other()
        if self._awaited == (frame.type & ~REPLY_BIT, frame.seq):
            self._reply = frame

    def _show_key(self, asked: Frame, challenge: bytes) -> None:
        """Say HELLO again, with the answer to a challenge; the reply to that is the one that was waited for."""
        if self._key is None:
            raise DeviceRefused(
                f"{self.name} lets in only who has its key: add ,key=FILE to the address, with a copy of the file that "
                "it was started with"
            )
        answer = answered(challenge, self._key)
        self._out += Frame(Type.HELLO, asked.seq, self._stream.id, answer, asked.flags).encode()

    def _take_error(self, frame: Frame) -> None:
        error = Error.unpack(frame.payload)
        if error.code == ErrorCode.KEY:
            if error.request == Type.HELLO:
                raise DeviceRefused(f"{self.name} has another key than the one given: copy its file anew")
            return  # it came before the key was shown, and is sent again
        if error.code == ErrorCode.FAULT:
            raise DeviceGone(f"{self.name} has failed: {error.sentence()}; it has to be restarted")
        if error.code == ErrorCode.TAKEN:
            if self._met:
                raise DeviceTaken(f"another program took over {self.name}")
            raise DeviceRefused(f"{self.name} is in use by another program")
        if self._awaited == (error.request, frame.seq):
            self._reply = frame
        elif error.request == Type.EVENTS and self._stream.in_flight and frame.session != self._stream.id:
            self._found_other()

    def _found_other(self) -> None:
        """The device is in another session; whether that is so is being asked already where the reply may be of any."""
        if not self._any_session:
            raise self._restarted()

    # ---- what goes wrong --------------------------------------------------------------------------------------

    def _refused(self, error: Error) -> DeviceError:
        if error.code in (ErrorCode.SESSION, ErrorCode.NO_SESSION) and self._stream.id:
            return self._restarted()
        remedy = "; ask for less, or export the model with a shorter window (spedge export --tokens)"
        hint = remedy if error.code == ErrorCode.MEMORY else ""
        return DeviceRefused(f"{self.name} refused {Type(error.request).name}: {error.sentence()}{hint}")

    def _restarted(self) -> DeviceError:
        return DeviceGone(f"{self.name} was restarted or taken over by another program: what it had been sent is gone")

    def gave_up(self, what: str) -> DeviceError:
        """The error for a device that was waited for in vain."""
        return self._explained(
            DeviceTimeout(
                f"{self.name} {what} (waited {self.timeouts.silence:g} s): check its cable and power, or restart it"
            )
        )

    def _explained(self, error: DeviceError) -> DeviceError:
        reason = self._obituary()
        return DeviceGone(reason) if reason else error
