"""The node tests that come with the package onnx, as models that can be compiled: a float32 input, a float32 output.

A test's first float32 input is the model's, or its first of all by way of Cast; the others are constants.
A test of several outputs becomes several models. Outputs that are no float32 end in Cast.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spedge.compile.fixed.operators import SUPPORTED, WRITTEN_OUT

SEVERAL = "several operators"  # tests whose graphs are of more than one
RAISED = 13  # the operator set to which tests of sets before the oldest that is compiled are converted


@dataclass(frozen=True)
class Case:
    """label: the test's name, with the output's number where there are several. given, wanted: flat."""

    label: str
    model: onnx.ModelProto
    given: NDArray[np.float32]
    wanted: NDArray[np.float32]
    rtol: float
    atol: float


@functools.cache
def node_tests() -> dict[str, list[Case]]:
    """Every node test whose operators are all supported, by operator."""
    from onnx.backend.test.case.node import collect_testcases

    found: dict[str, list[Case]] = {op: [] for op in [*sorted(SUPPORTED | WRITTEN_OUT), SEVERAL]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the references of some tests overflow, on purpose
        tests = collect_testcases(None)
    for test in tests:
        if test.model is None:
            continue
        used = {node.op_type for node in test.model.graph.node}
        if used <= SUPPORTED | WRITTEN_OUT:
            found[next(iter(used)) if len(used) == 1 else SEVERAL] += _cases(test)
    return found


def _cases(test: Any) -> Iterator[Case]:
    model = test.model
    if model.opset_import[0].version < 7:
        model = onnx.version_converter.convert_version(model, RAISED)
    (given, wanted), *_ = test.data_sets
    for number, output in enumerate(model.graph.output):
        exact = output.type.tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
        yield Case(
            test.name + (f"/{number}" if len(model.graph.output) > 1 else ""),
            *_of_one_output(model, given, number),
            _flat(wanted[number]),
            0.0 if exact else test.rtol,
            0.0 if exact else max(test.atol, 1e-6),
        )


def _of_one_output(model: onnx.ModelProto, given: Any, number: int) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    infos, output = list(graph.input), graph.output[number]
    del graph.input[:], graph.output[:]
    kept = _input_of(infos)
    for i, info in enumerate(infos):
        if i != kept:
            graph.initializer.append(_constant(given[i], info))
        elif _is_no_float(info):
            graph.node.insert(0, helper.make_node("Cast", ["given"], [info.name], to=info.type.tensor_type.elem_type))
            graph.input.append(_float("given", info))
        else:
            graph.input.append(info)
    if _is_no_float(output):
        graph.node.append(helper.make_node("Cast", [output.name], ["taken"], to=TensorProto.FLOAT))
        graph.output.append(_float("taken", output))
    else:
        graph.output.append(output)
    return copy, _flat(given[kept]) if infos else np.zeros(0, np.float32)


def _input_of(infos: list[onnx.ValueInfoProto]) -> int:
    """The first float32 with elements; else the first of all."""
    for i, info in enumerate(infos):
        sizes = [d.dim_value if d.HasField("dim_value") else 1 for d in info.type.tensor_type.shape.dim]
        if info.type.HasField("tensor_type") and not _is_no_float(info) and math.prod(sizes):
            return i
    return 0


def _is_no_float(info: onnx.ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type") and info.type.tensor_type.elem_type != TensorProto.FLOAT


def _float(name: str, like: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    info = onnx.ValueInfoProto()
    info.CopyFrom(like)
    info.name, info.type.tensor_type.elem_type = name, TensorProto.FLOAT
    return info


def _constant(value: Any, info: onnx.ValueInfoProto) -> onnx.TensorProto:
    tensor = onnx.TensorProto()
    tensor.CopyFrom(value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value)))
    tensor.name, tensor.data_type = info.name, info.type.tensor_type.elem_type
    return tensor


def _flat(value: Any) -> NDArray[np.float32]:
    """A test's value as float32; of what is no tensor, nothing."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.item()
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if value is None or isinstance(value, list):
        return np.zeros(0, np.float32)
    return np.asarray(value).astype(np.float32).ravel()
