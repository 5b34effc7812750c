"""A trained detector to a bundle: as `bundle` does of a classifier, with its state carried over sequences of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spedge.base.errors import CheckFailed
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.boxes import decode, levels_of
from spedge.model.bundle import STEP_BOX_DTYPE, Bundle, token_table, write_bundle
from spedge.model.graph import graph_numbers
from spedge.model.parts import Detection
from spedge.model.spec import ModelSpec
from spedge.model.steps import Step, carried, step_graph, step_inputs, steps_of, tokens_in, zero_state
from spedge.tokens.tokenizer import NO_TOKENS

from ..data.boxes import BOX_DTYPE
from ..models.detector import DetectorModel
from ..models.on_graphs import EventFeatures
from ..models.transformer import TokenEmbedding
from ..represent.collate_steps import Sequenced, collate_steps
from ..represent.steps import Stepper
from .detector import FixedDetector, FixedDetectorModel
from .files import files_of
from .fixed import embedded
from .verify import noised, session
from .whole import FEATURES, embedding_arrays

TOLERANCE = 1e-4  #: largest difference of a number between torch and ONNX Runtime, and of its size above 1
OUTPUTS = ("head", "hidden_next", "cell_next")


@dataclass
class _Chunk:
    start_us: int
    end_us: int
    events: NDArray[Any]
    boxes: NDArray[Any]


def export_detector(
    model: DetectorModel,
    spec: ModelSpec,
    examples: Sequence[NDArray[Any]],
    out: Path,
    calibration: Sequence[NDArray[Any]] = (),
) -> Bundle:
    """Write the bundle of a detector. examples: events of a few recordings, or of their pieces, for the vectors;
    calibration: of some that it has learned. Raises CheckFailed as `export` does."""
    model = model.eval()
    encoder, oracle = FixedDetector(model).eval(), FixedDetectorModel(model).eval()
    nothing = Step(0, 0, NO_TOKENS, 0)
    example: dict[str, NDArray[Any]] = step_inputs(nothing, spec, step_graph(nothing, spec)) | zero_state(spec)
    with torch.no_grad():
        graphs = (encoder, as_encoder_takes(model, example)), (oracle, example)
        vectors: dict[str, NDArray[Any]] = {}
        for number, events in enumerate(examples):
            vectors |= {f"{name}_{number}": values for name, values in _vector(model, spec, events).items()}
        files = files_of(graphs, OUTPUTS, embedding_arrays(model.encoder.embedding), vectors, calibration)
        _verify(model, spec, files, [*examples, *_made_up(spec)])
    return write_bundle(out, spec, files)


def as_encoder_takes(model: DetectorModel, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Inputs of model.onnx as those of encoder.onnx: embedded tokens in the place of what they are embedded from."""
    given = {name: torch.from_numpy(values) for name, values in inputs.items() if name in FEATURES}
    embedding = model.encoder.embedding
    if isinstance(embedding, TokenEmbedding):
        rows = embedding(given["volumes"], given["positions"])
    else:
        rows = embedded(embedding, given["polarities" if isinstance(embedding, EventFeatures) else "volumes"])
    return {"tokens": rows.numpy(), **{name: values for name, values in inputs.items() if name not in FEATURES}}


