"""Colours and layout of moving pictures, the page's and those of files: 256 colours, so that a frame is a byte a pixel.

A picture is made of numbers of colours; what they look like, a theme says. The page gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError

#: Shades of events and of tokens, the oldest first. Numbers of colours: an event that has gone is 0, the panel.
SHADES = 60
PANEL, OFF, ON, TOKEN = 0, 1, 1 + SHADES, 1 + 2 * SHADES
#: Each line's colour four times, from a quarter of it over the page to all of it: what edges of lines and letters need.
STEPS, LINES = 4, 12
LINE = TOKEN + SHADES
INK, FAINT = LINE + STEPS * LINES, LINE + STEPS * LINES + STEPS
PAGE = FAINT + STEPS
EDGE, GOOD, BAD = PAGE + 1, PAGE + 2, PAGE + 2 + STEPS

#: Pixels of a picture: around it, its header, a caption, between panels, the strip of rates, a class's row.
MARGIN, HEADER, CAPTION, GAP, RATES, ROW = 16, 30, 20, 16, 40, 16

_Colour = tuple[int, int, int]
_SPOKEN: dict[str, dict[str, Any]] = {
    "dark": {
        "panel": "#0b0e13", "page": "#141820", "ink": "#e8ebf0", "faint": "#8b93a1", "edge": "#2b323d",
        "off": ("#14324d", "#4fb0ff"), "on": ("#4a2f12", "#ffc46b"),
        "token": ("#2c2a5a", "#2b7f8c", "#7ad151", "#fde725"), "good": "#4cc38a", "bad": "#ff6b6b",
        "lines": (
            "#56b4e9", "#e69f00", "#3ecf8e", "#e58fc0", "#ff7b54", "#f0e442", "#9d8cff", "#c7a36b", "#a0a7b4",
            "#7fe0d0", "#ff5c7a", "#8fc1ff",
        ),
    },
    "light": {
        "panel": "#ffffff", "page": "#f6f7f9", "ink": "#1d222b", "faint": "#687180", "edge": "#d5dae1",
        "off": ("#dbe9f8", "#0a55a8"), "on": ("#fbe6cf", "#b84a00"),
        "token": ("#dcefc4", "#63c08a", "#23818e", "#3b1d6e"), "good": "#13804e", "bad": "#c22f2f",
        "lines": (
            "#0072b2", "#b06a00", "#00805c", "#b0508a", "#c44200", "#7b6d00", "#6a3fc0", "#8c6d31", "#525252",
            "#0b8a80", "#c2173c", "#3f7fc0",
        ),
    },
}  # fmt: skip
THEMES = tuple(_SPOKEN)


def colours(theme: str) -> NDArray[np.uint8]:
    """What the numbers look like: uint8 [256, 3], red, green, blue. Raises UsageError for an unknown theme."""
    if theme not in _SPOKEN:
        raise UsageError(f"there is no theme {theme!r}: use {' or '.join(THEMES)}")
    said = _SPOKEN[theme]
    page = said["page"]
    table = np.zeros((256, 3), np.uint8)
    table[PANEL] = _rgb(said["panel"])
    for first, name in ((OFF, "off"), (ON, "on"), (TOKEN, "token")):
        table[first : first + SHADES] = _ramp(said[name], SHADES)
    for number, line in enumerate(said["lines"]):
        table[LINE + STEPS * number : LINE + STEPS * (number + 1)] = _over(page, line)
    for first, name in ((INK, "ink"), (FAINT, "faint"), (GOOD, "good"), (BAD, "bad")):
        table[first : first + STEPS] = _over(page, said[name])
    table[PAGE], table[EDGE] = _rgb(page), _rgb(said["edge"])
    return table


def spoken(theme: str) -> dict[str, str]:
    """Colours for a style sheet, "#rrggbb" by their names; those of lines are line-0, line-1, …"""
    said = _SPOKEN[theme]
    one = {name: colour for name, colour in said.items() if isinstance(colour, str)}
    return one | {f"line-{number}": colour for number, colour in enumerate(said["lines"])}


def line_of(number: int) -> int:
    """The first of a class's colours; `STEPS - 1` further is the whole one."""
    return LINE + STEPS * (number % LINES)


def described() -> dict[str, Any]:
    """What the page is told: each theme's 256 colours as hexadecimal digits, and the numbers' meaning."""
    return {
        "themes": {theme: colours(theme).tobytes().hex() for theme in THEMES},
        "shades": SHADES, "steps": STEPS, "lines": LINES, "panel": PANEL, "off": OFF, "on": ON, "token": TOKEN,
        "line": LINE, "ink": INK, "faint": FAINT, "page": PAGE, "edge": EDGE, "good": GOOD, "bad": BAD,
    }  # fmt: skip


def _rgb(text: str) -> _Colour:
    value = int(text[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255


def _ramp(stops: Sequence[str], count: int) -> NDArray[np.uint8]:
    known = np.array([_rgb(stop) for stop in stops], np.float64)
    at = np.linspace(0, len(stops) - 1, count)
    return np.column_stack([np.interp(at, range(len(stops)), known[:, i]) for i in range(3)]).round().astype(np.uint8)


def _over(page: str, colour: str) -> NDArray[np.uint8]:
    return _ramp((page, colour), STEPS + 1)[1:]
