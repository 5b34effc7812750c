"""What a preset is: everything that makes a model reproducible, as pure data."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, replace
from typing import Any

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


def _told(help: str, default: Any = MISSING) -> Any:
    """A field with a sentence for the command line."""
    return field(default=default, metadata={"help": help}) if default is not MISSING else field(metadata={"help": help})


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: OneCycle, gradient norm clipped. The defaults are the paper's (experiments.md E)."""

    batch: int = _told("Samples a batch and device.")
    steps: int = _told("Steps of the optimizer.")
    learning_rate: float = _told("The highest.")
    accumulate: int = _told("Batches added up for a step.", 1)
    optimizer: str = _told("adam or adamw.", "adam")
    weight_decay: float = _told("Of matrices, by adamw.", 0.0)
    warm_up: float = _told("Share of the steps until the learning rate is highest.", 0.01)
    first_divide: float = _told("The learning rate begins at the highest over this.", 25.0)
    last_divide: float = _told("The learning rate ends at the highest over this.", 100.0)
    clip: float = _told("Largest norm of a step's gradient.", 1.0)
    precision: str = _told("fp32, or mixed fp16 or bf16; fp16 is for GPUs and is fp32 without one.", "fp32")
    dropout: float = _told("Share of features dropped.", 0.1)
    label_smoothing: float = _told("Share of a label that goes to all classes.", 0.0)
    average_samples: int = _told("Samples over which the kept weights are averaged; 0: none are.", 0)
    pool: int = _told("Batches among which samples are sorted by size.", 1)
    minutes: float | None = _told("CPU time at most; the schedule is shortened when it would take longer.", None)
    holdout: float = _told("Share held out when the data has neither a validation nor a test part.", 0.1)
    workers: int = _told("Processes that load; 0: the one that trains.", 4)
    validate_epochs: int = _told("Times through the data between two looks at the held-out part.", 1)
    log_steps: int = _told("Steps whose loss is averaged for the curves.", 10)
    augmentation: Augmentation | None = None  #: ours; None: the paper's, with CutMix


@dataclass(frozen=True)
class Preset:
    """A data set, a representation, a model and a recipe. Labels and sensor are the data set's."""

    name: str
    dataset: str
    representation: Representation
    model: Model
    recipe: Recipe

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
