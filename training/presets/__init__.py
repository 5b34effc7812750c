"""Presets: everything that makes a model reproducible."""

from .base import ATTENTIONS, PRESETS, SIZES, Augmentation, Preset, Recipe, preset

__all__ = ["ATTENTIONS", "PRESETS", "SIZES", "Augmentation", "Preset", "Recipe", "preset"]
