"""Data sets: labelled recordings in parts."""

from .base import Dataset, Description, Sample, pack_digests, unseen

__all__ = ["Dataset", "Description", "Sample", "pack_digests", "unseen"]
