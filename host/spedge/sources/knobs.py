"""A USB camera's knobs: biases, region of interest, rate limit, as fields of the driver's configuration.

The driver has a class of configuration for each camera; which knobs a camera has is which fields that class has.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError

#: What is said of the options.
FORM = "roi=WxH+X+Y,rate=EVENTS_PER_SECOND,bias_NAME=N,biases=FILE.bias"
_REGION = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})")
_BIAS_LINE = re.compile(r"\s*(-?\d{1,6})\s*(?:%\s*(?:bias_)?(\w+).*)?")
_PERIOD_US = 1000  # in which the sensor counts for its rate limit
_LONGEST_FILE = 1 << 16


@dataclass(frozen=True)
class Region:
    """Pixels from (x, y) on, of the image: rows count from the top."""

    width: int
    height: int
    x: int
    y: int


@dataclass
class Knobs:
    """What is to be other than the driver's defaults. rate: at most, in events per second. biases: by the driver's."""

    region: Region | None = None
    rate: int | None = None
    biases: dict[str, int] = field(default_factory=dict)

    @classmethod
    def taken(cls, options: dict[str, str]) -> Knobs:
        """Out of a source's options. Raises UsageError for one that cannot be, InputError for a file of biases."""
        knobs = cls()
        file = options.pop("biases", None)
        if file is not None:
            knobs.biases |= read_biases(Path(file))
        for name in [name for name in options if name.startswith("bias_")]:
            knobs.biases[name.removeprefix("bias_")] = _whole(name, options.pop(name))
        if (region := options.pop("roi", None)) is not None:
            match = _REGION.fullmatch(region)
            if not match or not int(match[1]) or not int(match[2]):
                raise UsageError(f"roi={region} is no region: give its size and its corner, as in roi=320x240+480+240")
            knobs.region = Region(*map(int, match.groups()))
        if (rate := options.pop("rate", None)) is not None:
            knobs.rate = _whole("rate", rate)
            if knobs.rate < 1_000_000 // _PERIOD_US:
                raise UsageError(f"rate={rate} is too low: the sensor counts {1_000_000 // _PERIOD_US} times a second")
        return knobs


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name}={text} is no whole number") from None


def read_biases(path: Path) -> dict[str, int]:
    """Prophesee's .bias files: a value, `%` and its name on each line."""
    try:
        text = path.read_bytes()[: _LONGEST_FILE + 1].decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: it is no text, and so no .bias file") from None
    biases: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("%"):
            continue
        match = _BIAS_LINE.fullmatch(line)
        if not match or not match[2]:
            raise InputError(f"{path}: line {number} is no value and name, as in '299 % bias_fo'")
        if match[2] in biases:
            raise InputError(f"{path}: line {number} is the second with bias_{match[2]}")
        biases[match[2]] = int(match[1])
    if not biases:
        raise InputError(f"{path}: there is no bias in it")
    return biases


# ---------------------------------------------------------------- the driver's classes


def configured(name: str, model: Any, knobs: Knobs) -> Any:
    """A configuration of the camera, of its module of the driver. Raises UsageError for a knob that it has not."""
    configuration = model.Configuration()
    if knobs.biases:
        configuration.biases = _biases(name, model, knobs.biases)
    if knobs.region is not None:
        _set_region(name, model, configuration, knobs.region)
    if knobs.rate is not None:
        if not hasattr(configuration, "rate_limiter"):
            raise UsageError(f"the camera {name} has no rate limit")
        most = knobs.rate * _PERIOD_US // 1_000_000
        limiter = model.RateLimiter(reference_period_us=_PERIOD_US, maximum_events_per_period=most)
        configuration.rate_limiter = limiter
    return configuration


def _biases(name: str, model: Any, wanted: dict[str, int]) -> Any:
    biases = model.Biases()
    known = {entry.name: entry for entry in dataclasses.fields(biases)}
    types = typing.get_type_hints(type(biases))
    for bias, value in wanted.items():
        if bias not in known:
            raise UsageError(f"the camera {name} has no bias_{bias}; it has {', '.join(f'bias_{b}' for b in known)}")
        low, high = _range(types[bias])
        if not low <= value <= high:
            raise UsageError(f"bias_{bias}={value} is out of range for the camera {name}; it must be {low} to {high}")
        setattr(biases, bias, bool(value) if types[bias] is bool else value)
    return biases


def _range(kind: Any) -> tuple[int, int]:
    """Of a driver's type: bool, or a union of numpy's integer and int."""
    integer = next((part for part in typing.get_args(kind) if part is not int), None)
    if integer is None:
        return 0, 1
    limits = np.iinfo(integer)
    return int(limits.min), int(limits.max)


def _set_region(name: str, model: Any, configuration: Any, region: Region) -> None:
    sensor = model.Properties()
    width, height = int(sensor.width), int(sensor.height)
    if region.x + region.width > width or region.y + region.height > height:
        raise UsageError(
            f"roi={region.width}x{region.height}+{region.x}+{region.y} reaches outside of the camera {name}, "
            f"{width}x{height}"
        )
    if hasattr(configuration, "region_of_interest"):
        configuration.region_of_interest = model.RegionOfInterest(
            left=region.x, top=region.y, width=region.width, height=region.height
        )
    elif hasattr(configuration, "x_mask"):
        columns, rows = np.ones(width, np.bool_), np.ones(height, np.bool_)
        columns[region.x : region.x + region.width] = False
        rows[region.y : region.y + region.height] = False
        configuration.x_mask = _mask(columns, len(configuration.x_mask))
        configuration.y_mask = _mask(rows[::-1], len(configuration.y_mask))  # the sensor's rows count from below
        configuration.mask_intersection_only = False
    else:
        raise UsageError(f"the camera {name} has no region of its own: --crop looks at a part of it")


def _mask(off: NDArray[np.bool_], words: int) -> tuple[int, ...]:
    """Bits of 64-bit words, 1 where nothing is to be sent."""
    out = np.zeros(64 * words, np.bool_)
    out[: len(off)] = off
    return tuple(np.packbits(out, bitorder="little").view("<u8").tolist())
