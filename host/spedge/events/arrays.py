"""Event arrays: one dtype inside spedge, and what other software's arrays become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge._events import EVENT_DTYPE, check_order
from spedge.base.errors import InputError
from spedge.events.times import conversion

__all__ = [
    "EVENT_DTYPE",
    "Columns",
    "UnsortedError",
    "as_events",
    "as_records",
    "check_events",
    "columns",
    "concatenate",
    "copied",
    "cropped",
    "empty_events",
    "fields",
    "since",
]


class Columns(NamedTuple):
    """The fields of n events; views of the caller's array where its dtype allows.

    As returned by columns(): t: uint64 or int64 (not negative), µs; x, y: uint16 or int16 (not negative), pixels;
    p: uint8 or bool, 0 or 1.
    """

    t: NDArray[Any]
    x: NDArray[Any]
    y: NDArray[Any]
    p: NDArray[Any]


_NONE = Columns(*(np.empty(0, dtype) for dtype in (np.uint64, np.uint16, np.uint16, np.uint8)))


def empty_events(n: int = 0) -> NDArray[np.void]:
    """n events of zeros."""
    return np.zeros(n, EVENT_DTYPE)


def concatenate(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """EVENT_DTYPE arrays one after the other; as np.concatenate, which copies each field of each event by itself."""
    if not parts:
        return empty_events()
    whole = np.dtype((np.void, EVENT_DTYPE.itemsize))
    return np.concatenate([part.view(whole) for part in parts]).view(EVENT_DTYPE)


def copied(events: NDArray[np.void]) -> NDArray[np.void]:
    """A copy of an EVENT_DTYPE array, whole events at a time."""
    return concatenate([events])


def cropped(events: NDArray[Any], left: int, top: int, width: int, height: int, bin: int = 1) -> NDArray[Any]:
    """The events from pixel (left, top) on, as a sensor of width x height there would have given them. A copy.

    bin: pixels along a side of one of that sensor's. left, top: may be negative.
    """
    x, y = ((events[axis].astype(np.int32) - first) // bin for axis, first in (("x", left), ("y", top)))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    out = events[inside]
    out["x"], out["y"] = x[inside], y[inside]
    return out


def since(events: NDArray[Any], base: int) -> NDArray[Any]:
    """The events with times counted from base on, µs; the array itself if that is 0."""
    if base:
        events = events.copy()
        events["t"] -= np.uint64(base)
    return events


def columns(events: NDArray[Any] | Columns) -> Columns:
    """Take the fields of any structured array apart and check their values.

    events: one-dimensional structured array with the integer fields t, x, y and p (or on), or Columns of any integer
    dtypes; p is 0/1, bool or -1/+1.
    Raises InputError naming the field and the first wrong event.
    """
    t, x, y, p = fields(events)
    return Columns(
        _whole_numbers("t", t, np.uint64),
        _whole_numbers("x", x, np.uint16),
        _whole_numbers("y", y, np.uint16),
        _polarities("p" if isinstance(events, Columns) or "p" in (events.dtype.names or ()) else "on", p),
    )


def fields(events: NDArray[Any] | Columns) -> Columns:
    """Views of the four fields as they are. Raises InputError when there are others, or of different lengths."""
    c = Columns(*map(np.asarray, events)) if isinstance(events, Columns) else _structured(events)
    if any(v.ndim != 1 or len(v) != len(c.t) for v in c):
        shapes = ", ".join(f"{name} {v.shape}" for name, v in zip(c._fields, c, strict=True))
        raise InputError(f"columns must be one-dimensional and of one length, not {shapes}")
    return c if len(c.t) else _NONE  # numpy makes float64 of an empty list


def _structured(events: NDArray[Any]) -> Columns:
    names = getattr(getattr(events, "dtype", None), "names", None)
    if names is None:
        raise InputError(
            f"events must be a structured numpy array with the fields t, x, y and p (or on), not {_describe(events)}"
        )
    if isinstance(events, np.ma.MaskedArray):
        kept = "events.data[[not any(mask) for mask in np.ma.getmaskarray(events).tolist()]]"
        raise InputError(
            f"events are a masked array, and it is not plain what those masked are: leave them out, {kept}"
        )
    if events.ndim != 1:
        raise InputError(f"events must be one-dimensional, not of shape {events.shape}")
    polarity = "p" if "p" in names else "on"
    missing = [name for name in ("t", "x", "y") if name not in names]
    if polarity not in names:
        missing.append("p (or on)")
    if missing:
        raise InputError(f"events lack the field {', '.join(missing)}; they have {', '.join(names)}")
    return Columns(events["t"], events["x"], events["y"], events[polarity])


def _describe(thing: object) -> str:
    dtype = getattr(thing, "dtype", None)
    return f"an array of {dtype}" if dtype is not None else type(thing).__name__


def _whole_numbers(name: str, values: NDArray[Any], wanted: type[np.unsignedinteger]) -> NDArray[Any]:
    """Values as they are if they have the wanted size, else converted; never changed silently."""
    dtype = values.dtype
    if dtype.kind not in "iu":
        raise InputError(_not_whole(name, values))
    if dtype.kind == "i" and len(values) and values.min() < 0:
        at = int(np.argmax(values < 0))
        hint = ": count from the earliest, t.astype(np.int64) - t.min()" if name == "t" else ""
        raise InputError(f"event {at}: {name}={values[at]} is negative{hint}")
    size = np.dtype(wanted).itemsize
    if dtype.itemsize == size and dtype.isnative:
        return values
    if dtype.itemsize > size and len(values) and values.max() > np.iinfo(wanted).max:
        at = int(np.argmax(values > np.iinfo(wanted).max))
        raise InputError(f"event {at}: {name}={values[at]} is more than {np.iinfo(wanted).max}")
    return values.astype(wanted)


def _not_whole(name: str, values: NDArray[Any]) -> str:
    """What is wrong with a field that does not hold whole numbers, and a way to mend it that loses nothing."""
    kind = values.dtype.kind
    wrong = f"field {name} must hold whole numbers, not {values.dtype}"
    if kind == "O":
        return f"{wrong}: np.array({name}.tolist()) finds the numbers' own type"
    if kind in "mM" and name == "t":
        return f"{wrong}: count microseconds, (t - t.min()) // np.timedelta64(1, 'us')"
    if kind != "f":
        return wrong
    odd = ~np.isfinite(values)
    if odd.any():
        at = int(np.argmax(odd))
        hint = f"leave such events out, events[np.isfinite(events['{name}'])]"
        return f"{wrong}: event {at} has {name}={values[at]}; {hint}"
    if name == "t":
        return f"{wrong}: {conversion(values)}"
    fractions = values != np.floor(values)
    if not fractions.any():
        return f"{wrong}: these are whole, so {name}.astype(np.int64) keeps them"
    at = int(np.argmax(fractions))
    sides = "widths" if name == "x" else "heights"
    if values.min() >= 0 and values.max() <= 1:
        return (
            f"{wrong}: event {at} has {name}={values[at]}, and all are from 0 to 1, like parts of {sides}: "
            "give pixels, by the way in which they were divided"
        )
    return (
        f"{wrong}: event {at} has {name}={values[at]}, between two pixels: {name}.round().astype(np.int64) takes the "
        "nearest; leave out what is then outside the sensor"
    )


def _polarities(name: str, values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype.kind
    if kind == "b":
        return values
    if kind not in "iu":
        real = kind == "f" and bool(np.isin(values, (-1, 0, 1)).all())
        hint = f": {name} > 0 says the same" if real else ""
        raise InputError(f"field {name} must be 0/1, -1/+1 or bool, not {values.dtype}{hint}")
    if len(values) == 0:
        return values.astype(np.uint8)
    high = values.max()
    low = values.min() if kind == "i" else 0
    if high > 1 or low < -1:
        at = int(np.argmax((values > 1) | (values < -1)))
        raise InputError(f"event {at}: {name}={values[at]} is no polarity; it must be 0/1, -1/+1 or bool")
    if low < 0 or values.dtype.itemsize > 1:
        return values > 0
    return values


class UnsortedError(InputError):
    """An event is older than the one before it. where: which, without what to do about it."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(
            f"{where}: sort the events by time (events[np.argsort(events['t'], kind='stable')], or push with "
            "sort=True), or reset() before another recording"
        )


