"""Events to what the model is fed: the newest tokens as volumes and positions."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from spedge.model.spec import ModelSpec
from spedge.model.window import Window, tokenizer_of, window_of
from spedge.tokens.tokenizer import Tokens


class Windower:
    """Turns events into tokens and tokens into windows, as the description of a model on tokens says."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec, self._input = spec, spec.token_input
        self._tokenizer = tokenizer_of(self._input)

    def tokenize(self, events: NDArray[Any]) -> Tokens:
        """All tokens of one recording."""
        self._tokenizer.reset()
        return self._tokenizer.push(events)

    def newest(self, events: NDArray[Any]) -> Tokens:
        """Those of one recording's tokens that the model sees."""
        return self._newest(self.tokenize(events))

    def window(self, tokens: Tokens) -> Window:
        """What the model sees after these tokens."""
        return window_of(self._newest(tokens), self._input)

    def _newest(self, tokens: Tokens) -> Tokens:
        return tokens.last(self._spec.window_tokens(len(tokens)))
