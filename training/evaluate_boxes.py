"""How good a detector is: mean average precision over a data set's recordings, streamed from end to end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.detecting import DetectorReference
from spedge.model.parts import Detection

from .data.chunks import ChunkedRecording
from .data.registry import box_rules, load_chunks
from .metrics.coco import Precision, Rule, mean_average_precision
from .metrics.frames import FrameScore, scored_frames
from .opened import Opened
from .presets import preset as find_preset

if TYPE_CHECKING:
    from .represent.collate_steps import StepBatch
    from .tasks.detection import Seen

_Found = list[tuple[NDArray[Any], NDArray[Any]]]
FRAMES = 4  #: best and worst ones that are kept
SPLITS = ("test", "validation", "train")
_SLOTS = 8


@dataclass(frozen=True)
class Frame:
    """One label time of a recording, with the events of the step before it: EVENT_DTYPE."""

    recording: str
    events: NDArray[Any]
    score: FrameScore


@dataclass(frozen=True)
class DetectionReport:
    """model: what was evaluated. size: width and height of the sensor. precision: its figures. recordings: their names.
    tokens: of each step, int64 [steps]; events for a model on these. found: of each recording its labels and what was
    found, both SCORED_DTYPE. best, worst: FRAMES of the label times each, the best and the worst one first. seconds:
    that loading and detecting took, in all.
    """

    model: Path
    data: str
    split: str
    labels: tuple[str, ...]
    size: tuple[int, int]
    precision: Precision
    recordings: tuple[str, ...]
    tokens: NDArray[np.int64]
    found: list[tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=list)
    best: tuple[Frame, ...] = ()
    worst: tuple[Frame, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many there were."""
        return len(self.tokens)


def evaluate_boxes(
    opened: Opened,
    data: str | os.PathLike[str] | None,
    split: str = "test",
    on_progress: Callable[[int, int], None] | None = None,
    said: Callable[[str], NDArray[Any]] | None = None,
) -> DetectionReport:
    """Detect in all recordings of a split, and score the boxes by Prophesee's protocol (`metrics.coco`).

    opened: a detector, or a bundle of one, which ONNX Runtime runs and whose boxes are a device's. data: the folder
    that was preprocessed. on_progress: chunks done and in all. said: boxes of a recording, by its name, that another
    has found, as a device: fields t (µs), x, y, w, h (pixels), label, score; they are scored in the place of the
    model's.
    Raises UsageError or InputError when the model, the data or the split does not fit.
    """
    spec, task = opened.spec, opened.spec.task
    if not isinstance(task, Detection):
        raise UsageError(f"{opened.path} is no detector: its recordings have classes and no boxes.")
    if split not in SPLITS:
        raise UsageError(f"A detector is evaluated on one of the splits {', '.join(SPLITS)}, not on '{split}'.")
    name = find_preset(spec.preset).dataset
    store = load_chunks(name, data, task.step_us / 1000)
    if store.about.labels != spec.labels or store.about.sensor != spec.sensor:
        raise UsageError(f"{opened.path} was made for other data than {name}: its labels or sensor size differ.")
    recordings = store.part(split)
    if not recordings:
        raise UsageError(f"{store.root} has no recordings of the split '{split}': choose another.")
    if said is None:
        found, tokens, seconds = _detected(opened, recordings, on_progress)
    else:
        found, tokens, seconds = [_said(recording, said) for recording in recordings], [], {}
    rules = box_rules(name)
    rule = Rule(rules.side, rules.diagonal)
    frames = scored_frames(found, rule)
    return DetectionReport(
        opened.path,
        name,
        split,
        spec.labels,
        (spec.sensor.width, spec.sensor.height),
        mean_average_precision(found, len(spec.labels), rule),
        tuple(recording.name for recording in recordings),
        np.array(tokens, np.int64),
        found,
        tuple(_frame(recordings, frame) for frame in frames[:FRAMES]),
        tuple(_frame(recordings, frame) for frame in frames[FRAMES:][: -FRAMES - 1 : -1]),
        seconds,
    )


def _detected(
    opened: Opened, recordings: Sequence[ChunkedRecording], on_progress: Callable[[int, int], None] | None
) -> tuple[_Found, list[int], dict[str, float]]:
    """Labels and what the model found, of each recording; tokens of each step; and what it took."""
    from .fit.streams import LookSteps
    from .tasks.detection import by_recording, detect

    spec, task = opened.spec, opened.spec.task
    assert isinstance(task, Detection)
    looked = _Looked(sum(map(len, recordings)), on_progress)
    start = time.perf_counter()
    if isinstance(opened.model, DetectorReference):
        seen = looked.by_reference(opened.model, recordings)
    else:
        steps = LookSteps(recordings, spec, _SLOTS)
        seen = detect(opened.model.eval(), looked(steps), steps.states, task, spec.sensor)
    found = by_recording(seen, recordings)
    whole = time.perf_counter() - start
    return found, looked.tokens, {"load and tokenize": looked.loading, "detect": whole - looked.loading}


def _said(recording: ChunkedRecording, said: Callable[[str], NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    from .tasks.detection import scored

    boxes = said(recording.name)
    return scored(recording.boxes, recording.boxes["t"]), scored(boxes, boxes["t"])


def _frame(recordings: Sequence[ChunkedRecording], score: FrameScore) -> Frame:
    recording = recordings[score.recording]
    last = score.t // recording.chunk_us
    events = recording.events(max(0, last - 1), last + 1)
    recent = (events["t"] <= score.t) & (events["t"] + np.uint64(recording.chunk_us) > score.t)
    return Frame(recording.name, events[recent], score)


class _Looked:
    """Passes batches on, and keeps the tokens of each step and how long they were waited for."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self._total, self._on_progress = total, on_progress
        self.tokens: list[int] = []
        self._done = 0
        self.loading = 0.0

    def __call__(self, batches: Iterable[StepBatch]) -> Iterator[StepBatch]:
        start = time.perf_counter()
        for batch in batches:
            self.loading += time.perf_counter() - start
            self.tokens += batch.tokens[batch.made].tolist()
            self._done += batch.samples
            yield batch
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)
            start = time.perf_counter()

    def by_reference(self, reference: DetectorReference, recordings: Sequence[ChunkedRecording]) -> Iterator[Seen]:
        """What a bundle finds in the steps of recordings."""
        from .tasks.detection import Seen, scored

        for number, recording in enumerate(recordings):
            start = time.perf_counter()
            events = recording.events(0, len(recording))
            self.loading += time.perf_counter() - start
            for one in reference.detect(events):
                self.tokens.append(len(one.step.seen))
                yield Seen(number, one.step.time, scored(one.kept.boxes, one.step.time))
            self._done += len(recording)
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)
