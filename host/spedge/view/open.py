"""Recordings to scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.jobs.along import Said, along
from spedge.jobs.play import load_events
from spedge.jobs.run import Session
from spedge.model.bundle import Bundle
from spedge.model.detecting import DetectorReference
from spedge.model.parts import Detection, TokenInput
from spedge.model.reference import Reference
from spedge.model.steps import tokens_in
from spedge.recordings import PLAIN, Reading
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import NO_TOKENS, Tokenizer
from spedge.view.boxes import found, together
from spedge.view.scene import Results, Scene
from spedge.view.stage import RecordingStage


def open_scene(
    path: Path,
    reading: Reading = PLAIN,
    bundle: Path | None = None,
    patch_size: int = 16,
    threshold: float = 64.0,
    every_us: int = 50_000,
    on_progress: Callable[[str], None] | None = None,
) -> Scene:
    """A recording with its tokens: a bundle's, and what its model says each `every_us`, or those of a continuous
    tokenizer with the other parameters.

    Raises UsageError for wrong parameters and a bundle for another sensor, InputError for a damaged or empty recording
    and for a bundle that the host's reference does not take.
    """
    if bundle is None:
        return _plain(path, reading, patch_size, threshold)[0]
    return scene_of(path, reading, Bundle.load(bundle), every_us, on_progress)


def open_stage(
    path: Path,
    reading: Reading = PLAIN,
    bundle: Path | None = None,
    patch_size: int = 16,
    threshold: float = 64.0,
    every_us: int = 50_000,
    on_progress: Callable[[str], None] | None = None,
) -> RecordingStage:
    """The same for a page. Raises the same, and InputError for a model on events, which has no tokens."""
    if bundle is None:
        return RecordingStage(path.name, *_plain(path, reading, patch_size, threshold))
    loaded = Bundle.load(bundle)
    settings = loaded.token_input.tokenizer
    return RecordingStage(path.name, scene_of(path, reading, loaded, every_us, on_progress), settings)


def _plain(path: Path, reading: Reading, patch_size: int, threshold: float) -> tuple[Scene, TokenizerSettings]:
    """A recording with the tokens of a continuous tokenizer."""
    recording = reading.open(path)
    tokenizer = Tokenizer(width=recording.width, height=recording.height, patch_size=patch_size, threshold=threshold)
    events = recording.events()
    if not len(events):
        raise recording.no_events()
    scene = Scene(recording.width, recording.height, events, patch_size, tokenizer.push(events))
    return scene, tokenizer.config


def scene_of(
    path: Path, reading: Reading, bundle: Bundle, every_us: int, on_progress: Callable[[str], None] | None = None
) -> Scene:
    """A recording with a bundle's tokens, and what its model says."""
    return scene_of_events(load_events(path, bundle, reading), bundle, every_us, on_progress)


def scene_of_events(
    events: NDArray[np.void], bundle: Bundle, every_us: int, on_progress: Callable[[str], None] | None = None
) -> Scene:
    """The same of events of the bundle's sensor."""
    say = on_progress or (lambda _: None)
    if isinstance(bundle.task, Detection):
        return _of_detector(events, bundle, say)
    reference = Reference(bundle)
    said = []
    for one in along(reference, events, every_us):
        said.append(one)
        say(f"Computing: {len(said)} results")
    tokens, _ = reference.tokenize(events)
    sensor = bundle.sensor
    return Scene(sensor.width, sensor.height, events, patch_of(bundle), tokens, results_of(said, bundle.labels))


def _of_detector(events: NDArray[Any], bundle: Bundle, say: Callable[[str], None]) -> Scene:
    times, parts = [], []
    for one in DetectorReference(bundle).detect(events):
        times.append(one.step.time)
        parts.append(found(one.step.time, one.kept.boxes))
        say(f"Computing: {len(times)} steps")
    tokens = tokens_in(events, bundle) if isinstance(bundle.representation, TokenInput) else NO_TOKENS
    sensor, patch_size = bundle.sensor, patch_of(bundle)
    return Scene(
        sensor.width, sensor.height, events, patch_size, tokens, None, together(parts), bundle.labels,
        np.array(times, np.int64),
    )  # fmt: skip


def follow(
    session: Session, stage: RecordingStage, name: str, on_progress: Callable[[str], None] | None = None
) -> None:
    """Run a session on the stage's recording to its end, and show its results. name: the board's. Raises as it does."""
    for state in session.run():
        if on_progress is not None:
            on_progress(f"{name}: {state.events:,} events")
        for outcome in state.outcomes:
            if outcome.step is None:
                stage.device(name, outcome.t, outcome.logits, outcome.latency, outcome.cost_unit)
            else:
                stage.device_boxes(name, outcome.t, outcome.step.boxes)


def patch_of(bundle: Bundle) -> int:
    """Pixels of a patch's side; 1 of a model on events."""
    return int(getattr(getattr(bundle.representation, "tokenizer", None), "patch_size", 1))


def results_of(said: list[Said], labels: tuple[str, ...]) -> Results:
    """As arrays."""
    logits = np.array([one.logits for one in said], np.float32).reshape(len(said), len(labels))
    return Results(labels, np.array([one.t for one in said], np.int64), logits)
