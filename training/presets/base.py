"""What a preset is: everything that makes a model reproducible, as pure data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spedge.base.errors import UsageError
from spedge.model.parts import ATTENTIONS, Detector, EventInput, Model, Representation, Transformer
from spedge.model.spec import ModelSpec, describe

from ..augment.recipe import Augmentation
from ..data.base import Description
from ..data.registry import describe_data

#: (hidden, intermediate, heads, layers). `nano` to `base` are the paper's; `pico` is for microcontrollers.
SIZES: dict[str, tuple[int, int, int, int]] = {
    "pico": (64, 128, 4, 2),
    "nano": (128, 256, 4, 4),
    "tiny": (256, 512, 4, 7),
    "small": (512, 2048, 8, 10),
    "base": (768, 3072, 12, 12),
}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: OneCycle, gradient norm clipped. The defaults are the paper's (experiments.md E)."""

    batch: int  #: samples a batch and device
    steps: int  #: steps of the optimizer
    learning_rate: float  #: the highest
    accumulate: int = 1  #: batches added up for a step
    optimizer: str = "adam"  #: adam or adamw
    weight_decay: float = 0.0  #: of matrices, by adamw
    warm_up: float = 0.01  #: share of the steps until the learning rate is highest
    first_divide: float = 25.0  #: the learning rate begins at the highest over this
    last_divide: float = 100.0  #: the learning rate ends at the highest over this
    clip: float = 1.0  #: largest norm of a step's gradient
    precision: str = "fp32"  #: fp32, or mixed fp16 or bf16; fp16 is for GPUs and is fp32 without one
    dropout: float = 0.1  #: share of features dropped
    label_smoothing: float = 0.0  #: share of a label that goes to all classes
    average_samples: int = 0  #: samples over which the kept weights are averaged; 0: none are
    pool: int = 1  #: batches among which samples are sorted by size
    minutes: float | None = None  #: CPU time at most; the schedule is shortened when it would take longer
    holdout: float = 0.1  #: share held out when the data has neither a validation nor a test part
    workers: int = 4  #: processes that load; 0: the one that trains
    validate_epochs: int = 1  #: times through the data between two looks at the held-out part
    stop_accuracy: float | None = None  #: share of the held-out part that is enough: training ends there
    log_steps: int = 10  #: steps whose loss is averaged for the curves
    augment: bool = True  #: whether samples are changed at random
    augmentation: Augmentation | None = None  #: ours; None: the paper's, with CutMix


@dataclass(frozen=True)
class Preset:
    """A data set, a representation, a model and a recipe. Labels and sensor are the data set's. about: what that is,
    where its name alone does not tell."""

    name: str
    dataset: str
    representation: Representation
    model: Model
    recipe: Recipe
    about: Description | None = None

    @property
    def described(self) -> Description:
        """The data set."""
        return self.about or describe_data(self.dataset)

    def spec(self, name: str | None = None) -> ModelSpec:
        """The description of a model of this preset, with that name or the preset's."""
        data = self.described
        return describe(name or self.name, self.name, data.sensor, data.labels, self.representation, self.model)

    def with_attention(self, attention: str) -> Preset:
        """The same with "full" or "causal" attention. Raises UsageError for any other."""
        if attention not in ATTENTIONS:
            raise UsageError(f"There is no attention '{attention}'. Choose one of: {', '.join(ATTENTIONS)}.")
        if not isinstance(self.model, Transformer):
            raise UsageError(f"The preset '{self.name}' is a {self.model.type}, which has no attention to choose.")
        return replace(self, model=replace(self.model, attention=attention))

    def with_size(self, size: str) -> Preset:
        """The same with the transformer of another of SIZES. Raises UsageError where there is none of that size."""
        if size not in SIZES:
            raise UsageError(f"There is no size '{size}'. Choose one of: {', '.join(SIZES)}.")
        encoder = self.model.encoder if isinstance(self.model, Detector) else self.model
        if not isinstance(encoder, Transformer) or isinstance(self.representation, EventInput):
            raise UsageError(f"The preset '{self.name}' is a {encoder.type}, which has no size to choose.")
        sized = replace(transformer(size), attention=encoder.attention)
        embedding = replace(self.representation.embedding, hidden=sized.hidden)
        model = replace(self.model, encoder=sized, hidden=sized.hidden) if isinstance(self.model, Detector) else sized
        return replace(self, model=model, representation=replace(self.representation, embedding=embedding))

    def with_tokens(self, tokens: int) -> Preset:
        """The same with windows of that many tokens, at most the preset's: for a board with little memory.

        Raises UsageError for any other number.
        """
        if isinstance(self.representation, EventInput):
            raise UsageError(f"The preset '{self.name}' takes events and has no window of tokens.")
        most = self.representation.window
        if tokens <= 0 or (most is not None and tokens > most):
            raise UsageError(f"A window of {tokens} tokens cannot be: {self.name} has 1 to {most or 'any number'}.")
        return replace(self, representation=replace(self.representation, window=tokens, origin="window"))


def transformer(size: str) -> Transformer:
    """The transformer of one of SIZES."""
    return Transformer(*SIZES[size])
