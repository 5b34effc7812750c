"""Presets by name: ours, and the paper's."""

from spedge.base.errors import UsageError

from . import paper, pico
from .base import SIZES, Preset, Recipe

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*pico.PRESETS, *paper.PRESETS)}


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"There is no preset '{name}'. Choose one of: {', '.join(PRESETS)}.") from None


__all__ = ["PRESETS", "SIZES", "Preset", "Recipe", "preset"]
