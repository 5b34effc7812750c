"""Presets by name: ours, and the paper's."""

from spedge.base.errors import UsageError

from . import paper, pico
from .base import SIZES, PaperRecipe, Preset, Recipe

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*pico.PRESETS, *paper.PRESETS)}


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"There is no preset '{name}'. Choose one of: {', '.join(PRESETS)}.") from None


def trainable(name: str | Preset) -> tuple[Preset, Recipe]:
    """A preset that can be trained here, and its recipe. Raises UsageError for another, naming those that can."""
    chosen = preset(name) if isinstance(name, str) else name
    if isinstance(chosen.recipe, Recipe):
        return chosen, chosen.recipe
    ours = ", ".join(p.name for p in PRESETS.values() if isinstance(p.recipe, Recipe))
    raise UsageError(
        f"The preset '{chosen.name}' is the paper's and cannot be trained here yet. Choose one of: {ours}."
    )


__all__ = ["PRESETS", "SIZES", "PaperRecipe", "Preset", "Recipe", "preset", "trainable"]
