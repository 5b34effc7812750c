"""What the host computes from events: tokens, the encoder's input, logits. The yardstick for devices.

Tokens and graphs come from the C library; the logits from ONNX Runtime on the exported graph, which shares no code with
what runs on a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.model.bundle import Bundle
from spedge.model.graph import GnnArrays, PcnArrays, padded
from spedge.model.parts import Classification, EventInput, TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.model.window import (
    Window,
    events_as_tokens,
    graph_of,
    oracle_inputs,
    seen_of,
    structure_inputs,
    tokenizer_of,
    window_of,
)
from spedge.tokens.embedding import embed, position_embedding
from spedge.tokens.tokenizer import Tokenizer, TokenizerStats, Tokens


@dataclass(frozen=True)
class Computed:
    """All tokens of the events, where the events went, and the outputs of the last T tokens, float32 by name.

    Of a model on events, tokens are the events that it keeps (`events_as_tokens`).
    """

    tokens: Tokens
    stats: TokenizerStats
    outputs: dict[str, NDArray[np.float32]]

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32 [classes]."""
        return self.outputs["logits"]


class BundleGraphs:
    """A bundle's graphs for ONNX Runtime, opened when they are first asked for, and its embedding.

    encoder: a quantised encoder (`reference.onnx` of a compiled model) in the place of the bundle's own.
    """

    def __init__(self, bundle: Bundle, encoder: Path | None = None) -> None:
        self.bundle = bundle
        self._quantised = encoder
        self._weight, self._bias = bundle.embedding_arrays()

    @cached_property
    def _oracle(self) -> Any:
        return onnx_session(self.bundle.file("model.onnx"))

    @cached_property
    def _encoder(self) -> Any:
        return onnx_session(self._quantised or self.bundle.file("encoder.onnx"), fuse=self._quantised is None)

    def _require_outputs(self, session: Any, names: Iterable[str]) -> None:
        """Raises InputError for a graph that does not give all of these."""
        if missing := set(names) - {output.name for output in session.get_outputs()}:
            raise InputError(
                f"the bundle {self.bundle.name!r} has a graph without its output {', '.join(sorted(missing))}: "
                "export it again"
            )


