"""A trained model to a bundle: two ONNX graphs, the token embedding, vectors; checked before it is written."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.bundle import CALIBRATION, Bundle, write_bundle
from spedge.model.graph import graph_numbers
from spedge.model.parts import MAX_WINDOW, ORIGINS, TokenInput
from spedge.model.spec import ModelSpec
from spedge.model.window import Windower, graph_of, oracle_inputs, seen_of

if TYPE_CHECKING:
    from ..models.on_graphs import GraphClassifier
    from ..models.transformer import Classifier
    from .whole import Whole

OPSET = 18
TOKEN_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")])


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
    if isinstance(model, DetectorModel):
        raise UsageError(f"'{source.spec.name}' is a detector, of which there are no bundles yet.")
    return export_model(
        model,
        with_room(source.spec, tokens, times),
        source.examples,
        source.path.parent if out is None else Path(out),
        source.calibration,
    )


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
    model: Classifier | GraphClassifier,
    spec: ModelSpec,
    examples: Sequence[NDArray[Any]],
    out: Path,
    calibration: Sequence[NDArray[Any]] = (),
) -> Bundle:
    """Write the bundle of a model. examples: events of a few samples, for the vectors; calibration: of some learned."""
    import torch

    from .verify import verify
    from .whole import whole_of

    whole = whole_of(model.eval(), spec)
    with torch.no_grad():
        vectors = _vectors(whole, examples)
        files = {
            "encoder.onnx": _onnx(whole.encoder, whole.encoder_example()),
            "model.onnx": _onnx(whole.oracle, whole.oracle_example()),
            "embedding.npz": _npz(whole.embedding_arrays()),
            "vectors.npz": _npz(vectors),
        }
        if calibration:
            files[CALIBRATION] = _npz({f"events_{i:02}": events for i, events in enumerate(calibration)})
        verify(whole, files["encoder.onnx"], files["model.onnx"], examples)
    return write_bundle(out, spec, files)


def _onnx(module: Any, inputs: dict[str, NDArray[Any]]) -> bytes:
    import torch

    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, inputs.values())),
            input_names=list(inputs),
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for message in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del message.metadata_props[:]  # torch's traces: they hold paths of this machine and change from run to run
        message.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _vectors(whole: Whole, examples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    spec = whole.spec
    windower = Windower(spec)
    vectors: dict[str, NDArray[Any]] = {}
    for i, events in enumerate(examples):
        tokens = windower.tokenize(events)
        seen = seen_of(tokens, spec)
        graph = graph_of(seen, spec)
        rows = whole.embed(oracle_inputs(spec, seen, graph))[:, : len(seen)]
        table = np.zeros(len(tokens.t), TOKEN_DTYPE)
        table["x"], table["y"], table["t"], table["n"] = tokens.x, tokens.y, tokens.t, tokens.n
        vectors[f"events_{i}"] = events
        vectors[f"tokens_{i}"] = table
        vectors[f"embedded_{i}"] = rows[0].numpy()
        vectors[f"logits_{i}"] = whole.logits(rows, graph).numpy()
        if graph is not None:
            vectors |= {f"{name}_{i}": numbers for name, numbers in graph_numbers(graph).items()}
    return vectors
