"""A trained bundle with a smaller window: the same weights for fewer tokens, so that it fits a small board."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from spedge.model.bundle import Bundle, write_bundle


def shorter(bundle: Bundle, tokens: int, folder: Path) -> Bundle:
    """`bundle` for windows of that many tokens, written to `folder`, without what it says of its accuracy. Only sizes
    change: its encoder has no weight for a place in the window."""
    old = bundle.tokens
    empty = io.BytesIO()
    np.savez(empty)
    files = {
        "encoder.onnx": _resized(bundle.file("encoder.onnx"), old, tokens),
        "model.onnx": _resized(bundle.file("model.onnx"), old, tokens),
        "embedding.npz": bundle.file("embedding.npz").read_bytes(),
        "vectors.npz": empty.getvalue(),
    }
    spec = replace(bundle.plain().with_window(tokens), name=f"{bundle.name}-{tokens}", metric=None)
    return write_bundle(folder, spec, files)


def _resized(path: Path, old: int, new: int) -> bytes:
    model = onnx.load(path)
    graph = model.graph
    del graph.value_info[:]
    for value in graph.input:
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_value = new if dim.dim_value == old else dim.dim_value
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.int64 and array.ndim == 1:  # a shape; the class token is one more row
            array = np.where(array == old + 1, new + 1, np.where(array == old, new, array))
        elif array.dtype == np.int32 and array.shape == (1, old + 1):  # the rows' numbers
            array = array[:, : new + 1]
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