class Reference(BundleGraphs):
    """A bundle's classifier on the host, of any family.

    Logits are those of the window that `window` gives, times counted as the bundle says. encoder: a quantised encoder
    (`reference.onnx` of a compiled model) to use on the embedded tokens instead of the bundle's graphs.
    Raises InputError for a model of another kind, and when the bundle's graphs cannot be run.
    """

    def __init__(self, bundle: Bundle, encoder: Path | None = None) -> None:
        if not isinstance(bundle.task, Classification):
            raise InputError(
                f"this takes classifiers, and the model {bundle.name!r} is for {bundle.task.type}: choose a classifier"
            )
        super().__init__(bundle, encoder)
        self._rows = bundle.tokens

    def tokenizer(self, pool_events: int | None = None) -> Tokenizer:
        """A new tokenizer as the bundle says; pool_events as a device has it, None for no limit."""
        return tokenizer_of(self.bundle.token_input, pool_events)

    def compute(self, events: NDArray[Any], pool_events: int | None = None) -> Computed:
        """Everything from events (structured t in µs, x, y, p; sorted)."""
        tokens, stats = self.tokenize(events, pool_events)
        return Computed(tokens, stats, self.outputs(tokens))

    def tokenize(self, events: NDArray[Any], pool_events: int | None = None) -> tuple[Tokens, TokenizerStats]:
        """The tokens of `compute`, and where the events went. With pool_events as a device has them, that is, of voxels
        those of bins that are over."""
        seen = self.bundle.representation
        if isinstance(seen, EventInput):
            kept = events_as_tokens(events, seen)
            return kept, _kept(len(events), len(kept))
        tokenizer = self.tokenizer(pool_events)
        return tokenizer.push(events, end=pool_events is None), tokenizer.stats

    def window(self, tokens: Tokens) -> Tokens:
        """The tokens that the model sees: `ModelSpec.window_tokens` of the newest."""
        return seen_of(tokens, self.bundle)

    def graph(self, tokens: Tokens) -> GnnArrays | PcnArrays | None:
        """The graphs of the tokens that the model sees; None for a transformer, which has none."""
        return graph_of(self.window(tokens), self.bundle)

    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """The output `logits`, float32 [classes]."""
        return self.outputs(tokens)["logits"]

    def outputs(self, tokens: Tokens) -> dict[str, NDArray[np.float32]]:
        """What the model gives, float32 by name: by the oracle, model.onnx, from volumes or polarities, and positions.

        By the quantised encoder, from what `encoder_input` gives, when there is one. A model.onnx that takes float32
        positions, as bundles had it at first, cannot tell the times of a long pause apart: the embedding is computed
        here in float64 then, and the rest by encoder.onnx.
        """
        return self.run(self.inputs(tokens))

    def inputs(self, tokens: Tokens) -> dict[str, NDArray[Any]]:
        """What is computed from the tokens before ONNX Runtime is asked, for `run`."""
        if self._quantised is not None:
            return self.encoder_inputs(tokens)
        seen = self.window(tokens)
        if self._old_positions:
            return self._encoder_inputs(self._embedded(window_of(seen, self.bundle.token_input)))
        return oracle_inputs(self.bundle, seen, graph_of(seen, self.bundle))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """The outputs from `inputs`."""
        return self._run(self._encoder if "tokens" in inputs else self._oracle, inputs)

    def encoded(self, tokens: Tokens) -> dict[str, NDArray[np.float32]]:
        """The same by the road that a device takes: embedded by the C library, and the rest by encoder.onnx."""
        return self._run(self._encoder, self.encoder_inputs(tokens))

    def encoder_inputs(self, tokens: Tokens) -> dict[str, NDArray[Any]]:
        """What encoder.onnx takes, by name."""
        return self._encoder_inputs(self.encoder_input(tokens), self.graph(tokens))

    @cached_property
    def _old_positions(self) -> bool:
        return any(i.name == "positions" and i.type == "tensor(float)" for i in self._oracle.get_inputs())

    def _embedded(self, window: Window) -> NDArray[np.float32]:
        """Embedded tokens with their positions by the formulas: float32 [n, hidden]."""
        hidden = len(self._bias)
        sizes = (hidden // 3, hidden // 3, hidden // 3 + hidden % 3)
        parts = []
        for position, size in zip(window.positions.T, sizes, strict=True):
            angles = position[:, None] / 10_000 ** (2 * np.arange((size + 1) // 2) / size)
            parts += [np.sin(angles), np.cos(angles[:, : size // 2])]
        cells = np.log1p(window.volumes.reshape(len(window.volumes), -1), dtype=np.float64)
        return np.asarray(cells @ self._weight.T + self._bias + np.concatenate(parts, axis=1), np.float32)

    def encoder_input(self, tokens: Tokens) -> NDArray[np.float32]:
        """What a device hands to its encoder: the embedded window, of a transformer with positions.

        float32 [n, hidden]. Equal, bit for bit, to what sp_pipeline_window hands to it where sin, cos, log and pow are.
        """
        seen = self.window(tokens)
        of_window = isinstance(self.bundle.representation, TokenInput) and self.bundle.representation.origin == "window"
        return embedded_rows(self.bundle, seen, seen.t - seen.t[:1] if of_window else seen.t, self._weight, self._bias)

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [classes] by encoder.onnx from embedded tokens, float32 [n, hidden], n <= T. Of a transformer."""
        return self._run(self._encoder, self._encoder_inputs(rows))["logits"]

    def _encoder_inputs(
        self, rows: NDArray[np.float32], graph: GnnArrays | PcnArrays | None = None
    ) -> dict[str, NDArray[Any]]:
        return {"tokens": padded(rows, self._rows), **structure_inputs(self.bundle, len(rows), graph)}

    def _run(self, session: Any, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        names = [output.name for output in self.bundle.outputs]
        self._require_outputs(session, names)
        given = session.run(names, dict(inputs))
        return {name: np.asarray(tensor[0], np.float32) for name, tensor in zip(names, given, strict=True)}


def embedded_rows(
    spec: ModelSpec,
    seen: Tokens,
    times: NDArray[np.uint64],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What an encoder takes for the tokens or events that the model sees, by the C library: float32 [n, features].

    times: of the tokens, µs, for a transformer's positions. weight, bias: the bundle's `embedding_arrays`.
    """
    config = spec.representation
    if not isinstance(config, TokenInput):
        rows: NDArray[np.float32] = weight.T[seen.events["p"]] + bias
        return rows
    embedding = config.embedding
    rows = embed(seen, weight, bias, config.tokenizer.patch_size, embedding.buckets)
    if not isinstance(spec.encoder, Transformer):
        return rows
    return rows + position_embedding(seen.x, seen.y, times, embedding.hidden, embedding.time_scale_us)


def _kept(events: int, kept: int) -> TokenizerStats:
    """Where the events of a model on events went."""
    return TokenizerStats(events, kept, 0, 0, events - kept, 0, 0, 0, kept, 0, 0)


def onnx_session(path: Path, fuse: bool = True) -> Any:
    """A graph for ONNX Runtime. fuse: let it replace groups of nodes. It makes of 8-bit weights a product that rounds
    activations, which is not what the graph says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the models are small; threads only cost
    options.log_severity_level = 3
    if not fuse:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class per kind of failure, none of them public
        raise InputError(f"{path} cannot be run by ONNX Runtime: export the bundle again ({error})") from error
