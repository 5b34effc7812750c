"""A stage for what happens now: events as they come, and what a device says of them. It looks on and stops nobody."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.events.arrays import copied
from spedge.jobs.labelling import KEYS, Labeller
from spedge.jobs.run import Progress
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer
from spedge.view.boxes import found
from spedge.view.scene import BOXES_US, SEEN_DTYPE, TOKEN_FADES, Frame, Surface
from spedge.view.stage import Answer, Stage, changed, frame_answer, series, tokenizer_document, whole

_MOST_EVENTS = 1 << 22  # that wait to be looked at; of more, the page shows none
_MOST_RESULTS = 600
_NO_BOXES = np.empty(0, SEEN_DTYPE)


class LiveStage(Stage):
    """A source's newest events. settings: of the tokenizer that the page shows, whose sensor is the source's.

    labels: of the model on a device whose results come by `progress`, if there is one; device: its name; detects:
    whether its results are boxes.
    A context manager: a thread of its own does the work, and the callers of `offer` and `progress` wait for nothing.
    """

    def __init__(
        self,
        name: str,
        settings: TokenizerSettings,
        labels: tuple[str, ...] = (),
        device: str = "",
        detects: bool = False,
    ) -> None:
        self.name, self._detects = name, detects
        self._settings = self._first_settings = settings
        self._labels, self._device = labels, device
        self._come = threading.Condition()
        self._waiting: deque[NDArray[np.void]] = deque()
        self._held = self._skipped = 0
        self._ended = False
        self._lock = threading.Lock()  # of what follows
        self._events = Surface(settings.height, settings.width)
        self._t = self._seen = self._fired = self._version = 0
        self._first: int | None = None
        self._note = self._note_of_device = ""
        self.labeller: Labeller | None = None  # keeps samples when a page says what they show
        self._results: deque[tuple[int, NDArray[np.float32]]] = deque(maxlen=_MOST_RESULTS)
        self._boxes = _NO_BOXES
        self._begin_tokens()
        self._thread = threading.Thread(target=self._work, name="stage", daemon=True)

    def __enter__(self) -> LiveStage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._come:
            self._ended = True
            self._come.notify()
        self._thread.join(5)

    # ------------------------------------------------------------ from who has the events
    def offer(self, events: NDArray[np.void]) -> None:
        """The next events (EVENT_DTYPE, sorted, inside the sensor); what there is no room for is not shown."""
        if not len(events):
            return
        with self._come:
            if self._held + len(events) > _MOST_EVENTS:
                self._skipped += len(events)
                return
            self._waiting.append(copied(events))
            self._held += len(events)
            self._come.notify()

    def progress(self, state: Progress) -> None:
        """What a session's device says."""
        rates = f"{state.events_per_second / 1e3:,.1f} kev/s, {state.tokens_per_second:,.0f} tokens/s"
        with self._lock:
            for outcome in state.outcomes:
                if outcome.step is None:
                    self._results.append((outcome.t, outcome.logits))
                else:
                    self._boxes = found(outcome.t, outcome.step.boxes)
                lost = ", ".join(f"{cause} {n:,}" for cause, n in outcome.loss.by_cause.items() if n) or "none"
                self._note_of_device = f"lost: {lost} · latency {outcome.latency:,} {outcome.cost_unit}"
                self._version += 1
            self._note = " · ".join(filter(None, (rates, self._note_of_device)))

    # ------------------------------------------------------------ the thread
    def _work(self) -> None:
        while True:
            with self._come:
                self._come.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return
                events = self._waiting.popleft()
                self._held -= len(events)
            with self._lock:
                self._take(events)

    def _take(self, events: NDArray[np.void]) -> None:
        first, last = int(events["t"][0]), int(events["t"][-1])
        if first < self._t:  # another beginning: what was is over
            self._events = Surface(self._settings.height, self._settings.width)
            self._begin_tokens()
            self._boxes = _NO_BOXES
        self._first = first if self._first is None else self._first
        self._events.add(events["x"], events["y"], events["t"], events["p"])
        tokens = self._tokenizer.push(events)
        self._tokens.add(tokens.x, tokens.y, tokens.t)
        self._t, self._seen, self._fired = last, self._seen + len(events), self._fired + len(tokens)

    def _begin_tokens(self) -> None:
        self._tokenizer = Tokenizer.by(self._settings)
        self._tokens = Surface(self._settings.rows, self._settings.columns)
        self._fired = 0

    # ------------------------------------------------------------ to the page
    def about(self) -> dict[str, Any]:
        with self._lock:
            return {
                "name": self.name,
                "live": True,
                "width": self._settings.width,
                "height": self._settings.height,
                "first": self._first or 0,
                "last": self._t,
                "rates": [],
                "token_fades": TOKEN_FADES,
                "model": bool(self._labels) and not self._detects,
                "keys": [] if self.labeller is None else list(zip(KEYS, self.labeller.labels, strict=False)),
            }

    def answer(self, asked: dict[str, Any]) -> Answer:
        if asked.get("op") == "label" and self.labeller is not None:
            return _labelled(self.labeller, whole(asked, "number", 0, len(KEYS)))  # a file is written: nobody waits
        ways = {"frame": self._frame, "series": self._series, "tokenizer": self._change, "token": self._no_token}
        way = ways.get(str(asked.get("op")))
        if way is None:
            raise UsageError(f"there is no {asked.get('op')!r} to ask for while it happens")
        with self._lock:
            return way(asked)

    def _frame(self, asked: dict[str, Any]) -> Answer:
        """The newest there is, whatever time is asked for."""
        fade, t = whole(asked, "fade", 1, 60_000_000), self._t
        shown, lit = self._events.events(t, fade), self._tokens.tokens(t, TOKEN_FADES * fade)
        frame = Frame(t, shown, lit, _NO_BOXES, self._seen, self._fired, -1)
        boxes = self._boxes[self._boxes["t"] >= t - BOXES_US]
        skipped = f"{self._skipped:,} events came too fast to be shown" if self._skipped else ""
        return frame_answer(
            frame, self._version, boxes, first=self._first or 0, note=" · ".join(filter(None, (self._note, skipped)))
        )

    def _series(self, _: dict[str, Any]) -> Answer:
        document = tokenizer_document(self._version, self._settings, self._first_settings, self._fired)
        if self._detects:
            document |= {"names": list(self._labels), "boxes_of": self._device, "boxes_verdict": None}
        elif self._labels:
            logits = np.array([row for _, row in self._results], np.float32).reshape(-1, len(self._labels))
            times = np.array([t for t, _ in self._results], np.int64)
            document |= {"labels": list(self._labels), "device": series(times, logits) | {"name": self._device}}
        return Answer(document)

    def _change(self, asked: dict[str, Any]) -> Answer:
        """Another tokenizer from now on."""
        self._settings = changed(self._settings, self._first_settings, asked)
        self._begin_tokens()
        self._version += 1
        return self._series({})

    def _no_token(self, _: dict[str, Any]) -> Answer:
        return Answer({"token": None})


def _labelled(labeller: Labeller, number: int) -> Answer:
    kept = labeller.keep(number)
    said = f"{kept.label} {kept.number}: {kept.events:,} events of {kept.seconds:.2f} s"
    return Answer({"kept": said, "label": kept.label, "number": kept.number})
