"""A trained model to a bundle: two ONNX graphs, the token embedding, vectors; checked before it is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.bundle import Bundle, token_table, write_bundle
from spedge.model.graph import graph_numbers
from spedge.model.parts import MAX_WINDOW, ORIGINS, TokenInput
from spedge.model.spec import ModelSpec
from spedge.model.window import Windower, graph_of, oracle_inputs, seen_of

from .files import files_of

if TYPE_CHECKING:
    from ..models.detector import DetectorModel
    from ..models.on_graphs import GraphClassifier
    from ..models.transformer import Classifier
    from .whole import Whole


def export(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    tokens: int | None = None,
    times: str | None = None,
) -> Bundle:
    """Write the bundle of a checkpoint.

    checkpoint: the file, or the directory that `train` wrote. out: the bundle's directory; without it the
    checkpoint's. tokens: the most tokens that it sees, in the place of what `with_room` gives: another window length
    than the one it was trained with, for a board with less memory. The bundle then says nothing of its accuracy until
    it is evaluated, unless no sample of its training had more. times: "window": they count from the window's first
    token, as on a device, in a model that was trained with whole samples, whose times count from the sample's start.
    Raises CheckFailed, and leaves no bundle, when ONNX Runtime does not compute what torch does; UsageError for a
    window length that cannot be, or that has to be given.
    """
    from ..checkpoint import load_checkpoint
    from ..models.detector import DetectorModel

    source = load_checkpoint(checkpoint)
    model = source.model()
    folder = source.path.parent if out is None else Path(out)
    kept = source.examples, folder, source.calibration
    if times is not None and isinstance(model, DetectorModel):
        raise UsageError(f"The times of '{source.spec.name}' count back from its steps: leave --times out.")
    return export_model(model, with_room(source.spec, tokens, times), *kept)


def with_room(spec: ModelSpec, tokens: int | None = None, times: str | None = None) -> ModelSpec:
    """The description with a number of tokens that the model sees, which the bundle's graphs have room for.

    tokens: how many. Without it as many as the model was trained with, or, where it saw all of a sample, as the largest
    sample had that it learned from or was tried on. times: as of `export`. Raises UsageError where that is not known,
    and for what cannot be.
    """
    if times is not None:
        spec = _with_times(spec, times)
    largest = spec.training.get("largest")
    if tokens is None and spec.window is None:
        if not isinstance(largest, int) or not largest > 0:
            raise UsageError(
                f"How many tokens the samples of '{spec.name}' had is not known: say for how many the bundle shall "
                "have room with --tokens."
            )
        return spec.with_window(min(largest, MAX_WINDOW))
    if tokens is None or tokens == spec.window:
        return spec
    whole = spec.window is None and isinstance(largest, int) and tokens >= largest
    return replace(spec.with_window(tokens), name=f"{spec.name}-t{tokens}", metric=spec.metric if whole else None)


def _with_times(spec: ModelSpec, times: str) -> ModelSpec:
    seen = spec.representation
    if times not in ORIGINS:
        raise UsageError(f"Times cannot count from '{times}'. Choose one of: {', '.join(ORIGINS)}.")
    if not isinstance(seen, TokenInput) or (seen.origin, times) == ("window", "sample"):
        raise UsageError(f"The times of '{spec.name}' do not count from the {times}: leave --times out.")
    if seen.origin == times:
        return spec
    return replace(spec, representation=replace(seen, origin=times), metric=None)


def export_model(
    model: Classifier | GraphClassifier | DetectorModel,
    spec: ModelSpec,
    examples: Sequence[NDArray[Any]],
    out: Path,
    calibration: Sequence[NDArray[Any]] = (),
) -> Bundle:
    """Write the bundle of a model. examples: events of a few samples, for the vectors; calibration: of some learned."""
    import torch

    from ..models.detector import DetectorModel

    if isinstance(model, DetectorModel):
        from .detector_bundle import export_detector

        return export_detector(model, spec, examples, out, calibration)
    from .verify import verify
    from .whole import embedding_arrays, whole_of

    whole = whole_of(model.eval(), spec)
    with torch.no_grad():
        vectors = _vectors(whole, examples)
        graphs = (whole.encoder, whole.encoder_example()), (whole.oracle, whole.oracle_example())
        files = files_of(graphs, ("logits",), embedding_arrays(whole.model.embedding), vectors, calibration)
        verify(whole, files["encoder.onnx"], files["model.onnx"], examples)
    return write_bundle(out, spec, files)


def _vectors(whole: Whole, examples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    spec = whole.spec
    windower = Windower(spec)
    vectors: dict[str, NDArray[Any]] = {}
    for i, events in enumerate(examples):
        tokens = windower.tokenize(events)
        seen = seen_of(tokens, spec)
        graph = graph_of(seen, spec)
        rows = whole.embed(oracle_inputs(spec, seen, graph))[:, : len(seen)]
        vectors[f"events_{i}"] = events
        vectors[f"tokens_{i}"] = token_table(tokens)
        vectors[f"embedded_{i}"] = rows[0].numpy()
        vectors[f"logits_{i}"] = whole.logits(rows, graph).numpy()
        if graph is not None:
            vectors |= {f"{name}_{i}": numbers for name, numbers in graph_numbers(graph).items()}
    return vectors
