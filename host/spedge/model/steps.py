"""A recording as the steps of a detector: what it is fed at the end of each chunk of stream time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.model.graph import GnnArrays, PcnArrays, graph_arrays, padded, rooms
from spedge.model.parts import Detection, Detector, EventInput, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.model.window import events_as_tokens, oracle_inputs, scaled, structure_inputs, tokenizer_of
from spedge.tokens.tokenizer import NO_TOKENS, Tokens


class Step(NamedTuple):
    """Chunk k holds k * step_us <= t < (k + 1) * step_us; its step is at its last µs, `time`. Chunks without events
    have none.

    events: how many the chunk has. seen: what the model sees, the newest tokens since the step before; of a model on
    events, those of the chunk that it keeps. left_out: how many older ones there were.
    """

    time: int
    events: int
    seen: Tokens
    left_out: int


def tokens_in(events: NDArray[Any], spec: ModelSpec, pool_events: int | None = None) -> Tokens:
    """Those of a whole recording; none of a model on events. pool_events: as a device has it, None for no limit."""
    seen = spec.representation
    return tokenizer_of(seen, pool_events).push(events) if isinstance(seen, TokenInput) else NO_TOKENS


def steps_of(events: NDArray[Any], tokens: Tokens, spec: ModelSpec) -> Iterator[Step]:
    """All steps of a recording. events: EVENT_DTYPE, sorted. tokens: `tokens_in`."""
    assert isinstance(spec.task, Detection)
    step_us = np.uint64(spec.task.step_us)
    ends = (np.unique(events["t"] // step_us) + np.uint64(1)) * step_us - np.uint64(1)
    pieces = list(pairwise([0, *events["t"].searchsorted(ends, "right").tolist()]))
    cuts = list(pairwise([0, *tokens.t.searchsorted(ends, "right").tolist()]))
    seen = spec.representation
    for end, (first, last), (a, b) in zip(ends.tolist(), pieces, cuts, strict=True):
        if isinstance(seen, EventInput):
            part, there = events_as_tokens(events[first:last], seen), last - first
        else:
            part, there = tokens.between(a, b), b - a
        newest = part if spec.window is None else part.last(spec.window)
        yield Step(end, last - first, newest, there - len(newest))


def ages_of(step: Step) -> NDArray[np.uint64]:
    """How long before the step each of its tokens was, µs."""
    ages: NDArray[np.uint64] = np.uint64(step.time) - step.seen.t
    return ages


def step_positions(step: Step, spec: ModelSpec) -> NDArray[np.float64]:
    """Column, row and scaled age of the tokens: float64 [n, 3]."""
    return scaled(step.seen, ages_of(step), spec.representation)


def step_graph(step: Step, spec: ModelSpec) -> GnnArrays | PcnArrays | None:
    """The graphs of a step; None for a transformer, which has none."""
    if isinstance(spec.encoder, Transformer):
        return None
    return graph_arrays(step_positions(step, spec), spec.encoder)


def cells_in(step: Step, graph: GnnArrays | PcnArrays | None, spec: ModelSpec) -> dict[str, NDArray[np.int32]]:
    """The input `cells`: int32 [1, m], of each token, or point that is left after a graph's last sampling, the number
    of the grid's cell that it lies in, row * columns + column; 0 past them."""
    assert isinstance(spec.model, Detector)
    _, columns = spec.model.grid(spec.sensor, spec.representation)
    if graph is None:
        x, y, room = step.seen.x.astype(np.int32), step.seen.y.astype(np.int32), spec.window or 0
    else:
        x, y = graph.kept[:, :2].astype(np.int32).T
        room = rooms(spec.encoder, spec.window or 0)[-1].targets
    return {"cells": padded(y // spec.model.cell * columns + x // spec.model.cell, room)}


def step_inputs(step: Step, spec: ModelSpec, graph: GnnArrays | PcnArrays | None) -> dict[str, NDArray[Any]]:
    """What model.onnx takes for a step, by name, but for the state."""
    positions = step_positions(step, spec)
    return oracle_inputs(spec, step.seen, graph, positions) | cells_in(step, graph, spec)


def encoder_step(
    rows: NDArray[np.float32], step: Step, spec: ModelSpec, graph: GnnArrays | PcnArrays | None
) -> dict[str, NDArray[Any]]:
    """What encoder.onnx takes for a step, by name, but for the state. rows: float32 [n, features], embedded."""
    structure = structure_inputs(spec, len(rows), graph)
    return {"tokens": padded(rows, spec.window or 0), **structure, **cells_in(step, graph, spec)}


def zero_state(spec: ModelSpec) -> dict[str, NDArray[np.float32]]:
    """What a stream begins with, by the inputs' names."""
    return {state.input: np.zeros(state.shape, np.float32) for state in spec.state}


def carried(spec: ModelSpec, outputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The state that goes into the next step, from a step's outputs by name."""
    return {state.input: outputs[state.output] for state in spec.state}
