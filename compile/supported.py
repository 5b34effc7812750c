"""Which models the compiler takes: the one place that says it."""

from __future__ import annotations

from dataclasses import dataclass

from spedge.model.parts import Classification, Detection, Detector, Gnn, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec

from .errors import CompileError


@dataclass(frozen=True)
class Supported:
    """A classifier on windows of tokens, or a detector around a transformer.

    model: of a detector its transformer. detector: what is around it, None for a classifier.
    """

    task: str
    labels: tuple[str, ...]
    input: TokenInput
    window: int
    model: Transformer | Gnn | Pcn
    detector: Detector | None = None

    @property
    def causal(self) -> bool:
        """Whether it is computed token by token."""
        return isinstance(self.model, Transformer) and self.model.attention == "causal"


def transformer_on_tokens(spec: ModelSpec) -> tuple[Classification, TokenInput, Transformer]:
    """The parts of the models whose encoders are taken, whatever feeds these. Raises InputError for another."""
    return spec.parts("the compiler", Classification, TokenInput, Transformer)


def supported(spec: ModelSpec) -> Supported:
    """The parts of a model that can be compiled. Raises InputError or CompileError, saying what can, for another."""
    if isinstance(spec.task, Detection):
        return _detector(spec)
    task, tokens, model = spec.parts("the compiler", Classification, TokenInput, Transformer, Gnn, Pcn)
    window = _window(spec, tokens, "all classifiers")
    if tokens.origin != "window":
        raise CompileError(
            f"the model '{spec.name}' counts times from a sample's start, and a compiled one from its window's first "
            "token: export it again with 'spedge export --times window', and evaluate that"
        )
    if (names := [output.name for output in spec.outputs]) != ["logits"]:
        raise CompileError(
            f"the model '{spec.name}' gives {', '.join(names)}: a compiled one gives logits and nothing else"
        )
    return Supported(task.type, task.labels, tokens, window, model)


def _detector(spec: ModelSpec) -> Supported:
    task, tokens, detector = spec.parts("the compiler", Detection, TokenInput, Detector)
    model = detector.encoder
    if not isinstance(model, Transformer):
        raise CompileError(
            f"the detector '{spec.name}' is around a {model.type}, and a compiled one is around a transformer: it runs "
            "by 'spedge check --board host' alone"
        )
    if model.attention != "full" or not task.reverse_time:
        raise CompileError(
            f"the detector '{spec.name}' has {model.attention} attention, or times that count from a step's begin: a "
            "compiled one attends to all tokens of a step, whose ages count back from its end"
        )
    return Supported(task.type, task.labels, tokens, _window(spec, tokens, "all detectors"), model, detector)


def _window(spec: ModelSpec, tokens: TokenInput, others: str) -> int:
    if tokens.tokenizer.kind != "continuous":
        raise CompileError(
            f"the model '{spec.name}' goes by the {tokens.tokenizer.kind} tokenizer, and a compiled one "
            "by the continuous: choose a preset of Spiking Patches, or 'spedge check --board host', which takes "
            f"{others}"
        )
    if tokens.window is None:
        raise CompileError(f"the model '{spec.name}' has no window: a compiled one has a number of tokens that it sees")
    return tokens.window
