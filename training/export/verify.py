"""Is what was exported what torch computes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CheckFailed
from spedge.model.graph import GnnArrays, PcnArrays, graph_arrays, rooms
from spedge.model.parts import TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.model.window import Windower, graph_of, oracle_inputs, structure_inputs
from spedge.tokens.tokenizer import NO_TOKENS

from .whole import FEATURES, Whole

TOLERANCE = 1e-5  #: largest difference of a logit between torch and ONNX Runtime, and of its size above 1
_DEEP = 20.0  # time of a made-up sample, in units of the model's scale


class _Case:
    """Inputs of model.onnx for `count` tokens, padding and all, and the graph that they are about."""

    def __init__(self, count: int, inputs: dict[str, NDArray[Any]], graph: GnnArrays | PcnArrays | None) -> None:
        self.count, self.inputs, self.graph = count, inputs, graph


def verify(whole: Whole, encoder: bytes, oracle: bytes, examples: Sequence[NDArray[Any]]) -> None:
    """Compare both graphs with torch, padding filled with noise, for the examples and for no, one, many and N tokens.

    Raises CheckFailed, naming the graph, when they differ.
    """
    run_encoder, run_oracle = session(encoder), session(oracle)
    for case in _cases(whole.spec, examples):
        rows = whole.embed(case.inputs)
        expected = whole.logits(rows[:, : case.count], case.graph).numpy()
        structure = {name: values for name, values in case.inputs.items() if name not in FEATURES}
        given = {
            "encoder.onnx": run_encoder.run(None, {"tokens": rows.numpy(), **structure})[0][0],
            "model.onnx": run_oracle.run(None, case.inputs)[0][0],
        }
        for name, got in given.items():
            worst = float(np.abs(got - expected).max())
            if not worst <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise CheckFailed(
                    f"{name} and torch disagree by {worst:.1e} with {case.count} tokens, more than {TOLERANCE:.0e}: "
                    "nothing was exported."
                )


def session(graph: bytes) -> Any:
    """For ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _cases(spec: ModelSpec, examples: Sequence[NDArray[Any]]) -> Iterator[_Case]:
    random = np.random.default_rng(0)
    windower, most = Windower(spec), spec.window or 0
    for events in examples:
        seen = windower.newest(events)
        graph = graph_of(seen, spec)
        yield _Case(len(seen), noised(oracle_inputs(spec, seen, graph), len(seen), spec, random), graph)
    for count in sorted({0, 1, most // 2, most}):
        sensor, kind = spec.sensor, spec.representation
        patch = kind.tokenizer.patch_size if isinstance(kind, TokenInput) else 1
        size = (-(-sensor.width // patch), -(-sensor.height // patch), _DEEP)
        positions = random.uniform(0, 1, (count, 3)) * size
        graph = None if isinstance(spec.encoder, Transformer) else graph_arrays(positions, spec.encoder)
        inputs = oracle_inputs(spec, NO_TOKENS, graph_of(NO_TOKENS, spec)) | structure_inputs(spec, count, graph)
        yield _Case(count, noised(inputs, 0, spec, random), graph)


def noised(
    inputs: dict[str, NDArray[Any]], count: int, spec: ModelSpec, random: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """With noise in all that is past a count: features from row `count` on, and what no graph looks at."""
    ends = {name: np.array([count]) for name in FEATURES}
    if not isinstance(spec.encoder, Transformer):
        ends |= dict.fromkeys(("sampled", "position"), inputs["kept"])
        for room in rooms(spec.encoder, spec.window or 0):
            ends |= dict.fromkeys((room.name, f"{room.name}_relative"), inputs[f"{room.name}_count"])
    return {
        name: _past(name, values, ends[name], random) if name in ends else values for name, values in inputs.items()
    }


def _past(name: str, values: NDArray[Any], counts: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Noise in the place of what lies past counts [...] of the axis after its own: values [..., columns, ...]."""
    noise: NDArray[Any]
    if name == "volumes":
        noise = random.poisson(0.2, values.shape)
    elif values.dtype.kind == "i":
        noise = random.integers(-5, 1 << 20, values.shape)
    else:
        noise = random.uniform(-30, 30, values.shape)
    axis = counts.ndim
    empty = np.arange(values.shape[axis]) >= counts[..., None]
    return np.where(empty.reshape(empty.shape + (1,) * (values.ndim - axis - 1)), noise.astype(values.dtype), values)
