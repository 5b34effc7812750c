"""Times that other software keeps in other units than µs: what they seem to be in, and how to get to µs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Microseconds in a unit, as a fraction.
UNITS = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_ENOUGH = 32  # times that tell a habit from chance
_LATE_US = 1e17  # the year 5138 on the clock of Unix, in µs; in ns 1973
_LATE_S = 1e11  # likewise in seconds
_LONG_S = 1e5  # a day of events; who has fractions of seconds records for less


def seconds_of_digits(t: NDArray[Any]) -> bool:
    """Whether times that are written with more than three decimals are seconds: ms would be finer than cameras' clocks.

    Not if they are whole but for rounding, nor if they last too long.
    """
    return not _whole(t) and float(t.max()) < _LATE_S and float(t.max() - t.min()) < _LONG_S


def _whole(t: NDArray[Any]) -> bool:
    """Whether these are whole numbers, but for what a multiplication rounds."""
    if t.dtype.kind != "f" or len(t) == 0:
        return True
    return bool((np.abs(t - np.rint(t)) <= 2 * np.spacing(np.abs(t).max())).all())


def apparent_units(t: NDArray[Any], written_as_fractions: bool | None = None) -> tuple[str, ...]:
    """The units that these times may be in: one, where they or the field's habit tell; else more, the likelier first.

    t: real or whole numbers, finite, of any count. written_as_fractions: whether they are such that could have held
    fractions; by default, as the dtype says.
    """
    if written_as_fractions is None:
        written_as_fractions = t.dtype.kind == "f"
    if len(t) == 0:
        return ("us",)
    highest = float(t.max())
    fractions = not _whole(t)
    if not fractions and highest >= _LATE_US:
        return ("ns", "us")
    if not written_as_fractions:
        return ("us",)
    if not fractions:
        many = len(np.unique(t)) >= _ENOUGH or highest - float(t.min()) >= 1e4
        return ("us",) if many else ("us", "s")  # seconds of so many events would have fractions
    if highest >= _LATE_S:
        return ("ms", "us")
    if highest - float(t.min()) >= _LONG_S:
        return ("us", "ms", "s")
    thousandths = t.astype(np.float64) * 1000
    slack = np.spacing(np.abs(t).max()).astype(np.float64) * 1000 + 1e-7
    if np.all(np.abs(thousandths - np.rint(thousandths)) <= slack) and len(np.unique(t)) >= _ENOUGH:
        return ("s", "ms")  # whole µs in ms look like this, and seconds of a coarse clock
    return ("s",)


def conversion(t: NDArray[Any], name: str = "t") -> str:
    """What turns these times (of any real dtype) into the µs that spedge takes, as Python; for a sentence."""
    wide = f"{name}.astype(np.float64)" if t.dtype.itemsize < 8 else name
    low = t.min() if len(t) else 0
    if low < 0:
        wide = f"({wide} - {name}.min())"
    expressions = {
        "s": f"({wide} * 1e6).round().astype(np.uint64)",
        "ms": f"({wide} * 1e3).round().astype(np.uint64)",
        "us": f"{wide}.round().astype(np.uint64)",
        "ns": f"({wide} / 1e3).round().astype(np.uint64)",
    }
    ways = [(UNIT_NAMES[unit], expressions[unit]) for unit in apparent_units(t)]
    if len(ways) == 1:
        return f"these look like {ways[0][0]}; {ways[0][1]} gives microseconds"
    return "give microseconds, " + " or ".join(f"{expression} if they are {unit}" for unit, expression in ways)


def to_us(t: NDArray[Any], unit: str) -> NDArray[np.uint64]:
    """Times of a unit in whole µs; a half is rounded up.

    t: finite and not negative; real, or whole numbers. Raises OverflowError where µs do not fit in 64 bits.
    """
    factor, divisor = UNITS[unit]
    if t.dtype.kind in "iu":
        whole = t.astype(np.uint64)
        if divisor > 1:
            return whole // np.uint64(divisor) + (whole % np.uint64(divisor) >= np.uint64(divisor // 2))
        if len(whole) and int(whole.max()) * factor >= 1 << 64:
            raise OverflowError
        return whole * np.uint64(factor)
    real = t.astype(np.float64) * factor / divisor + 0.5
    if len(real) and real.max() >= 2.0**64:
        raise OverflowError
    return np.floor(real).astype(np.uint64)
