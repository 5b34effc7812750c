"""Presets by name: ours, and the paper's."""

from spedge.base.errors import UsageError
from spedge.model.parts import Detector

from . import paper, pico
from .base import SIZES, Preset, Recipe

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*pico.PRESETS, *paper.PRESETS)}


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"There is no preset '{name}'. Choose one of: {', '.join(PRESETS)}.") from None


def trainable(name: str | Preset) -> Preset:
    """A preset that can be trained here. Raises UsageError for another, naming those that can."""
    chosen = preset(name) if isinstance(name, str) else name
    if not isinstance(chosen.model, Detector):
        return chosen
    ours = ", ".join(p.name for p in PRESETS.values() if not isinstance(p.model, Detector))
    raise UsageError(
        f"The preset '{chosen.name}' is a detector, which cannot be trained here yet. Choose one of: {ours}."
    )


__all__ = ["PRESETS", "SIZES", "Preset", "Recipe", "preset", "trainable"]
