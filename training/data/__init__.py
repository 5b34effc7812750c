"""Data sets: labelled recordings in parts, and recordings with boxes."""

from typing import Any

from .base import Dataset, Description, Sample, pack_digests, unseen
from .opened import open

__all__ = [
    "ChunksWithBoxes",
    "Dataset",
    "Description",
    "LabelledEvents",
    "Sample",
    "TokenVolumes",
    "open",
    "pack_digests",
    "unseen",
]


def __getattr__(name: str) -> Any:
    """Those that need torch."""
    if name in ("ChunksWithBoxes", "LabelledEvents", "TokenVolumes"):
        from . import for_torch

        return getattr(for_torch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
