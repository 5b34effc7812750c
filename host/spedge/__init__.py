"""Spiking Patches on the edge: tokens of event-camera streams, and models that run on devices with them.

Names are loaded when they are asked for: importing this loads nothing, so that the program can settle what Ctrl-C means
before anything that takes time (`spedge.program`).
"""

from __future__ import annotations

from spedge.base import assembly as _assembly

TYPE_CHECKING = False  # typing's, for which typing would have to be loaded
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from spedge import decoders, embedding, evt2
    from spedge.base.errors import (
        CheckFailed,
        DeviceError,
        DeviceGone,
        DeviceRefused,
        DeviceTimeout,
        InputError,
        SpedgeError,
        UsageError,
    )
    from spedge.device.open import Device
    from spedge.events.arrays import EVENT_DTYPE, Columns, as_events
    from spedge.recordings import Recording, open
    from spedge.tokens.batch import tokenize_batch
    from spedge.tokens.settings import TokenizerSettings
    from spedge.tokens.tokenizer import Tokenizer, TokenizerStats, Tokens

    __version__: str

__all__ = [
    "EVENT_DTYPE",
    "CheckFailed",
    "Columns",
    "Device",
    "DeviceError",
    "DeviceGone",
    "DeviceRefused",
    "DeviceTimeout",
    "InputError",
    "Recording",
    "SpedgeError",
    "Tokenizer",
    "TokenizerSettings",
    "TokenizerStats",
    "Tokens",
    "UsageError",
    "__version__",
    "as_events",
    "decoders",
    "embedding",
    "evt2",
    "open",
    "tokenize_batch",
]

#: Where the names are that are no modules.
_HOMES = {
    "spedge.base.errors": (
        "CheckFailed",
        "DeviceError",
        "DeviceGone",
        "DeviceRefused",
        "DeviceTimeout",
        "InputError",
        "SpedgeError",
        "UsageError",
    ),
    "spedge.device": ("Device",),
    "spedge.events": ("EVENT_DTYPE", "Columns", "as_events"),
    "spedge.recordings": ("Recording", "open"),
    "spedge.tokens.batch": ("tokenize_batch",),
    "spedge.tokens.settings": ("TokenizerSettings",),
    "spedge.tokens.tokenizer": ("Tokenizer", "TokenizerStats", "Tokens"),
}


def _image_of(board: str, bundle: Any) -> Path:
    """For Device.open with a board's name: the one place that knows of devices and of building."""
    from spedge.boards.build import build
    from spedge.boards.manifest import load_board

    return build(load_board(board), bundle).path


_assembly.image_of = _image_of

if not TYPE_CHECKING:  # a checker knows all names, and would take any for one otherwise

    def __getattr__(name):
        value = _load(name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})


def _load(name: str) -> object:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("spedge")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    missing = AttributeError(f"module 'spedge' has no attribute {name!r}")
    if name.startswith("_"):
        raise missing
    try:
        return importlib.import_module(f"spedge.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"spedge.{name}":
            raise
        raise missing from None
