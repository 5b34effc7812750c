"""Spiking Patches on the edge: tokens of event-camera streams, and models that run on devices with them."""

from importlib.metadata import version as _version
from pathlib import Path as _Path
from typing import Any as _Any

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
from spedge.device import open as _door
from spedge.device.open import Device
from spedge.events.arrays import EVENT_DTYPE, Columns, as_events
from spedge.recordings import Recording, open
from spedge.tokens.batch import tokenize_batch
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer, TokenizerStats, Tokens

__version__ = _version("spedge")


def _image_of(board: _Any, bundle: _Any) -> _Path:
    """For Device.open with a board's name: the one place that knows of devices and of building."""
    from spedge.boards.build import build

    return build(board, bundle).path


_door.image_of = _image_of

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
