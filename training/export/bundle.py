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

from spedge.base.errors import CheckFailed
from spedge.model.bundle import Bundle, write_bundle
from spedge.model.spec import ModelSpec

from ..represent.tokens import Windower

if TYPE_CHECKING:
    from ..models.transformer import Classifier

TOLERANCE = 1e-5  #: largest difference of a logit between torch and ONNX Runtime
OPSET = 18
TOKEN_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")])


def export(
    checkpoint: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, tokens: int | None = None
) -> Bundle:
    """Write the bundle of a checkpoint.

    checkpoint: the file, or the directory that `train` wrote. out: the bundle's directory; without it the
    checkpoint's. tokens: another window length than the one it was trained with, for a board with less memory; the
    bundle then says nothing of its accuracy until it is evaluated.
    Raises CheckFailed, and leaves no bundle, when ONNX Runtime does not compute what torch does; UsageError for a
    window length that cannot be.
    """
    from ..checkpoint import load_checkpoint

    source = load_checkpoint(checkpoint)
    spec = source.spec
    if tokens is not None and tokens != spec.window:
        spec = replace(spec.with_window(tokens), name=f"{spec.name}-t{tokens}", metric=None)
    return export_model(source.model(), spec, source.examples, source.path.parent if out is None else Path(out))


def export_model(model: Classifier, spec: ModelSpec, examples: Sequence[NDArray[Any]], out: Path) -> Bundle:
    """Write the bundle of a model. examples: events of a few samples, for the vectors."""
    import torch

    model = model.eval()
    seen = spec.token_input
    rows = seen.window or 0
    size, buckets = seen.tokenizer.patch_size, seen.embedding.buckets
    length = torch.tensor([rows], dtype=torch.int32)
    with torch.no_grad():
        encoder = _onnx(
            model.encoder,
            {"tokens": torch.zeros(1, rows, seen.features), "length": length},
        )
        oracle = _onnx(
            model,
            {
                "volumes": torch.zeros(1, rows, 2, buckets, size, size),
                "positions": torch.zeros(1, rows, 3, dtype=torch.float64),
                "length": length,
            },
        )
        vectors = _vectors(model, spec, examples)
        _verify(model, spec, encoder, oracle, vectors)
    linear = model.embedding.linear
    weight = linear.weight.detach().numpy().astype(np.float32)
    bias = linear.bias.detach().numpy().astype(np.float32)
    files = {
        "encoder.onnx": encoder,
        "model.onnx": oracle,
        "embedding.npz": _npz({"weight": weight, "bias": bias}),
        "vectors.npz": _npz(vectors),
    }
    return write_bundle(out, spec, files)


def _onnx(module: Any, inputs: dict[str, Any]) -> bytes:
    import torch

    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
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


def _vectors(model: Classifier, spec: ModelSpec, examples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    import torch

    windower = Windower(spec)
    vectors: dict[str, NDArray[Any]] = {}
    for i, events in enumerate(examples):
        tokens = windower.tokenize(events)
        window = windower.window(tokens)
        embedded = model.embedding(torch.from_numpy(window.volumes[None]), torch.from_numpy(window.positions[None]))
        table = np.zeros(len(tokens.t), TOKEN_DTYPE)
        table["x"], table["y"], table["t"], table["n"] = tokens.x, tokens.y, tokens.t, tokens.n
        vectors[f"events_{i}"] = events
        vectors[f"tokens_{i}"] = table
        vectors[f"embedded_{i}"] = embedded[0].numpy()
        vectors[f"logits_{i}"] = model.encoder(embedded, torch.tensor([embedded.shape[1]]))[0].numpy()
    return vectors


def _verify(
    model: Classifier,
    spec: ModelSpec,
    encoder: bytes,
    oracle: bytes,
    vectors: dict[str, NDArray[Any]],
) -> None:
    """Compare both graphs with torch, padding filled with noise, for no, one, many and T tokens."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run_encoder = onnxruntime.InferenceSession(encoder, options, providers=["CPUExecutionProvider"])
    run_oracle = onnxruntime.InferenceSession(oracle, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    seen = spec.token_input
    size, buckets, capacity = seen.tokenizer.patch_size, seen.embedding.buckets, seen.window or 0
    windower = Windower(spec)
    cases = [windower.window(windower.tokenize(vectors[name])) for name in vectors if name.startswith("events_")]
    lengths = [min(len(case.positions), capacity) for case in cases] + [0, 1, capacity // 2, capacity]
    for i, length in enumerate(lengths):
        volumes = random.poisson(0.2, (1, capacity, 2, buckets, size, size)).astype(np.float32)
        positions = random.uniform(0, 30, (1, capacity, 3))
        if i < len(cases):
            volumes[0, :length], positions[0, :length] = cases[i].volumes, cases[i].positions
        tokens = model.embedding(torch.from_numpy(volumes), torch.from_numpy(positions))
        expected = model.encoder(tokens[:, :length], torch.tensor([length])).numpy()
        count = np.array([length], np.int32)
        got_encoder = run_encoder.run(None, {"tokens": tokens.numpy(), "length": count})[0]
        got_oracle = run_oracle.run(None, {"volumes": volumes, "positions": positions, "length": count})[0]
        for name, got in (("encoder.onnx", got_encoder), ("model.onnx", got_oracle)):
            worst = float(np.abs(got - expected).max())
            if not worst <= TOLERANCE:
                raise CheckFailed(
                    f"{name} and torch disagree by {worst:.1e} with {length} tokens, more than {TOLERANCE:.0e}: "
                    "nothing was exported."
                )
