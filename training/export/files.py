"""The files of a bundle, as bytes: ONNX graphs and arrays."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.model.bundle import CALIBRATION, npz_bytes

OPSET = 18


def files_of(
    graphs: tuple[tuple[Any, dict[str, NDArray[Any]]], tuple[Any, dict[str, NDArray[Any]]]],
    outputs: Sequence[str],
    embedding: dict[str, NDArray[np.float32]],
    vectors: dict[str, NDArray[Any]],
    calibration: Sequence[NDArray[Any]],
) -> dict[str, bytes]:
    """Contents of a bundle's files. graphs: encoder.onnx and model.onnx, each a module and inputs of it by name."""
    encoder, oracle = (_onnx(module, inputs, outputs) for module, inputs in graphs)
    files = {
        "encoder.onnx": encoder,
        "model.onnx": oracle,
        "embedding.npz": npz_bytes(embedding),
        "vectors.npz": npz_bytes(vectors),
    }
    if calibration:
        files[CALIBRATION] = npz_bytes({f"events_{i:02}": events for i, events in enumerate(calibration)})
    return files


def _onnx(module: Any, inputs: dict[str, NDArray[Any]], outputs: Sequence[str]) -> bytes:
    import torch

    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, inputs.values())),
            input_names=list(inputs),
            output_names=list(outputs),
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