def by_torch(model: DetectorModel, spec: ModelSpec, events: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """Heads of all steps of a recording [steps, n, 5 + classes], and the states after each, by the road of training."""
    chunks = list(_chunks(spec, events))
    stepper = Stepper(spec)
    batch = collate_steps([Sequenced(0, 0, True, stepper(chunks, stepper.tokenizer()))])
    lstm, state = model.detector.lstm, model.start(1)
    grid, found = model.encoder(batch.inputs), []
    for i in range(len(chunks)):
        steps = batch.steps._replace(slot=batch.steps.slot[i : i + 1], reset=batch.steps.reset[i : i + 1])
        out, state = lstm(grid[i : i + 1], steps, state)
        found.append((model.detector.raw(out)[0], state.hidden[0], state.cell[0]))
    parts = zip(*found, strict=True)
    return {name: torch.stack(part).numpy() for name, part in zip(OUTPUTS, parts, strict=True)}


def _chunks(spec: ModelSpec, events: NDArray[Any]) -> Iterator[_Chunk]:
    """Those that hold events."""
    assert isinstance(spec.task, Detection)
    step_us, place = spec.task.step_us, events["t"] // np.uint64(spec.task.step_us)
    for k in np.unique(place).tolist():
        yield _Chunk(k * step_us, (k + 1) * step_us, events[place == k], np.zeros(0, BOX_DTYPE))


def _vector(model: DetectorModel, spec: ModelSpec, events: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What the bundle keeps of an example: all tokens, the boxes of all steps, and the rest of the last step."""
    assert isinstance(spec.task, Detection)
    tokens = tokens_in(events, spec)
    steps = list(steps_of(events, tokens, spec))
    heads = by_torch(model, spec, events)["head"]
    kept = [decode(head, levels_of(spec), spec.task, spec.sensor).boxes for head in heads]
    boxes = np.zeros(sum(map(len, kept)), STEP_BOX_DTYPE)
    boxes["step"] = np.repeat(np.arange(len(kept)), [len(own) for own in kept])
    for name in ("x", "y", "w", "h", "score", "label"):
        boxes[name] = np.concatenate([own[name] for own in kept])
    last, graph = steps[-1], step_graph(steps[-1], spec)
    rows = as_encoder_takes(model, step_inputs(last, spec, graph))["tokens"][0, : len(last.seen)]
    return {
        "events": events,
        "tokens": token_table(tokens),
        "embedded": rows,
        "head": heads[-1],
        "times": np.array([step.time for step in steps], np.uint64),
        "boxes": boxes,
        **({} if graph is None else graph_numbers(graph)),
    }


def _verify(
    model: DetectorModel, spec: ModelSpec, files: Mapping[str, bytes], recordings: Sequence[NDArray[Any]]
) -> None:
    """Compare both graphs with torch over all steps of recordings, the state carried, padding filled with noise."""
    for name in ("encoder.onnx", "model.onnx"):
        run = session(files[name])
        for events in recordings:
            expected = by_torch(model, spec, events)
            state, random = zero_state(spec), np.random.default_rng(0)
            for i, step in enumerate(steps_of(events, tokens_in(events, spec), spec)):
                inputs = _noised(step_inputs(step, spec, step_graph(step, spec)), step, spec, random)
                given = as_encoder_takes(model, inputs) if name == "encoder.onnx" else inputs
                got = dict(zip(OUTPUTS, run.run(list(OUTPUTS), given | state), strict=True))
                state = carried(spec, got)
                _compare(name, i, {part: (got[part], expected[part][i]) for part in OUTPUTS})


def _compare(name: str, step: int, pairs: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    for part, (got, expected) in pairs.items():
        worst = float(np.abs(got - expected).max())
        if not worst <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise CheckFailed(
                f"{name} and torch disagree by {worst:.1e} in '{part}' at step {step + 1}, more than {TOLERANCE:.0e}: "
                "nothing was exported."
            )


def _noised(
    inputs: dict[str, NDArray[Any]], step: Step, spec: ModelSpec, random: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Of the cells past the last, any of the grid."""
    cells = inputs["cells"]
    count = int(inputs["kept"][0]) if "kept" in inputs else len(step.seen)
    anywhere = random.integers(0, spec.state[0].shape[0] * spec.state[0].shape[1], cells.shape).astype(np.int32)
    there = np.arange(cells.shape[1]) < count
    return noised(inputs, len(step.seen), spec, random) | {"cells": np.where(there, cells, anywhere)}


def _made_up(spec: ModelSpec) -> Iterator[NDArray[Any]]:
    """A recording whose steps have one event, a few, none, more tokens than there is room for, and a few."""
    assert isinstance(spec.task, Detection)
    random, most = np.random.default_rng(0), spec.window or 0
    parts = []
    for chunk, count in ((1, 1), (2, 40), (9, 3 * most + 200), (10, 60)):
        part = np.zeros(count, EVENT_DTYPE)
        part["t"] = np.sort(random.integers(0, spec.task.step_us, count)) + chunk * spec.task.step_us
        part["x"], part["y"] = (
            random.integers(0, spec.sensor.width, count),
            random.integers(0, spec.sensor.height, count),
        )
        part["p"] = random.integers(0, 2, count)
        parts.append(part)
    yield np.concatenate(parts)
