"""What the host computes from events: tokens, the encoder's input, logits. The yardstick for devices.

Tokens come from the C library; the logits from ONNX Runtime on the exported graph, which shares no code with what
runs on a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.model.bundle import Bundle
from spedge.model.parts import Classification, TokenInput, Transformer
from spedge.model.window import Window, tokenizer_of, window_of
from spedge.tokens.embedding import encoder_input
from spedge.tokens.tokenizer import Tokenizer, TokenizerStats, Tokens


@dataclass(frozen=True)
class Computed:
    """All tokens of the events, where the events went, and the outputs of the last T tokens, float32 by name."""

    tokens: Tokens
    stats: TokenizerStats
    outputs: dict[str, NDArray[np.float32]]

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32 [classes]."""
        return self.outputs["logits"]


class Reference:
    """A bundle's model on the host.

    Logits are those of the window that `window` gives, times counted from its first token. encoder: a quantised
    encoder (`reference.onnx` of a compiled model) to use on the embedded tokens instead of the bundle's graphs.
    Raises InputError for a model of another kind, and when the bundle's graphs cannot be run.
    """

    def __init__(self, bundle: Bundle, encoder: Path | None = None) -> None:
        self.bundle = bundle
        _, self._input, _ = bundle.parts("the host's reference", Classification, TokenInput, Transformer)
        self._rows = bundle.tokens
        self._quantised = encoder
        self._weight, self._bias = bundle.embedding_arrays()

    def tokenizer(self, pool_events: int | None = None) -> Tokenizer:
        """A new tokenizer as the bundle says; pool_events as a device has it, None for no limit."""
        return tokenizer_of(self._input, pool_events)

    def compute(self, events: NDArray[Any], pool_events: int | None = None) -> Computed:
        """Everything from events (structured t in µs, x, y, p; sorted)."""
        tokenizer = self.tokenizer(pool_events)
        tokens = tokenizer.push(events)
        return Computed(tokens, tokenizer.stats, self.outputs(tokens))

    def window(self, tokens: Tokens) -> Tokens:
        """The tokens that the model sees: `ModelSpec.window_tokens` of the newest."""
        return tokens.last(self.bundle.window_tokens(len(tokens)))

    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """The output `logits`, float32 [classes]."""
        return self.outputs(tokens)["logits"]

    def outputs(self, tokens: Tokens) -> dict[str, NDArray[np.float32]]:
        """What the model gives, float32 by name: by the oracle, model.onnx, from volumes and positions.

        By the quantised encoder, from what `encoder_input` gives, when there is one. A model.onnx that takes float32
        positions, as bundles had it at first, cannot tell the times of a long pause apart: the embedding is computed
        here in float64 then, and the rest by encoder.onnx.
        """
        if self._quantised is not None:
            return self._encoded(self.encoder_input(tokens))
        window = window_of(self.window(tokens), self._input)
        if self._oracle.get_inputs()[1].type == "tensor(float)":
            return self._encoded(self._embedded(window))
        volumes, positions = self._padded(window.volumes), self._padded(window.positions)
        return self._run(self._oracle, len(window.positions), volumes=volumes, positions=positions)

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

    def _padded(self, rows: NDArray[Any]) -> NDArray[Any]:
        """A batch of one, [1, T, …], of at most T rows."""
        padded = np.zeros((1, self._rows, *rows.shape[1:]), rows.dtype)
        padded[0, : len(rows)] = rows
        return padded

    def encoder_input(self, tokens: Tokens) -> NDArray[np.float32]:
        """What a device hands to its encoder: embedded window with positions, float32 [n, hidden], n <= T."""
        config = self._input.embedding
        return encoder_input(
            self.window(tokens),
            self._weight,
            self._bias,
            self._input.tokenizer.patch_size,
            config.buckets,
            config.time_scale_us,
        )

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [classes] by encoder.onnx from embedded tokens, float32 [n, hidden], n <= T."""
        return self._encoded(rows)["logits"]

    def _encoded(self, rows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return self._run(self._encoder, len(rows), tokens=self._padded(rows))

    @cached_property
    def _oracle(self) -> Any:
        return _session(self.bundle.file("model.onnx"))

    @cached_property
    def _encoder(self) -> Any:
        return _session(self._quantised or self.bundle.file("encoder.onnx"), fuse=self._quantised is None)

    def _run(self, session: Any, length: int, **inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        names = [output.name for output in self.bundle.outputs]
        if missing := set(names) - {output.name for output in session.get_outputs()}:
            raise InputError(
                f"the bundle {self.bundle.name!r} has a graph without its output {', '.join(sorted(missing))}: "
                "export it again"
            )
        given = session.run(names, {**inputs, "length": np.array([length], np.int32)})
        return {name: np.asarray(tensor[0], np.float32) for name, tensor in zip(names, given, strict=True)}


def _session(path: Path, fuse: bool = True) -> Any:
    """fuse: let ONNX Runtime replace groups of nodes. It makes of 8-bit weights a product that rounds activations,
    which is not what the graph says."""
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
