"""Our presets: small enough for a microcontroller, trained in minutes on one core."""

from __future__ import annotations

from spedge.model.parts import Embedding, TokenInput
from spedge.tokens.settings import TokenizerSettings

from ..augment.recipe import Augmentation
from .base import SIZES, Preset, Recipe, transformer

_HIDDEN = SIZES["pico"][0]
_WINDOW = 128


def _tokens(patch_size: int, threshold: float, buckets: int, time_scale_us: float) -> TokenInput:
    tokenizer = TokenizerSettings(patch_size=patch_size, threshold=threshold)
    return TokenInput(tokenizer, Embedding(buckets, _HIDDEN, time_scale_us), _WINDOW)


PRESETS = (
    Preset(
        "nmnist-pico", "nmnist", _tokens(4, 48.0, 6, 10_000.0), transformer("pico"),
        Recipe(
            augmentation=Augmentation(
                shift_px=3.0, rotate_deg=20.0, shear=0.2, scale=0.2, elastic_px=1.0, drop=0.3,
                time_scale=0.1, jitter_px=0.3, jitter_us=500.0,
            ),
        ),
    ),
    Preset(
        "gestures-pico", "gestures", _tokens(16, 192.0, 2, 50_000.0), transformer("pico"),
        Recipe(
            minutes=20.0,  # some 4 of them to make the data
            samples=60_000,
            augmentation=Augmentation(
                shift_px=8.0, rotate_deg=8.0, shear=0.05, scale=0.15, drop=0.2,
                time_scale=0.1, jitter_px=0.5, jitter_us=500.0, crop_us=500_000, crop_share=0.5,
            ),
        ),
    ),
)  # fmt: skip
