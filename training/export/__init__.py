"""A trained model to a bundle."""

from .bundle import export, export_model

__all__ = ["export", "export_model"]
