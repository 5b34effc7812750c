"""Spiking Patches on the edge: tokens of event-camera streams, and models that run on devices with them."""

from importlib.metadata import version as _version

from spedge import decoders, embedding, evt2
from spedge.base.errors import CheckFailed, DeviceError, InputError, SpedgeError, UsageError
from spedge.device.client import Device
from spedge.events.arrays import EVENT_DTYPE, Columns, as_events
from spedge.recordings import Recording, open
from spedge.tokens.batch import tokenize_batch
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer, TokenizerStats, Tokens

__version__ = _version("spedge")

__all__ = [
    "EVENT_DTYPE",
    "CheckFailed",
    "Columns",
    "Device",
    "DeviceError",
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
