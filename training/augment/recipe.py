"""Ranges of the random changes to training samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes made to the events of a training sample.

    All are drawn anew every time a sample is seen. Nothing mirrors a sample: a mirrored
    digit is no digit, and a mirrored swipe is another swipe.
    """

    shift_px: float = 0.0  #: shift in x and y, uniform in +- this
    rotate_deg: float = 0.0  #: rotation about the sensor's centre, uniform in +- this
    shear: float = 0.0  #: x += s * y, and y += s * x, s uniform in +- this
    scale: float = 0.0  #: scale of x and y each, uniform in 1 +- this
    elastic_px: float = 0.0  #: standard deviation of a smooth random displacement
    drop: float = 0.0  #: share of events dropped at random, uniform in 0..this
    time_scale: float = 0.0  #: times multiplied by exp(uniform in +- this)
    jitter_px: float = 0.0  #: normal noise on each event's position
    jitter_us: float = 0.0  #: normal noise on each event's time
    crop_us: int = 0  #: shortest time span kept when cutting a random one out; 0: never cut
    crop_share: float = 0.0  #: share of samples that are cut
