"""Is what a detector on a device says at every step what Python computes? `check` of detectors, with their state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.device.open import Device
from spedge.device.session import STATE
from spedge.events.part import WHOLE, Part
from spedge.jobs.check import (
    LOGITS_TOLERANCE,
    CheckReport,
    DeviceCheck,
    StageCosts,
    check_each,
    count_difference,
    feed_of,
    number_or_none,
    token_difference,
    with_outside,
)
from spedge.jobs.feed import Feed
from spedge.jobs.given import Given
from spedge.jobs.play import require_model
from spedge.jobs.results import largest_difference
from spedge.link.protocol import Configured, Result
from spedge.link.tokens import as_reported
from spedge.model.boxes import decode, levels_of
from spedge.model.bundle import Bundle
from spedge.model.detecting import Detected, DetectorReference
from spedge.model.matching import box_difference
from spedge.model.parts import Detection
from spedge.model.window import tokenizer_of
from spedge.recordings import PLAIN, Reading
from spedge.tokens.tokenizer import Tokens


@dataclass(frozen=True, kw_only=True)
class StepsCheck(DeviceCheck):
    """Of a detector. steps, boxes: of the whole recording. head_max_abs_diff, state_max_abs_diff: of all steps.

    at_an_edge: steps in which the boxes are not one to one, though head and state agree, and the device's boxes are
    those of its own head: a score, an overlap or an order is as near to where a rule changes its mind as the heads are
    apart.
    """

    steps: int
    boxes: int
    head_max_abs_diff: float
    state_max_abs_diff: float
    at_an_edge: int

    def differences(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "boxes": self.boxes,
            "head_max_abs_diff": number_or_none(self.head_max_abs_diff),
            "state_max_abs_diff": number_or_none(self.state_max_abs_diff),
            "steps_at_an_edge": self.at_an_edge,
        }


@dataclass(frozen=True)
class ComparedBoxes:
    """A recording that was checked, for who looks on. events: EVENT_DTYPE, with the times that the device has. tokens:
    the host's. labels: of the classes. host, device: of each step its time, µs, and its boxes: fields x, y of the upper
    left corner, w, h (pixels), score, label."""

    check: StepsCheck
    events: NDArray[np.void]
    tokens: Tokens
    labels: tuple[str, ...]
    host: Sequence[tuple[int, NDArray[Any]]]
    device: Sequence[tuple[int, NDArray[Any]]]


def check_boxes(
    bundle: Bundle,
    recordings: Sequence[Path],
    device: Device,
    board: str | None = None,
    on_progress: Callable[[str], None] | None = None,
    camera: str | None = None,
    reading: Reading = PLAIN,
    events: Mapping[Path, NDArray[np.void]] = MappingProxyType({}),
    watch: Callable[[ComparedBoxes], None] | None = None,
    part: Part | None = None,
) -> CheckReport[StepsCheck]:
    """Play each recording to the device, losing nothing, and compare tokens, counts, and at every step the head's raw
    numbers, the state and the boxes with the host's. Each recording begins with RESET: with nothing of the one before.

    Parameters and errors are as for `check`; UsageError for a device whose state cannot be read.
    """
    require_model(device, bundle)
    assert isinstance(bundle.task, Detection)
    if not device.hello.state:
        raise UsageError(f"{device.name} does not tell its detector's state: build the bundle's firmware again")
    with feed_of(device, camera, bundle.task.step_us) as feed:
        configured = device.configure(replace(feed.configuration, numbers_every=1, part=part or WHOLE))
        given = Given(bundle, reading, part, events)
        session = _Session(given, DetectorReference(bundle), device, feed, configured, watch)
        return check_each(recordings, device, board, session.check, on_progress)


@dataclass(frozen=True)
class _Session:
    given: Given
    reference: DetectorReference
    device: Device
    feed: Feed
    configured: Configured
    watch: Callable[[ComparedBoxes], None] | None

    def check(self, path: Path, say: Callable[[str], None]) -> StepsCheck:
        """A recording, but for what the line did to it."""
        sent = self.feed.heard(self.given.events(path))
        events = self.given.seen(path, sent)
        tokenizer = tokenizer_of(self.given.bundle.token_input, self.configured.pool_events)
        tokens = tokenizer.push(events)
        steps = _Steps(self, self.reference.encoded(self.reference.steps(events, tokens)))
        self.feed.play(sent, say, lambda: steps.take(self.device.take_results()))
        theirs = self.device.tokens()
        steps.take([*self.device.take_results(), self.device.infer()])
        stats, ours = self.device.stats(), as_reported(tokens)
        difference = token_difference(ours, theirs)
        problem = (
            stats.imbalance(len(sent))
            or count_difference(with_outside(tokenizer.stats, len(sent) - len(events)), stats)
            or difference
            or steps.problem
            or steps.missing()
        )
        checked = StepsCheck(
            path=path,
            events_sent=len(sent),
            events_device=stats.taken,
            events_pending=stats.pending,
            events_dropped=stats.dropped,
            tokens_host=len(ours),
            tokens_device=stats.tokens,
            tokens_equal=difference is None,
            costs=steps.costs,
            problem=problem,
            results=steps.count,
            steps=steps.count,
            boxes=steps.boxes,
            head_max_abs_diff=steps.head,
            state_max_abs_diff=steps.state,
            at_an_edge=steps.at_an_edge,
        )
        if self.watch is not None:
            self.watch(ComparedBoxes(checked, events, tokens, self.given.bundle.labels, steps.host, steps.device))
        return checked


class _Steps:
    """A device's steps as they come, beside the host's. problem: the first thing that is wrong. host, device: boxes of
    each step with its time, for who looks on."""

    def __init__(self, session: _Session, expected: Iterator[Detected]) -> None:
        self._session, self._expected = session, expected
        self._levels = levels_of(session.given.bundle)
        self.count = self.boxes = self.at_an_edge = self._left_out = 0
        self.head = self.state = 0.0
        self.costs = StageCosts(0, 0, 0)
        self.problem: str | None = None
        self.host: list[tuple[int, NDArray[Any]]] = []
        self.device: list[tuple[int, NDArray[Any]]] = []

    def take(self, results: Sequence[Result]) -> None:
        """The next ones. One that was asked for where there was no step is none."""
        for result in results:
            if result.step is None or not result.step.ran:
                continue
            host = next(self._expected, None)
            self._seen(host, result)
            if host is None:
                self._say(f"the device made a step at {result.t} µs, and the host has no more")
                return
            self.count += 1
            self.boxes += result.step.found
            embed = result.cost_embed + result.cost_window
            self.costs = StageCosts(result.cost_tokenize, embed, max(self.costs.encode, result.cost_encode))
            if problem := self._difference(host, result):
                self._say(f"step {self.count} (at {host.step.time} µs): {problem}")

    def missing(self) -> str | None:
        """A sentence when the host has more steps."""
        host = next(self._expected, None)
        self._seen(host, None)
        return None if host is None else f"the device made {self.count} steps, and not the one at {host.step.time} µs"

    def _seen(self, host: Detected | None, result: Result | None) -> None:
        if self._session.watch is None:
            return
        if host is not None:
            self.host.append((host.step.time, host.kept.boxes))
        if result is not None and result.step is not None:
            self.device.append((result.t, result.step.boxes))

    def _say(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _difference(self, host: Detected, result: Result) -> str | None:
        """None when all is the same."""
        assert result.step is not None
        self._left_out += host.step.left_out
        state = np.concatenate([half.ravel() for half in host.state.values()])
        head_apart = largest_difference(host.head, result.outputs.get("head"))
        state_apart = largest_difference(state, result.outputs.get(STATE))
        self.head, self.state = max(self.head, head_apart), max(self.state, state_apart)
        for what, ours, theirs in (
            ("is at", host.step.time, result.t),
            ("has a window of", len(host.step.seen), result.window),
            ("has left out", self._left_out, result.step.tokens_left_out),
            ("has left out steps,", 0, result.step.steps_left_out),
            ("ended with the code", 0, result.code),
        ):
            if ours != theirs:
                return f"the device's {what} {theirs}, and the host's {ours}"
        for what, apart in (("the head", head_apart), ("the state", state_apart)):
            if not apart <= LOGITS_TOLERANCE:
                return f"the largest difference of {what} is {apart:.3g}"
        return self._boxes_differ(host, result)

    def _boxes_differ(self, host: Detected, result: Result) -> str | None:
        assert result.step is not None
        bundle, most = self._session.given.bundle, self._session.configured.candidates
        assert isinstance(bundle.task, Detection)
        ours, own = (
            decode(head, self._levels, bundle.task, bundle.sensor, most) for head in (host.head, result.outputs["head"])
        )
        if problem := box_difference(own.boxes, result.step.boxes):
            return f"the device's boxes are not those of its own head: {problem}"
        if own.left_out != result.step.boxes_left_out:
            return f"the device has left out {result.step.boxes_left_out} candidates of its head's, not {own.left_out}"
        self.at_an_edge += box_difference(ours.boxes, result.step.boxes) is not None
        return None
