"""Random changes to training samples."""

from .events import augment

__all__ = ["augment"]
