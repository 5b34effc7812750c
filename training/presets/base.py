"""Presets: everything that makes a model reproducible, in one table each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from spedge.base.errors import UsageError
from spedge.model.bundle import BundleSpec, EmbeddingConfig, EncoderConfig, SensorConfig, TokenizerConfig

#: (hidden, intermediate, heads, layers). `nano` to `base` are the paper's; `pico` is for microcontrollers.
SIZES: dict[str, tuple[int, int, int, int]] = {
    "pico": (64, 128, 4, 2),
    "nano": (128, 256, 4, 4),
    "tiny": (256, 512, 4, 7),
    "small": (512, 2048, 8, 10),
    "base": (768, 3072, 12, 12),
}

ATTENTIONS = ("full", "causal")


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes made to the events of a training sample.

    All are drawn anew every time a sample is seen. Nothing mirrors a sample: a mirrored
    digit is no digit, and a mirrored swipe is another swipe.
    """

    shift_px: float = 0.0  #: shift in x and y, uniform in +- this
    rotate_deg: float = 0.0  #: rotation about the sensor's centre, uniform in +- this
    shear: float = 0.0  #: x += s * y, and y += s * x, s uniform in +- this
    scale: float = 0.0  #: scale of x and y each, uniform in 1 +- this
    elastic_px: float = 0.0  #: standard deviation of a smooth random displacement
    drop: float = 0.0  #: share of events dropped at random, uniform in 0..this
    time_scale: float = 0.0  #: times multiplied by exp(uniform in +- this)
    jitter_px: float = 0.0  #: normal noise on each event's position
    jitter_us: float = 0.0  #: normal noise on each event's time
    crop_us: int = 0  #: shortest time span kept when cutting a random one out; 0: never cut
    crop_share: float = 0.0  #: share of samples that are cut


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained. AdamW, OneCycle, gradient norm clipped to 1."""

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
class Preset:
    """A data set, a representation, a model and a recipe."""

    name: str
    dataset: str
    sensor: SensorConfig
    labels: tuple[str, ...]
    tokenizer: TokenizerConfig
    embedding: EmbeddingConfig
    encoder: EncoderConfig
    tokens: int  #: window length T
    recipe: Recipe

    def spec(self, name: str) -> BundleSpec:
        """What a bundle of that name says of a model of this preset."""
        return BundleSpec(
            name=name,
            preset=self.name,
            sensor=self.sensor,
            tokenizer=self.tokenizer,
            embedding=self.embedding,
            encoder=self.encoder,
            tokens=self.tokens,
            labels=self.labels,
        )

    def with_attention(self, attention: str) -> Preset:
        """The same with "full" or "causal" attention. Raises UsageError for any other."""
        if attention not in ATTENTIONS:
            raise UsageError(f"There is no attention '{attention}'. Choose one of: {', '.join(ATTENTIONS)}.")
        return replace(self, encoder=replace(self.encoder, attention=attention))

    def with_tokens(self, tokens: int) -> Preset:
        """The same with windows of that many tokens, at most the preset's: for a board with little memory.

        Raises UsageError for any other number.
        """
        if not 0 < tokens <= self.tokens:
            raise UsageError(f"A window of {tokens} tokens cannot be: {self.name} has 1 to {self.tokens}.")
        return replace(self, tokens=tokens)


def _preset(
    name: str,
    dataset: str,
    size: str,
    sensor: tuple[int, int],
    labels: tuple[str, ...],
    patch_size: int,
    threshold: float,
    buckets: int,
    time_scale_us: float,
    recipe: Recipe,
    tokens: int = 128,
) -> Preset:
    hidden, intermediate, heads, layers = SIZES[size]
    return Preset(
        name=name,
        dataset=dataset,
        sensor=SensorConfig(*sensor),
        labels=labels,
        tokenizer=TokenizerConfig(patch_size=patch_size, threshold=threshold),
        embedding=EmbeddingConfig(buckets=buckets, hidden=hidden, time_scale_us=time_scale_us),
        encoder=EncoderConfig(hidden=hidden, intermediate=intermediate, heads=heads, layers=layers),
        tokens=tokens,
        recipe=recipe,
    )


GESTURES = (
    "swipe left", "swipe right", "swipe up", "swipe down", "circle clockwise", "circle counter-clockwise",
    "wave", "approach", "retreat", "clap", "noise",
)  # fmt: skip

PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        _preset(
            "nmnist-pico", "nmnist", "pico", (34, 34), tuple("0123456789"),
            patch_size=4, threshold=48.0, buckets=6, time_scale_us=10_000.0,
            recipe=Recipe(
                augmentation=Augmentation(
                    shift_px=3.0, rotate_deg=20.0, shear=0.2, scale=0.2, elastic_px=1.0, drop=0.3,
                    time_scale=0.1, jitter_px=0.3, jitter_us=500.0,
                ),
            ),
        ),
        _preset(
            "gestures-pico", "gestures", "pico", (128, 128), GESTURES,
            patch_size=16, threshold=192.0, buckets=2, time_scale_us=50_000.0,
            recipe=Recipe(
                minutes=20.0,  # some 4 of them to make the data
                samples=60_000,
                augmentation=Augmentation(
                    shift_px=8.0, rotate_deg=8.0, shear=0.05, scale=0.15, drop=0.2,
                    time_scale=0.1, jitter_px=0.5, jitter_us=500.0, crop_us=500_000, crop_share=0.5,
                ),
            ),
        ),
    )
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"There is no preset '{name}'. Choose one of: {', '.join(PRESETS)}.") from None
