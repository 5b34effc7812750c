"""`Client`: everything that a device can be asked, over any byte stream."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, UsageError
from spedge.base.outputs import Output
from spedge.device.session import Session
from spedge.link.clock import SYSTEM, Clock
from spedge.link.counts import Stats, Status
from spedge.link.faults import FaultyTransport
from spedge.link.frames import FLAG_YIELD, VERSION, ProtocolError, Type
from spedge.link.link import LEAST_WAIT, DeviceTaken, LineCounts, Link, Timeouts
from spedge.link.live import LiveSender
from spedge.link.protocol import (
    BOXES,
    Configuration,
    Configured,
    Hello,
    ImageInfo,
    RawPage,
    Result,
    TokenPage,
    ValuesPage,
    fits_result,
    unpack_outputs,
)
from spedge.link.steps import BoxesPage, StepResult
from spedge.link.transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

_PULL_TOKENS = 32  # unread tokens worth a request while events are on their way
_PULL_ALL = 0xFFFF
_ASK_AGAIN = 0.1  # for a result that is missing while live


class Client:
    """A device on the other end of a transport; a context manager.

    Opening says hello. `configure` begins a session; then `send` events, and ask for `tokens`, `infer` and `stats`.
    All calls block, none for longer than the time-outs. Not for use by several threads at once.
    Every method raises DeviceTimeout when the device does not answer, DeviceGone when it has ended or restarted or
    serves another program, DeviceRefused when it says no; after one of the first two `resume` finds out how to go on.
    A line that breaks and comes back soon, and a device that is silent for a while, are only mentioned in the log (the
    logger `spedge.device`): nothing of the stream is lost by that.
    """

    def __init__(
        self,
        transport: Transport,
        timeouts: Timeouts | None = None,
        obituary: Callable[[], str | None] | None = None,
        at_work: Callable[[], bool] | None = None,
        clock: Clock = SYSTEM,
        yields: bool = False,
    ) -> None:
        """obituary: says why the device is gone, None while it is not known to be; asked when the link breaks.
        at_work: says whether the device's processor is busy, where that can be seen from here.
        yields: leave the device to another program that has it; else, where it serves one after the other, it is taken
        over."""
        #: The other end of the camera port of a board that was started here: what an EmulatedCamera connects to.
        self.camera_address: str | None = None
        self.session = Session()
        self.link = Link(transport, self.session, timeouts, obituary, at_work, clock)
        self.timeouts = self.link.timeouts
        self._owned = contextlib.ExitStack()
        self._owned.callback(transport.close)
        self._resent_before = 0  # events of earlier sessions
        self._asked_results = self._asked_room = 0.0  # when
        try:
            self._greet(yields)
            self._begin(Session(self.hello.session))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
        return self.link.name

    @property
    def resent(self) -> int:
        """Frames sent again so far because no answer came or one was missing."""
        return self.link.resent + self._resent_before + self.session.sender.resent

    @property
    def status(self) -> Status | None:
        """What the device last said of this session's stream; None before it said anything."""
        return self.session.status

    @property
    def corrupted(self) -> int:
        """Damaged frames received so far."""
        return self.link.corrupted

    def line_counts(self) -> LineCounts:
        """What the line did to the frames so far, as both ends saw it."""
        stats = self.stats()
        return LineCounts(
            resent=self.resent,
            repeated=stats.repeated,
            refused=stats.refused,
            damaged_there=stats.corrupted + stats.oversized + stats.truncated,
            damaged_here=self.corrupted,
            reconnects=self.link.reconnects,
        )

    @property
    def faults_done(self) -> dict[str, int]:
        """What was done to the line on purpose so far, by kind; empty without `faults`."""
        line = self.link.transport
        return dict(line.done) if isinstance(line, FaultyTransport) else {}

    # ---- sessions ---------------------------------------------------------------------------------------------

    def resume(self, within: float = 30.0) -> bool:
        """After a DeviceError: wait up to `within` seconds for the device to come back, and go on if it can.

        Returns True when it still has the session; what an interrupted `send` had left is sent then. False when it has
        restarted or serves another session: nothing of ours is left, begin with `configure`. Raises DeviceError
        when it is not back in time, and at once when another program has it.
        """
        deadline = self.link.clock.monotonic() + within
        while True:
            try:
                self._greet(yields=True)
                break
            except DeviceTaken:
                raise
            except DeviceError:
                if self.link.clock.monotonic() > deadline:
                    raise
        if self.hello.session == self.session.id != 0:
            if self.session.sender.pending:
                self.send(b"")
            return True
        self._begin(Session(self.hello.session))
        return False

    def configure(self, configuration: Configuration) -> Configured:
        """Begin a session: forget everything, carve the memory anew. Returns the settings in effect."""
        unknown = set(configuration.outputs or ()) - {output.name for output in self.outputs}
        if unknown:
            known = ", ".join(output.name for output in self.outputs) or "none"
            raise UsageError(f"the model has no output {', '.join(sorted(unknown))}; its outputs are: {known}")
        session = self._new_session()
        reply = self.link.request(Type.CONFIGURE, configuration.pack(session), opens=session)
        configured = Configured.unpack(reply.payload)
        self._begin(Session(session, self.hello, configuration, configured, self.outputs))
        return configured

    def reset(self) -> None:
        """Begin a session with the same settings: forget all events and tokens."""
        session = self._new_session()
        self.link.request(Type.RESET, session.to_bytes(4, "little"), opens=session)
        self._begin(Session(session, self.hello, self.session.configuration, self.session.configured, self.outputs))

    def _greet(self, yields: bool) -> None:
        """Find out who the device is, and what its model gives."""
        flags = FLAG_YIELD if yields else 0
        reply = self.link.request(Type.HELLO, VERSION.to_bytes(2, "little"), any_session=True, flags=flags)
        hello = Hello.unpack(reply.payload, reply.session)
        self.outputs = self._ask_outputs(hello)
        self.hello = hello

    def _ask_outputs(self, hello: Hello) -> tuple[Output, ...]:
        if 4 * hello.numbers > hello.arena_bytes:
            raise ProtocolError(f"{self.name} has results of {hello.numbers} numbers in {hello.arena_bytes} bytes")
        if hello.task == "classification" and hello.outputs == 1:
            return (Output("logits", (hello.numbers,)),)
        outputs: list[Output] = []
        while len(outputs) < hello.outputs:
            reply = self.link.request(Type.OUTPUTS, len(outputs).to_bytes(2, "little"), any_session=True)
            total, first, page = unpack_outputs(reply.payload)
            if (total, first) != (hello.outputs, len(outputs)) or not page:
                raise ProtocolError(f"{self.name} has {hello.outputs} outputs and does not name them")
            outputs += page
        if sum(output.size for output in outputs) != hello.numbers:
            raise ProtocolError(f"{self.name} has results of {hello.numbers} numbers, and its outputs are {outputs}")
        return tuple(outputs)

    def _new_session(self) -> int:
        while True:
            session = secrets.randbits(32)
            if session not in (0, self.session.id):
                return session

    def _begin(self, session: Session) -> None:
        self._resent_before += self.session.sender.resent
        self.session = session
        self.link.begin(session)

    # ---- what a device tells ----------------------------------------------------------------------------------

    def stats(self) -> Stats:
        return Stats.unpack(self.link.request(Type.STATS).payload)

    def image(self) -> ImageInfo:
        """The program that the device runs, as it lies in its memory."""
        return ImageInfo.unpack(self.link.request(Type.IMAGE, any_session=True).payload)

    def reboot(self, to_bootloader: bool = False) -> None:
        """Start the firmware anew, or the chip's bootloader, which is no `Device` any more.

        The device has answered when this returns; close it, or go on with `resume`. Raises DeviceRefused where it
        cannot.
        """
        self.link.request(Type.REBOOT, bytes([to_bootloader]), any_session=True)

    def tokens(self) -> NDArray:
        """All tokens of the session so far, as link.tokens.TOKEN_DTYPE [n]; times without `evt2.time_base`.

        Raises UsageError when the session was configured without reports.
        """
        if not self.session.reports:
            raise UsageError("tokens can be read only in a session configured with report_tokens > 0")
        self.flush()
        while self.session.unpulled:
            self._pull()
        return self.session.tokens()

    def infer(self) -> Result:
        """Run the encoder on the last tokens, after everything sent has been processed."""
        self.flush()
        if self.session.detects or not fits_result(self.hello.numbers, self.hello.max_payload):
            self._pull_results()  # else the device has numbers to be read, and does not compute
        begin = self.link.clock.monotonic()
        result = self.session.result(self.link.request(Type.INFER).payload)
        if self.hello.cost_unit in ("instructions", "cycles"):
            self.link.inferred(self.link.clock.monotonic() - begin, result.cost_encode)
        self._note(self.session.take_status(result.status))
        return self._complete(result)

    def take_results(self) -> list[Result]:
        """Results that the device made unasked since the last call, in order; times with `LiveSender.base` added.

        In live mode with push it returns what has come, and sees to it that what was lost on the way comes again;
        else it asks the device, which releases them there. Results that the device had to drop are missing: their
        index, and Loss.results_dropped, tell. Outputs that do not fit beside a result are read here: in live mode the
        device may have gone on by then, and they are named in Result.gone.
        """
        if self.session.live and self.session.configuration.push:
            self._work(0.0)
        else:
            self._pull_results()
        self._complete_results()
        return self.session.take_results()

    def raw(self) -> tuple[int, bytes]:
        """Bytes of the board's camera, or of its RAM, as they came: how many were lost before them, and they.

        In a session configured with raw=True, in order, each byte once. None are lost in lossless mode: the camera
        waits for the host.
        """
        if not self.session.configuration.raw:
            raise UsageError("the bytes of the source are kept only in a session configured with raw=True")
        page = RawPage.unpack(self.link.request(Type.RAW, self.session.next_raw.to_bytes(8, "little")).payload)
        self._note(self.session.take_status(page.status))
        return self.session.take_raw(page)

    # ---- events, losslessly -----------------------------------------------------------------------------------

    def send(self, words: NDArray[np.uint32] | bytes, on_progress: Callable[[int], None] | None = None) -> Status:
        """Send raw EVT2 words; returns when the device has accepted all of them, exactly once each.

        on_progress gets the bytes accepted so far of these. Reported tokens and results are collected on the way.
        Raises UsageError in a session whose events do not come from here, losslessly.
        """
        self._require("lossless", "send")
        link, session, sender = self.link, self.session, self.session.sender
        data = memoryview(words if isinstance(words, bytes) else np.ascontiguousarray(words, "<u4").tobytes())
        step = self.hello.max_payload
        for at in range(0, len(data), step):
            sender.offer(data[at : at + step])
        link.progressed()
        while sender.pending:
            if not sender.in_flight:
                link.started()
            while (frame := sender.next_frame()) is not None:
                link.put(frame)
            if sender.blocked or session.unpulled >= _PULL_TOKENS:
                self._make_room()
            else:
                link.pump(link.patience)
            if sender.in_flight and link.overdue:
                sender.rewind()
                link.retried()
            link.require_progress("takes no more events")
            if on_progress is not None:
                on_progress(max(len(data) - sender.pending * step, 0))
        return session.status or self._ask_status()

    def flush(self) -> Status:
        """Wait until everything sent, or in the device's RAM, has been processed."""
        self.link.progressed()
        while (status := self._ask_status()).queued:
            self._make_room()
            self.link.require_progress("does not finish the events it has", moving=False)
        return status

    def _ask_status(self) -> Status:
        status = Status.unpack(self.link.request(Type.FLUSH, self.session.flush).payload)
        self._note(self.session.take_status(status))
        return status

    def _make_room(self) -> None:
        """Let the device go on: read the tokens and results it waits with, or let it work off its queue."""
        self._pull_results()
        if self.session.reports:
            self._pull()
        else:
            self._ask_status()

    def _pull(self) -> None:
        wanted = self.session.pulled.to_bytes(4, "little") + _PULL_ALL.to_bytes(2, "little")
        self._note(self.session.take_page(TokenPage.unpack(self.link.request(Type.TOKENS, wanted).payload)))

    def _pull_results(self) -> None:
        """Ask for all results there are."""
        while self.session.infers:
            self._complete_results()  # the next request releases those that have come
            first = self.session.next_result
            self.link.request(Type.RESULTS, first.to_bytes(4, "little"))
            if self.session.next_result == first:
                return

    def _complete_results(self) -> None:
        """Read what is missing of the results that have come so far; later ones may come meanwhile."""
        for _ in range(len(self.session.incomplete)):
            self.session.completed(self._complete(self.session.incomplete[0]))

    def _complete(self, result: Result) -> Result:
        """The result with the outputs and boxes that did not fit beside it, as far as the device still has them."""
        read: dict[str, NDArray[np.float32]] = {}
        if result.step is not None and BOXES in result.gone:
            result = self._read_boxes(result, result.step)
            if BOXES in result.gone:
                return result
        for name in result.gone:
            tensor = self._read_output(result, name)
            if tensor is None:
                break
            read[name] = tensor
        found = result.outputs | read
        ordered = {output.name: found[output.name] for output in self.session.outputs if output.name in found}
        return replace(result, outputs=ordered, gone=tuple(name for name in result.gone if name not in read))

    def _read_boxes(self, result: Result, step: StepResult) -> Result:
        """The same with all its boxes, or as it is when the device does not have them any more."""
        parts, have = [step.boxes], len(step.boxes)
        while have < step.found:
            page = BoxesPage.unpack(self._page(Type.BOXES, result.run, have))
            if page.run != result.run:
                return result
            if page.first != have or not len(page.boxes):
                raise ProtocolError(f"{self.name} was asked for box {have} of a step and gives others")
            parts.append(page.boxes[: step.found - have])
            have += len(parts[-1])
        gone = tuple(name for name in result.gone if name != BOXES)
        return replace(result, step=replace(step, boxes=np.concatenate(parts)), gone=gone)

    def _page(self, kind: Type, run: int, first: int) -> bytes:
        """What the device has of that run from the number `first` on."""
        wanted = run.to_bytes(4, "little") + first.to_bytes(4, "little")
        return self.link.request(kind, wanted).payload

    def _read_output(self, result: Result, name: str) -> NDArray[np.float32] | None:
        """None when the device does not have it any more: it has what its last run gave."""
        if result.run < self.session.newest_run:
            return None
        output, start = self.session.place(name)
        there = result.first[start : start + output.size]
        numbers = self._read_numbers(result.run, start + len(there), output.size - len(there))
        return None if numbers is None else np.concatenate([there, numbers]).reshape(output.shape)

    def _read_numbers(self, run: int, first: int, count: int) -> NDArray[np.float32] | None:
        """So many numbers of a run from the first on; None when the device does not have them any more."""
        parts = [np.empty(0, np.float32)]
        while count:
            page = ValuesPage.unpack(self._page(Type.VALUES, run, first))
            if page.run != run:
                return None
            if page.first != first or not len(page.numbers):
                raise ProtocolError(f"{self.name} was asked for number {first} of a result and gives others")
            parts.append(page.numbers[:count])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)

    def graph_words(self, result: Result) -> NDArray[np.uint32] | None:
        """The tables of the graphs that a model on graphs went by, uint32 (`spedge.model.graph.DeviceWords`).

        None when the device has gone on since: it has those of its last run. Empty for a model of another kind."""
        numbers = self._read_numbers(result.run, self.hello.numbers, 0 if self.session.detects else self.hello.state)
        return None if numbers is None else numbers.view(np.uint32)

    def _note(self, progress: bool) -> None:
        if progress:
            self.link.progressed()

    # ---- events, live -----------------------------------------------------------------------------------------

    def offer(self, events: NDArray[Any]) -> None:
        """Live mode: send events (structured t µs, x, y, p; sorted, also across calls) as far as the device has room.

        Never waits for the device: what it has no room for is thinned out evenly over time and patches, and counted.
        Call it, or `wait`, often. Raises UsageError in a session that is not live over the link, InputError for events
        that are not sorted.
        """
        self._live("offer").offer(events)
        self._work(0.0)

    def wait(self, seconds: float) -> None:
        """Let the link work for that long: send what waits, take in results."""
        end = self.link.clock.monotonic() + seconds
        while True:
            left = end - self.link.clock.monotonic()
            self._work(max(min(left, LEAST_WAIT), 0.0))
            if left <= 0:
                return

    def finish(self) -> Status:
        """Live mode: send what still waits, and return when the device has processed it and every event is counted."""
        live = self._live("finish")
        self.link.progressed()
        while live.waiting:
            self._work(LEAST_WAIT)
        status = self.flush()
        self._pull_results()
        return status

    def _work(self, seconds: float) -> None:
        """One turn of the link for at most `seconds`, without waiting for any answer."""
        link, session = self.link, self.session
        if session.live:
            self._send_live(session.live)
        link.pump(seconds)
        if session.live:
            self._settle_live(session.live)
        link.look_after()
        now = link.clock.monotonic()
        if session.early and now - self._asked_results > _ASK_AGAIN:
            self._asked_results = now
            link.post(Type.RESULTS, session.next_result.to_bytes(4, "little"))

    def _send_live(self, live: LiveSender) -> None:
        idle = not live.in_flight
        for frame in live.frames():
            self.link.put(frame)
        if idle and live.in_flight:
            self.link.started()
            self.link.progressed()

    def _settle_live(self, live: LiveSender) -> None:
        """Find out what became of the frames, and whether there is room for more, where no reply says so."""
        now = self.link.clock.monotonic()
        if live.blocked and now - self._asked_room > LEAST_WAIT:
            self._asked_room = now
            self.link.post(Type.FLUSH, self.session.flush)
        if live.in_flight and self.link.overdue:
            self.link.post(Type.FLUSH, self.session.flush)
            self.link.retried()
        if live.in_flight:
            self.link.require_progress("takes no more events")

    def _live(self, what: str) -> LiveSender:
        self._require("live", what)
        assert self.session.live
        return self.session.live

    def _require(self, mode: str, what: str) -> None:
        c = self.session.configuration
        if c.source != "link":
            raise UsageError(f"{what}: the events of this session come from the board's {c.source}, not over the link")
        if c.mode != mode:
            raise UsageError(f"{what} is for a session configured with mode={mode!r}; this one is {c.mode}")
