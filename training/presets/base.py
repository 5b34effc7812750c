"""What a preset is: everything that makes a model reproducible, as pure data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from spedge.base.errors import UsageError
from spedge.model.parts import ATTENTIONS, EventInput, Model, Representation, Transformer
from spedge.model.spec import ModelSpec, describe

from ..augment.recipe import Augmentation
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
    """How one of our presets is trained. AdamW, OneCycle, gradient norm clipped to 1."""

    minutes: float = 9.0  #: CPU time of the process, at most
    samples: int = 180_000  #: samples to see in all, each changed anew every time
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.0
    label_smoothing: float = 0.1
    ema_samples: int = 20_000  #: averaging length of the weights that are kept, in samples
    holdout: float = 0.1  #: share held out when the data has no test part
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class PaperRecipe:
    """How the paper trains. Adam, OneCycle with 1 % warm-up, gradient norm clipped to 1."""

    batch: int  #: samples a step and device
    steps: int  #: of the optimizer
    learning_rate: float
    accumulate: int = 1  #: batches added up for a step
    precision: str = "fp32"  #: or "fp16", mixed
    dropout: float = 0.1
    workers: int = 4  #: processes that load
    validate_epochs: int = 1  #: epochs between two looks at the validation part
    log_steps: int = 10


@dataclass(frozen=True)
class Preset:
    """A data set, a representation, a model and a recipe. Labels and sensor are the data set's."""

    name: str
    dataset: str
    representation: Representation
    model: Model
    recipe: Recipe | PaperRecipe

    def spec(self, name: str | None = None) -> ModelSpec:
        """The description of a model of this preset, with that name or the preset's."""
        data = describe_data(self.dataset)
        return describe(name or self.name, self.name, data.sensor, data.labels, self.representation, self.model)

    def with_attention(self, attention: str) -> Preset:
        """The same with "full" or "causal" attention. Raises UsageError for any other."""
        if attention not in ATTENTIONS:
            raise UsageError(f"There is no attention '{attention}'. Choose one of: {', '.join(ATTENTIONS)}.")
        if not isinstance(self.model, Transformer):
            raise UsageError(f"The preset '{self.name}' is a {self.model.type}, which has no attention to choose.")
        return replace(self, model=replace(self.model, attention=attention))

    def with_tokens(self, tokens: int) -> Preset:
        """The same with windows of that many tokens, at most the preset's: for a board with little memory.

        Raises UsageError for any other number.
        """
        if isinstance(self.representation, EventInput):
            raise UsageError(f"The preset '{self.name}' takes events and has no window of tokens.")
        most = self.representation.window
        if tokens <= 0 or (most is not None and tokens > most):
            raise UsageError(f"A window of {tokens} tokens cannot be: {self.name} has 1 to {most or 'any number'}.")
        return replace(self, representation=replace(self.representation, window=tokens))


def transformer(size: str) -> Transformer:
    """The transformer of one of SIZES."""
    return Transformer(*SIZES[size])
