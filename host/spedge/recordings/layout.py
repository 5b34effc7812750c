"""Events in tables that do not say what their columns are: told by name, by value, or by the caller; never guessed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, UsageError
from spedge.events.arrays import EVENT_DTYPE, Columns
from spedge.events.times import UNIT_NAMES, UNITS, apparent_units, to_us

#: The orders that the field writes: text and v2e, MVSEC, Metavision.
ORDERS = ("txyp", "xytp", "xypt")
#: Rows that are looked at to tell columns and unit.
SAMPLE_ROWS = 4096

_NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "col", "column"),
    "y": ("y", "ys", "row"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on", "sign"),
}
#: What a column of such a name holds.
FIELDS = {name: field for field, names in _NAMES.items() for name in names}
_SECONDS = {"s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s"}
_UNITS = {**_SECONDS, "ms": "ms", "us": "us", "µs": "us", "usec": "us", "ns": "ns", "nsec": "ns"}
_WITH_UNIT = re.compile(rf"(\w+?)\s*[_ (\[]\s*({'|'.join(_UNITS)})[)\]]?")


@dataclass(frozen=True)
class Said:
    """What a caller says of a file that does not say it itself.

    columns: a letter a column, t, x, y, p, and - for one to pass over. time_unit: s, ms, us or ns. stream: which of
    several sources of events in one file. Raises UsageError for others.
    """

    columns: str | None = None
    time_unit: str | None = None
    stream: str | None = None

    def __post_init__(self) -> None:
        if self.columns is not None and sorted(self.columns.replace("-", "")) != sorted("txyp"):
            raise UsageError(
                f"columns={self.columns!r}: name each column by a letter, t, x, y and p once, as in 'txyp'; "
                "- is one to pass over"
            )
        if self.time_unit is not None and self.time_unit not in UNITS:
            raise UsageError(f"time_unit={self.time_unit!r} is unknown; use one of {', '.join(UNITS)}")

    def refuse(self, path: Path, *names: str) -> None:
        """Raise UsageError for what was said though the file says it itself."""
        for name in names:
            if getattr(self, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{path}: a file of this kind says that itself: leave {name} ({option}) out")


NOTHING = Said()


class Named(NamedTuple):
    """What names tell. fields: of each column t, x, y, p or '-'. unit: of the times, or None."""

    fields: str
    unit: str | None


def named(names: Sequence[str]) -> Named | None:
    """What columns of these names hold; None unless each of t, x, y and p is there once."""
    found, unit = "", None
    for name in names:
        plain = name.strip().strip("\"'").lower()
        match = _WITH_UNIT.fullmatch(plain)
        if match and FIELDS.get(match[1]) == "t":
            plain, unit = match[1], _UNITS[match[2]]
        found += FIELDS.get(plain, "-")
    return Named(found, unit) if sorted(found.replace("-", "")) == sorted("ptxy") else None


def check_count(path: Path, columns: str, count: int) -> None:
    """Raise InputError where a caller names more or fewer columns than there are."""
    if len(columns) != count:
        raise InputError(f"{path}: it has {count} columns, and columns={columns!r} is of another length")


def order_of(path: Path, rows: NDArray[np.float64]) -> str:
    """Which of ORDERS rows of four numbers are in, by what they hold. Raises InputError where that does not tell."""
    fits = [order for order in ORDERS if _fits(order, rows)]
    if len(fits) == 1:
        return fits[0]
    shown = " ".join(f"{value:.15g}" for value in rows[0]) if len(rows) else "missing"
    which = " or ".join(fits) if fits else "none of " + ", ".join(ORDERS)
    raise InputError(
        f"{path}: the columns have no names, and by their values (line 1 of them: {shown}) they may be {which}: "
        "say their order, columns='txyp' or the like (--columns txyp)"
    )


def _fits(order: str, rows: NDArray[np.float64]) -> bool:
    if len(rows) == 0 or rows.shape[1] != 4:
        return False
    t, x, y, p = (rows[:, order.index(name)] for name in Columns._fields)
    if not np.isin(p, (-1, 0, 1)).all() or any(_only_a_time(values) for values in (x, y)):
        return False
    others = [values for values in (x, y, p) if _sorted(values)]
    return _only_a_time(t) or (_sorted(t) and (len(t) > 1 or not others))


def _only_a_time(values: NDArray[np.float64]) -> bool:
    """Whether no pixel and no polarity is like these."""
    return bool((values != np.floor(values)).any() or values.max() > 65535 or values.min() < -1)


def _sorted(values: NDArray[np.float64]) -> bool:
    return bool((np.diff(values) >= 0).all())


def unit_of(path: Path, t: NDArray[Any], said: Said, written_as_fractions: bool | None = None) -> str:
    """The unit of these times, as said or as they seem to be. Raises InputError where they may be in two."""
    if said.time_unit is not None:
        return said.time_unit
    finite = t[np.isfinite(t)] if t.dtype.kind == "f" else t
    units = apparent_units(finite, written_as_fractions)
    if len(units) == 1:
        return units[0]
    which = " or ".join(UNIT_NAMES[unit] for unit in units)
    raise InputError(
        f"{path}: the times, from {t[0]} on (event 0), may be {which}: say it, time_unit={units[0]!r} "
        f"(--time-unit {units[0]})"
    )


def one_of(path: Path, names: Sequence[str], said: Said) -> str:
    """The one of several sources of events, named as paths are, that is meant; a part of its path is enough.

    Raises InputError where that is not one.
    """
    stream = said.stream
    chosen = [name for name in names if stream is None or stream.strip("/") == name.strip("/")]
    chosen = chosen or [name for name in names if stream in name.split("/")]
    if len(chosen) == 1:
        return chosen[0]
    which = f"stream={names[0]!r} (--stream {shlex.quote(names[0])})"
    raise InputError(f"{path}: events are in {', '.join(names)}: say which, {which}")


def polarity_of(path: Path, p: NDArray[Any]) -> str:
    """How the first polarities are written: '0/1', '-1/1', 'True/False'; empty where they do not tell.

    Raises InputError where three kinds of them are mixed.
    """
    if p.dtype.kind == "b":
        return "True/False"
    signs, zeros = bool((p < 0).any()), bool((p == 0).any())
    if signs and zeros:
        raise InputError(f"{path}: the polarities are -1, 0 and 1; leave the events of 0 out, or write 0 for -1")
    return "-1/1" if signs else "0/1" if zeros else ""


def described(order: str, unit: str, polarity: str) -> str:
    """For people: 't x y p, times in seconds, polarity 0/1'."""
    columns = " ".join(order.replace("-", ""))
    return f"{columns}, times in {UNIT_NAMES[unit]}{f', polarity {polarity}' if polarity else ''}"


def events_of(path: Path, raw: Columns, unit: str, start: int = 0) -> Iterator[NDArray[np.void]]:
    """Columns of any numbers as EVENT_DTYPE. The first event that is none raises InputError, behind those before it.

    unit: of the times. start: the number of the first event.
    """
    wrong = {name: mask for name, mask in zip(Columns._fields, _wrong(raw, unit), strict=True) if mask is not None}
    bad = min((int(np.argmax(mask)) for mask in wrong.values() if mask.any()), default=None)
    good = Columns(*(values[:bad] for values in raw))
    events = np.empty(len(good.t), EVENT_DTYPE)
    events["t"] = to_us(good.t, unit)
    events["x"], events["y"], events["p"] = good.x, good.y, good.p > 0
    if len(events):
        yield events
    if bad is not None:
        name = next(name for name, mask in wrong.items() if mask[bad])
        raise InputError(f"{path}: event {start + bad} has {_complaint(name, getattr(raw, name)[bad])}")


def _complaint(name: str, value: Any) -> str:
    if name == "t":
        return f"t={value}; it must be a number of at least 0 that fits in 64 bits as microseconds"
    ends = "-1 to 1" if name == "p" else "0 to 65535"
    return f"{name}={value}; it must be a whole number of {ends}"


def _wrong(raw: Columns, unit: str) -> tuple[NDArray[np.bool_] | None, ...]:
    """Of each column which entries cannot be; None: all can."""
    factor, divisor = UNITS[unit]
    end = min(1 << 64, (1 << 64) * divisor // factor)  # the first time that does not fit
    return (_outside(raw.t, 0, end, whole=False), *(_outside(v, 0, 1 << 16) for v in raw[1:3]), _outside(raw.p, -1, 2))


def _outside(values: NDArray[Any], low: int, end: int, whole: bool = True) -> NDArray[np.bool_] | None:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b" or (kind == "u" and low <= 0 and end >= 1 << 8 * size):
        return None
    if kind in "iu":
        limits = np.iinfo(values.dtype)
        return (values < max(low, limits.min)) | (values > min(end - 1, limits.max))
    with np.errstate(invalid="ignore"):
        out = ~((values >= low) & (values < end))  # what is no number, too
        return out | (values != np.floor(values)) if whole else out
