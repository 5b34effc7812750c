"""Random changes to training samples."""

from .events import augment
from .recipe import Augmentation

__all__ = ["Augmentation", "augment"]
