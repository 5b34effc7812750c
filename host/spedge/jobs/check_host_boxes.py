"""Is a detector's bundle on this machine what training computed? `check_host` of detectors, whose state is carried.

Of the samples that the bundle keeps: are tokens, boxes of all steps, and the last step's graph, embedding and head what
torch and the C library computed when it was exported? Of recordings: do the road of training (fast tokenizer, model)
and that of a device (its tokenizer, its embedding in C, encoder.onnx) meet at every step?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.jobs.check import LOGITS_TOLERANCE, token_difference
from spedge.jobs.check_host import HostReport, check_each, difference, number_or_none, room_for, same_tokens
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle, Vector
from spedge.model.detecting import Detected, DetectorReference
from spedge.model.graph import graph_numbers
from spedge.model.matching import box_difference
from spedge.model.parts import TokenInput
from spedge.model.steps import step_graph, tokens_in
from spedge.recordings import PLAIN, Reading


@dataclass(frozen=True)
class SequenceCheck:
    """One sample of the bundle, or one recording. problem: the first thing that is wrong, None when all is well.

    tokens: seen in all steps, or events. boxes: kept in all steps. embedded_diff, head_diff:
    largest difference from what was kept, or between the two roads; nan where it cannot be told.
    """

    name: str
    events: int
    steps: int
    tokens: int
    boxes: int
    embedded_diff: float
    head_diff: float
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "steps": self.steps,
            "tokens": self.tokens,
            "boxes": self.boxes,
            "embedded_max_abs_diff": number_or_none(self.embedded_diff),
            "head_max_abs_diff": number_or_none(self.head_diff),
        }


def check_host_boxes(
    bundle: Bundle,
    recordings: Sequence[Path] = (),
    reading: Reading = PLAIN,
    on_progress: Callable[[str], None] | None = None,
) -> HostReport[SequenceCheck]:
    """Compute a detector's samples again, and recordings by two roads; raises as `check_host` does."""
    reference = DetectorReference(bundle)
    of_sample, of_recording = partial(_of_vector, reference), partial(_of_events, reference)
    return check_each(bundle, recordings, reading, on_progress, of_sample, of_recording)


def _of_vector(reference: DetectorReference, vector: Vector, name: str) -> SequenceCheck:
    tokens = tokens_in(vector.events, reference.bundle)
    steps = reference.steps(vector.events, tokens)
    roads = {
        "model.onnx": list(reference.detect(vector.events)),
        "encoder.onnx": list(reference.encoded(steps)),
    }
    graph = step_graph(steps[-1], reference.bundle) if steps else None
    numbers = {} if graph is None else graph_numbers(graph)
    rows = reference.encoder_input(steps[-1]) if steps else vector.embedded[:0]
    embedded = difference(vector.embedded, rows)
    heads = {
        road: difference(vector.outputs["head"], found[-1].head) if found else float("nan")
        for road, found in roads.items()
    }

    def problems() -> Iterator[str]:
        if not same_tokens(vector.tokens, tokens):
            yield f"its tokens are not those that were kept: {len(vector.tokens)} then, {len(tokens)} here"
        if vector.times.tolist() != [step.time for step in steps]:
            yield f"its steps are not those that were kept: {len(vector.times)} then, {len(steps)} here"
        for part, there in vector.graph.items():
            if not np.array_equal(numbers[part], there):
                yield f"its last step's graph differs in '{part}' from the one that was kept"
        if not embedded <= LOGITS_TOLERANCE:
            yield f"its embedded tokens differ by {embedded:.1e}, more than {LOGITS_TOLERANCE:.0e}"
        for road, diff in heads.items():
            if not diff <= LOGITS_TOLERANCE:
                yield f"its last step's head by {road} differs by {diff:.1e}, more than {LOGITS_TOLERANCE:.0e}"
        for road, found in roads.items():
            for number, one in enumerate(found):
                kept = vector.boxes[vector.boxes["step"] == number]
                if different := box_difference(kept, one.kept.boxes):
                    yield f"by {road} the step at {one.step.time} µs has {different}"

    return _checked(name, vector.events, roads["model.onnx"], embedded, max(heads.values()), next(problems(), None))


def _of_events(reference: DetectorReference, events: NDArray[np.void], name: str) -> SequenceCheck:
    bundle = reference.bundle
    tokens = tokens_in(events, bundle)
    device = tokens
    if isinstance(bundle.representation, TokenInput):
        device = tokens_in(events, bundle, room_for(len(events), bundle.representation.tokenizer))
    found: list[Detected] = []
    worst, problem = 0.0, token_difference(as_reported(tokens), as_reported(device))
    if problem is not None:
        problem = f"the host's tokenizer and the devices' differ: {problem}"
    for a, b in zip(reference.detect(events), reference.encoded(reference.steps(events, device)), strict=True):
        diff = difference(a.head, b.head)
        worst = max(worst, diff)
        different = box_difference(a.kept.boxes, b.kept.boxes)
        if not diff <= LOGITS_TOLERANCE:
            problem = problem or f"at {a.step.time} µs the heads of model.onnx and of encoder.onnx differ by {diff:.1e}"
        elif different:
            problem = problem or f"at {a.step.time} µs model.onnx and encoder.onnx give other boxes: {different}"
        found.append(a._replace(head=a.head[:0], state={}))
    return _checked(name, events, found, float("nan"), worst, problem)


def _checked(
    name: str, events: NDArray[Any], found: Sequence[Detected], embedded: float, head: float, problem: str | None
) -> SequenceCheck:
    tokens, boxes = (sum(map(len, parts)) for parts in ([d.step.seen for d in found], [d.kept.boxes for d in found]))
    return SequenceCheck(name, len(events), len(found), tokens, boxes, embedded, head, problem)
