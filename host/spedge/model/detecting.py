"""What the host computes of a detector from a recording: steps, heads, boxes. The yardstick for devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.model.boxes import Kept, decode, levels_of
from spedge.model.bundle import Bundle
from spedge.model.parts import Detection
from spedge.model.reference import BundleGraphs, embedded_rows
from spedge.model.steps import (
    Step,
    ages_of,
    carried,
    encoder_step,
    step_graph,
    step_inputs,
    steps_of,
    tokens_in,
    zero_state,
)
from spedge.tokens.tokenizer import Tokens


class Detected(NamedTuple):
    """A step, its head's numbers float32 [n, 5 + classes], the boxes that are kept, and the state after it by the name
    of its inputs, float32 [rows, columns, hidden] each."""

    step: Step
    head: NDArray[np.float32]
    kept: Kept
    state: dict[str, NDArray[np.float32]]


class DetectorReference(BundleGraphs):
    """A bundle's detector on the host, of any family: a stateful sequence over a whole recording.

    encoder: a quantised encoder (`reference.onnx` of a compiled model) to use on the embedded tokens instead of the
    bundle's graphs. Raises InputError for a model of another kind, and when the bundle's graphs cannot be run.
    """

    def __init__(self, bundle: Bundle, encoder: Path | None = None) -> None:
        if not isinstance(bundle.task, Detection):
            raise InputError(
                f"this takes detectors, and the model {bundle.name!r} is for {bundle.task.type}: choose a detector"
            )
        super().__init__(bundle, encoder)
        self._task, self._levels = bundle.task, levels_of(bundle)

    def steps(self, events: NDArray[Any], tokens: Tokens | None = None) -> list[Step]:
        """The steps of a recording. tokens: of another tokenizer than that of `tokens_in`."""
        return list(steps_of(events, tokens_in(events, self.bundle) if tokens is None else tokens, self.bundle))

    def detect(self, events: NDArray[Any]) -> Iterator[Detected]:
        """Step after step of a recording, events EVENT_DTYPE sorted by time, from a state of zeros.

        By the oracle, model.onnx; by the quantised encoder when there is one.
        """
        steps = self.steps(events)
        return self.encoded(steps) if self._quantised is not None else self._run(self._oracle, self.inputs, steps)

    def encoded(self, steps: list[Step]) -> Iterator[Detected]:
        """The same of steps by the road of a device: embedded by the C library, and the rest by encoder.onnx."""
        return self._run(self._encoder, self.encoder_inputs, steps)

    def boxes(self, head: NDArray[np.float32]) -> Kept:
        """The boxes of a step from its head's numbers, by the C library."""
        return decode(head, self._levels, self._task, self.bundle.sensor)

    def inputs(self, step: Step) -> dict[str, NDArray[Any]]:
        """What model.onnx takes, by name, but for the state."""
        return step_inputs(step, self.bundle, step_graph(step, self.bundle))

    def encoder_inputs(self, step: Step) -> dict[str, NDArray[Any]]:
        """What encoder.onnx takes, by name, but for the state."""
        return encoder_step(self.encoder_input(step), step, self.bundle, step_graph(step, self.bundle))

    def encoder_input(self, step: Step) -> NDArray[np.float32]:
        """What a device hands to its encoder: embedded tokens, of a transformer with the positions of their ages."""
        return embedded_rows(self.bundle, step.seen, ages_of(step), self._weight, self._bias)

    def _run(self, session: Any, inputs: Any, steps: list[Step]) -> Iterator[Detected]:
        names = [part.name for part in self.bundle.outputs] + [part.output for part in self.bundle.state]
        self._require_outputs(session, names)
        state = zero_state(self.bundle)
        for step in steps:
            outputs = dict(zip(names, session.run(names, inputs(step) | state), strict=True))
            state = carried(self.bundle, outputs)
            yield Detected(step, outputs["head"], self.boxes(outputs["head"]), state)
