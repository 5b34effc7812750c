"""Our presets: small enough for a microcontroller, trained in minutes on one core."""

from __future__ import annotations

from dataclasses import replace

from spedge.model.parts import Detector, Embedding, Gnn, Pcn, TokenInput
from spedge.tokens.settings import TokenizerSettings

from ..augment.recipe import Augmentation
from .base import SIZES, Preset, Recipe, transformer

_HIDDEN = SIZES["pico"][0]
_BATCH = 32
_WINDOW = 128


def _tokens(tokenizer: TokenizerSettings, buckets: int, time_scale_us: float) -> TokenInput:
    return TokenInput(tokenizer, Embedding(buckets, _HIDDEN, time_scale_us), _WINDOW)


def _points(features: int) -> TokenInput:
    """The digits' tokens for a GNN or PCN: as many as are in all but a few of them."""
    return TokenInput(TokenizerSettings(patch_size=4, threshold=48.0), Embedding(6, features, 10_000.0), 96)


def _recipe(minutes: float, samples: int, augmentation: Augmentation) -> Recipe:
    return Recipe(
        batch=_BATCH,
        steps=samples // _BATCH,
        learning_rate=2e-3,
        optimizer="adamw",
        weight_decay=0.05,
        warm_up=0.05,
        last_divide=2500.0,
        dropout=0.0,
        label_smoothing=0.1,
        average_samples=20_000,
        augmentation=augmentation,
        pool=8,
        minutes=minutes,
        workers=1,  # on a second core: input is three tenths of the work
        validate_epochs=20,
        log_steps=50,
    )


_NMNIST = Preset(
    "nmnist-pico",
    "nmnist",
    _tokens(TokenizerSettings(patch_size=4, threshold=48.0), 6, 10_000.0),
    transformer("pico"),
    _recipe(
        9.0,
        180_000,
        Augmentation(
            shift_px=3.0, rotate_deg=20.0, shear=0.2, scale=0.2, elastic_px=1.0, drop=0.3,
            time_scale=0.1, jitter_px=0.3, jitter_us=500.0,
        ),
    ),
)  # fmt: skip

PRESETS = (
    _NMNIST,
    Preset(
        "gestures-pico", "gestures", _tokens(TokenizerSettings(patch_size=16, threshold=192.0), 2, 50_000.0),
        transformer("pico"),
        _recipe(
            20.0, 120_000,  # some 4 minutes of them to make the data
            Augmentation(
                shift_px=8.0, rotate_deg=8.0, shear=0.05, scale=0.15, drop=0.2,
                time_scale=0.1, jitter_px=0.5, jitter_us=500.0, crop_us=500_000, crop_share=0.5,
            ),
        ),
    ),
    # For a sensor with six times the pixels: events come three times as many, tokens no more.
    Preset(
        "gestures-320", "gestures-320", _tokens(TokenizerSettings(patch_size=16, threshold=256.0), 2, 50_000.0),
        transformer("pico"),
        _recipe(
            15.0, 90_000,  # some 4 minutes of them to make the data
            Augmentation(
                shift_px=20.0, rotate_deg=8.0, shear=0.05, scale=0.15, drop=0.2,
                time_scale=0.1, jitter_px=0.5, jitter_us=500.0, crop_us=500_000, crop_share=0.5,
            ),
        ),
    ),
    # The yardstick of nmnist-pico: voxels, all else equal, and as many tokens of a digit (68.8; spiking patches 69.9).
    replace(
        _NMNIST,
        name="nmnist-pico-voxel",
        representation=_tokens(
            TokenizerSettings(kind="voxel", patch_size=4, threshold=16.0, duration_us=75_000), 6, 10_000.0
        ),
    ),
    # The same digits as graphs of their tokens. A convolution's weights are 64 of its width squared: they are narrow.
    replace(
        _NMNIST,
        name="nmnist-gnn-pico",
        representation=_points(12),
        model=Gnn(3.0, 9.0, 0.25, channels=(12, 12, 24), neighbours=16),
    ),
    replace(
        _NMNIST,
        name="nmnist-pcn-pico",
        representation=_points(24),
        model=Pcn((3.0, 6.0), (0.5, 0.5), channels=(24, 48, 96), neighbours=16),
    ),
    # Boxes of digits that move over a sensor of GEN1's size; small enough to be learned on two cores.
    Preset(
        "nmnist-det-pico",
        "nmnist-det",
        # As many events as a step of 50 ms brings of a digit in a patch: fewer of them tell digits less well.
        TokenInput(TokenizerSettings(patch_size=16, threshold=128.0), Embedding(5, _HIDDEN, 50_000.0), 96),
        Detector(transformer("pico"), 32, head=32),
        Recipe(
            batch=16, steps=2_300, learning_rate=4e-3, optimizer="adamw", weight_decay=0.01, warm_up=0.05,
            last_divide=500.0, clip=10.0, dropout=0.0, average_samples=10_000, workers=1, validate_epochs=1,
            augment=False, log_steps=20, minutes=60.0,
        ),
    ),
)  # fmt: skip
