"""Where the events are in an HDF5 file: found by names and shapes, as many as there are of them.

Prophesee /CD/events; eTraM, DSEC, RVT, TUM-VIE /events/{x,y,t,p}; event_utils /events/{xs,ys,ts,ps}; MVSEC
/davis/left/events and /davis/right/events; v2e /events; M3ED /prophesee/left/{x,y,t,p}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spedge.base.errors import InputError
from spedge.recordings import layout
from spedge.recordings.layout import ORDERS, Said

_MOST_CHILDREN = 64  # of a group whose children are fields
_MOST_OBJECTS = 100_000
_SIDES = ("width", "height")
#: What h5py raises for damaged files.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


@dataclass(frozen=True)
class Place:
    """Events in a file. name: their group's or array's path. arrays: paths of one array, or one a column.

    fields: of the columns t, x, y, p or '-'; empty: a table whose columns have no names. unit: if the names tell.
    """

    name: str
    arrays: tuple[str, ...]
    fields: str
    unit: str | None


def find(path: Path, file: Any, said: Said) -> Place:
    """The events that are meant. Raises InputError when there are none, or several and none of them was chosen."""
    places = {place.name: place for place in _places(file, {4, len(said.columns or ORDERS[0])})}
    if not places:
        raise InputError(
            f"{path}: there is neither /CD/events nor /events with the fields t, x, y and p in it, nor are there other "
            "arrays of events"
        )
    return places[layout.one_of(path, list(places), said)]


def _places(file: Any, widths: set[int]) -> Iterator[Place]:
    """widths: columns that a table of events without names may have."""
    found: list[Place] = []
    tables: list[Place] = []  # of any name
    seen = 0

    def visit(name: str, thing: Any) -> bool | None:
        nonlocal seen
        seen += 1
        known = any(place.name == f"/{name}" for place in found + tables)
        place = None if known else _group(name, thing) if hasattr(thing, "keys") else _array(name, thing, widths)
        if place is not None:
            (found if place.fields or "event" in name.rpartition("/")[2].lower() else tables).append(place)
        return True if seen > _MOST_OBJECTS else None

    for name in ("", "CD/events", "events"):
        thing = file.get(name or "/")
        if thing is not None:
            visit(name, thing)
    try:
        file.visititems(visit)
    except DAMAGE:
        if not found:
            raise
    yield from found or tables


def _group(name: str, group: Any) -> Place | None:
    """A group of an array a field."""
    if len(group) > _MOST_CHILDREN:
        return None
    children = list(group)
    fields = layout.named(children)
    if fields is None:
        return None
    chosen = [(child, field) for child, field in zip(children, fields.fields, strict=True) if field != "-"]
    if not all(_is_numbers(group.get(child), 1) for child, _ in chosen):
        return None
    paths = tuple(f"{name}/{child}" for child, _ in chosen)
    return Place(f"/{name}", paths, "".join(field for _, field in chosen), fields.unit)


def _array(name: str, array: Any, widths: set[int]) -> Place | None:
    """One array, structured or with an event a row."""
    names = array.dtype.names
    if not hasattr(array, "shape"):  # a type with a name
        return None
    if names is not None:
        fields = layout.named(names)
        return Place(f"/{name}", (name,), fields.fields, fields.unit) if fields and array.ndim == 1 else None
    return Place(f"/{name}", (name,), "", None) if _is_numbers(array, 2) and array.shape[1] in widths else None


def _is_numbers(thing: Any, dimensions: int) -> bool:
    dtype = getattr(thing, "dtype", None)
    return dtype is not None and dtype.kind in "iufb" and thing.ndim == dimensions


def geometry(path: Path, file: Any, place: Place) -> tuple[int | None, int | None]:
    """The sensor's size, wherever the file keeps it. Raises InputError for one that makes no sense."""
    text = _text(file.attrs.get("geometry"))
    if text is not None:
        match = re.fullmatch(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*", text)
        if match and 0 < int(match[1]) <= 65535 and 0 < int(match[2]) <= 65535:
            return int(match[1]), int(match[2])
        raise InputError(f"{path}: the attribute geometry is {text[:40]!r}, not of the form WIDTHxHEIGHT")
    for thing in _around(file, place):
        for kept in (thing.attrs, thing if hasattr(thing, "keys") else {}):
            size = _size([kept.get(side) for side in _SIDES])
            if size is not None:
                return size
    sides = _numbers(file.attrs.get("sensor_resolution"))[:2]
    if len(sides) == 2 and sides[0] == sides[1]:  # else either may be the width: the field's programs differ
        return _size(sides) or (None, None)
    return None, None


def _around(file: Any, place: Place) -> Iterator[Any]:
    """The events' array or group, and what that is in."""
    name = place.name.strip("/")
    while name:
        yield file[name]
        name = name.rpartition("/")[0]
    yield file


def _size(values: list[Any]) -> tuple[int, int] | None:
    sides = [number for value in values for number in _numbers(value)]
    return (sides[0], sides[1]) if len(sides) == 2 and all(0 < side <= 65535 for side in sides) else None


def _numbers(value: Any) -> list[int]:
    """Whole numbers of an attribute or a small array; none where it holds others."""
    if value is None or hasattr(value, "keys") or getattr(value, "size", 1) > 8:
        return []
    flat = np.asarray(value[()] if hasattr(value, "attrs") and hasattr(value, "dtype") else value).ravel()
    texts = [_text(number) or "" for number in flat.tolist()]
    return [int(text) for text in texts] if all(text.isdigit() and len(text) < 6 for text in texts) else []


def _text(value: Any) -> str | None:
    if value is None:
        return None
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
