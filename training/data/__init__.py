"""Data sets: labelled recordings in parts."""

from .base import Dataset, Sample, pack_digests, unseen

__all__ = ["Dataset", "Sample", "pack_digests", "unseen"]
