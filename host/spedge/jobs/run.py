"""A model on a device, events from a source, and what the device says of them while they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceRefused
from spedge.device.open import Device
from spedge.events import evt2
from spedge.events.arrays import empty_events, since
from spedge.events.part import WHOLE, Part, part_for
from spedge.jobs.play import other_sensor, require_model, require_part
from spedge.link.counts import Loss, Stats, Status
from spedge.link.protocol import Configuration, Result
from spedge.link.steps import StepResult
from spedge.model.bundle import Bundle
from spedge.model.parts import Detection
from spedge.sources import Source

_WAIT_SECONDS = 0.02
_ASK_SECONDS = 0.5


@dataclass(frozen=True)
class Triggers:
    """When the device says what it sees, in the stream's time: each `every_us` µs, each `every_tokens` tokens; 0: not.

    window_us: only tokens of the last so many µs count, 0: whatever their age (at most the model's T of them ever).
    """

    every_us: int = 100_000
    every_tokens: int = 0
    window_us: int = 0


@dataclass(frozen=True)
class Outcome:
    """One result of the device: unasked, by a trigger, or the last one, asked for when all events are there.

    cause: a name of protocol.CAUSES. t: the stream's time it stands for, µs. tokens: fired so far; window: of them,
    what the model saw. confidence: softmax of the label's logit. latency: from the newest bytes being taken in to the
    outputs, in `cost_unit`. outputs: shapes of all that the model gives, by name; of these only the logits are read.
    loss: of events, up to this result. step: of a detector, the boxes of the step whose time t is; the label is then
    that of the best of them, "" without any, the confidence its score, and there are no logits.
    """

    index: int
    cause: str
    t: int
    tokens: int
    window: int
    label: str
    confidence: float
    logits: NDArray[np.float32]
    outputs: dict[str, tuple[int, ...]]
    latency: int
    encode_cost: int
    cost_unit: str
    loss: Loss
    step: StepResult | None = None


@dataclass(frozen=True)
class Progress:
    """Where a session is. outcomes: new ones, oldest first. events: the source's so far, not those outside the crop."""

    seconds: float
    events: int
    events_per_second: float
    tokens: int
    tokens_per_second: float
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Summary:
    """How a session ended.

    offered: events of the source, or that the camera on the device is known to have sent. stats: the device's last
    word. source_lost: what the source itself lost, by cause. results: all outcomes; results_unread: those without one,
    because the device had gone on before their logits could be read.
    """

    seconds: float
    offered: int
    results: int
    results_unread: int
    resent: int
    source_lost: dict[str, int]
    stats: Stats

    @property
    def accounted(self) -> bool:
        """Whether every event is in a token, pending, dropped by a rule of the method, or counted as lost."""
        return self.stats.imbalance(self.offered) is None


@dataclass
class Session:
    """Inference on a device that holds the bundle's model.

    source: of events, or None for the camera on the device. mode: of the link; None: live for a source that does not
    wait, lossless for one that does. crop: the left upper corner of the bundle's sensor in a larger source. bin: as
    many of the source's pixels along a side are one. Of the camera on the device the device takes that part, of others
    we do.
    Raises DeviceError for another model, UsageError for sizes that do not fit.
    """

    device: Device
    bundle: Bundle
    source: Source | None
    triggers: Triggers = field(default_factory=Triggers)
    mode: str | None = None
    port: str = "camera"  #: of the device that a camera is at, "camera" (a UART) or "frames"
    format: str = "evt2"  #: of the camera on the device
    baud: int = 0  #: of the camera on the device, 0: the board's own
    crop: tuple[int, int] | None = None
    bin: int | None = None
    watch: Callable[[NDArray[np.void]], None] | None = None  #: gets what the device is given, and must not wait

    def __post_init__(self) -> None:
        require_model(self.device, self.bundle)
        if self.source is None:
            self._part = part_for(None, (0, 0), self.crop, self.bin or 1)
        else:
            self._part = require_sensor(self.bundle, self.source, self.crop, self.bin)
        self._mode = self.mode or ("live" if self.source is None or self.source.live else "lossless")
        self._offered = 0
        self._results = self._unread = 0
        self._stopped = False
        self._base = 0  # of the times sent losslessly: EVT2 cannot say it
        self._words: evt2.Encoder | None = None
        self._status = Status(0, 0, 0, 0, 0, 0, 0)

    def stop(self) -> None:
        """Make `run` end soon. For signal handlers and other threads."""
        self._stopped = True
        if self.source is not None:
            self.source.stop()

    def run(self) -> Iterator[Progress]:
        """Until the source ends or `stop`. Often: also without new outcomes. Raises what device and source raise."""
        detects = isinstance(self.bundle.task, Detection)
        triggers, sensor = Triggers(0) if detects else self.triggers, self.bundle.sensor
        self.device.configure(
            Configuration(
                mode=self._mode,
                source="link" if self.source else self.port,
                format="evt2" if self.source else self.format,
                baud=self.baud,
                every_us=triggers.every_us,
                every_tokens=triggers.every_tokens,
                window_us=triggers.window_us,
                push=True,
                part=self._part if self.source is None else WHOLE,
                outputs=() if detects else ("logits",),
            )
        )
        self._begin = time.monotonic()
        self._rate = _Rate(self._begin)
        for packet in self._watched() if self.source is None else self.source.packets():
            events = self._part.of(packet, sensor.width, sensor.height) if self.crop or self.bin else packet
            self._give(events)
            if self.watch is not None:
                self.watch(events)
            yield self._progress()
        if self.source is not None and self._mode == "live":
            self.device.finish()
        else:
            self.device.flush()
        yield self._progress()
        yield self._progress(self.device.infer())  # on all that came

    def _watched(self) -> Iterator[NDArray[np.void]]:
        """The camera on the board: no events come to the host, results do. Its counts are asked for now and then."""
        asked = time.monotonic()
        while not self._stopped:
            self.device.wait(_WAIT_SECONDS)
            if time.monotonic() - asked >= _ASK_SECONDS:
                self._status = self.device.stats().status
                asked = time.monotonic()
            yield empty_events()

    def summary(self) -> Summary:
        """What became of everything."""
        stats = self.device.stats()
        offered = self._offered if self.source is not None else stats.loss.offered
        lost = dict(self.source.lost) if self.source is not None else {}
        seconds = time.monotonic() - self._begin
        return Summary(seconds, offered, self._results, self._unread, self.device.resent, lost, stats)

    def _give(self, events: NDArray[np.void]) -> None:
        self._offered += len(events)
        if self.source is None:
            return
        if self._mode == "live":
            self.device.offer(events)  # an empty packet lets the link work, too
            return
        if len(events) == 0:
            self.device.wait(0.0)  # it notices when the device is gone
            return
        if self._words is None:
            self._words = evt2.Encoder()
            task = self.bundle.task
            grid_us = task.step_us if isinstance(task, Detection) else 1
            self._base = evt2.time_base(int(events["t"][0]), grid_us)
        self.device.send(self._words.words(since(events, self._base)))

    def _progress(self, *more: Result) -> Progress:
        results = (*self.device.take_results(), *more)
        results = tuple(result for result in results if result.step is None or result.step.ran)
        outcomes = tuple(self._outcome(result) for result in results if result.step or not result.gone)
        self._results += len(outcomes)
        self._unread += len(results) - len(outcomes)
        now = time.monotonic()
        status = self._status = max(self._status, self.device.status or self._status, key=lambda status: status.events)
        events = self._offered if self.source is not None else status.events
        self._rate.update(now, events, status.tokens)
        return Progress(now - self._begin, events, self._rate.events, status.tokens, self._rate.tokens, outcomes)

    def _outcome(self, result: Result) -> Outcome:
        if result.code < 0 or (result.step is None and not np.isfinite(result.logits).all()):
            raise DeviceRefused(
                f"the model on {self.device.name} failed with code {result.code}: run 'spedge check' on it"
            )
        if result.step is None:
            logits = result.logits
            label, confidence = self.bundle.verdict(logits)
        else:
            logits = np.empty(0, np.float32)
            label, confidence = best_of(result.step.boxes, self.bundle.labels)
        return Outcome(
            index=result.index,
            cause=result.cause,
            t=result.t + self._base,
            tokens=result.newest,
            window=result.window,
            label=label,
            confidence=confidence,
            logits=logits,
            outputs={output.name: output.shape for output in self.device.outputs},
            latency=result.latency,
            encode_cost=result.cost_encode,
            cost_unit=self.device.hello.cost_unit,
            loss=result.loss,
            step=result.step,
        )


def best_of(boxes: NDArray[Any], labels: Sequence[str]) -> tuple[str, float]:
    """Label and score of the best box; "" and 0 without any."""
    return (label_of(boxes[0], labels), float(boxes[0]["score"])) if len(boxes) else ("", 0.0)


def label_of(box: Any, labels: Sequence[str]) -> str:
    """What the class of a box is called. Raises DeviceRefused for one that the model has not."""
    number = int(box["label"])
    if number >= len(labels):
        raise DeviceRefused(f"the device has a box of class {number}, and the model has {len(labels)} classes")
    return labels[number]


def boxes_document(boxes: NDArray[Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Boxes for JSON: the name of the label, x, y of the upper left corner, w, h in pixels, and the score of each."""
    return [
        {"label": label_of(box, labels), **{name: float(box[name]) for name in ("x", "y", "w", "h", "score")}}
        for box in boxes
    ]


def require_sensor(bundle: Bundle, source: Source, crop: tuple[int, int] | None = None, bin: int | None = None) -> Part:
    """The part of the source's sensor that is given, or the whole. Raises UsageError, naming both sizes, unless the
    bundle's sensor is that."""
    sensor, size = bundle.sensor, (source.width, source.height)
    if crop is not None or bin is not None:
        return require_part(bundle, source.name, size, crop, bin)
    if size != (sensor.width, sensor.height):
        fits = sensor.width <= source.width and sensor.height <= source.height
        hint = f", or --crop X,Y to look at {sensor.width}x{sensor.height} pixels of it" if fits else ""
        raise other_sensor(bundle, source.name, *size, f"{hint}, or --bin N to take NxN pixels for one")
    return WHOLE


class _Rate:
    """Events and tokens per second over about the last second."""

    def __init__(self, now: float) -> None:
        self._marks = [(now, 0, 0)]
        self.events = self.tokens = 0.0

    def update(self, now: float, events: int, tokens: int) -> None:
        self._marks.append((now, events, tokens))
        while len(self._marks) > 2 and self._marks[1][0] <= now - 1.0:
            self._marks.pop(0)
        then, events_then, tokens_then = self._marks[0]
        passed = max(now - then, 1e-3)
        self.events, self.tokens = (events - events_then) / passed, (tokens - tokens_then) / passed