def check_events(
    c: Columns, width: int | None = None, height: int | None = None, last_t: int = 0, start: int = 0
) -> None:
    """Check that events are sorted by time, from last_t (µs) on, and inside the sensor (pixels; None: any).

    start: number of the first event, for the message. Raises InputError naming the first wrong event, UnsortedError if
    that is one of order.
    """
    at = first_wrong(c, width, height, last_t)
    if at is None:
        return
    before = int(c.t[at - 1]) if at else last_t
    if int(c.t[at]) < before:
        where = f"event {start + at} is at t={c.t[at]} µs, before the event ahead of it at t={before} µs"
        raise UnsortedError(where + _wrapped(before, int(c.t[at])))
    raise InputError(
        f"event {start + at} at pixel ({c.x[at]}, {c.y[at]}) is outside the {width}x{height} sensor: "
        "give the width and height of the camera that recorded it"
    )


def _wrapped(before: int, now: int) -> str:
    """What to say of a step back that a clock makes which begins anew: sorting would mix its rounds."""
    for bits in (24, 31, 32):
        margin = 1 << (bits - 6)
        if (1 << bits) - margin <= before < 1 << bits and now < margin:
            return f", as where a clock of {bits} bits wrapped (then add 2**{bits} to the times from there on)"
    return ""


def first_wrong(c: Columns, width: int | None = None, height: int | None = None, last_t: int = 0) -> int | None:
    """The first event that is older than the one before it, or outside the sensor."""
    right, bottom = (1 << 16 if size is None else size for size in (width, height))
    at = check_order(c.t, c.x, c.y, last_t, right, bottom)
    return None if at < 0 else int(at)


def check_pixels(c: Columns, width: int, height: int, start: int = 0) -> None:
    """The part of check_events that sorting by time leaves to be done."""
    check_events(c._replace(t=np.zeros(len(c.t), np.uint64)), width, height, start=start)


def as_events(events: NDArray[Any], width: int | None = None, height: int | None = None) -> NDArray[np.void]:
    """Any structured array as a contiguous EVENT_DTYPE array, checked: sorted by time and inside the sensor.

    The array itself is returned where nothing needs converting. Raises InputError (see columns, check_events).
    """
    c = columns(events)
    check_events(c, width, height)
    if events.dtype == EVENT_DTYPE and events.flags.c_contiguous:
        return events
    return as_records(c)


def as_records(c: Columns) -> NDArray[np.void]:
    """The events of these columns, checked before, as an EVENT_DTYPE array."""
    out = np.empty(len(c.t), EVENT_DTYPE)
    for name, values in zip(Columns._fields, c, strict=True):
        out[name] = values
    return out
