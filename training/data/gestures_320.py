"""`gestures-320`: the gestures as a sensor of 320x320 pixels sees them, the size of the GENX320. numpy only.

The same scenes, in two and a half times as many pixels along each side. Its pixels are given a higher contrast
threshold, as one has to on a microcontroller that is to keep up; noise is as many events of the whole sensor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import gestures
from .base import Dataset
from .dvs import PixelConfig

CAMERA = gestures.Camera("gestures-320", 320, PixelConfig(threshold=0.4, mismatch=0.05, noise_hz=0.16))
DESCRIPTION = CAMERA.description
ABOUT = gestures.ABOUT


def read(data: str | os.PathLike[str] | None, parts: Sequence[str]) -> Dataset:
    """The data set from a folder, or made."""
    return gestures.read(data, parts, CAMERA)
