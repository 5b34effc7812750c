"""A report as one HTML file: readable anywhere, in dark and light, on paper, without scripts and without a network.

Only what it is drawn with is here: the page, tables, bars, curves, matrices. What reports say is in `reports`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.view.palette import LINES, spoken

_POINTS = 400  # of a curve; more than a picture has pixels for
_WIDE, _HIGH = 640, 150  # of a chart, in units of its own; it is as wide as the page
_STYLE = Path(__file__).with_name("report.css")
_OWN = "--"  # before names of our own in style sheets
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # nothing is loaded from elsewhere


@dataclass(frozen=True)
class Markup:
    """HTML that is put in as it stands; everything else is a text, and escaped."""

    html: str


def page(title: str, passed: bool | None, summary: str, parts: Iterable[tuple[str, Markup]]) -> str:
    """A whole document. passed: the verdict beside the title, None for none. parts: a heading and what is below it."""
    verdict = "" if passed is None else _verdict(passed)
    sections = "".join(f"<section><h2>{escape(name)}</h2>{part.html}</section>\n" for name, part in parts)
    return (
        f'{_HEAD}<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_colours()}{_STYLE.read_text()}</style></head><body>\n"
        f"<header><h1>{escape(title)}</h1>{verdict}</header>\n<p>{escape(summary)}</p>\n{sections}</body></html>\n"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[str] = ()) -> Markup:
    """numbers: the columns that are right-aligned. A cell is a text, or True or False for a verdict."""
    right = [' class="number"' if name in numbers else "" for name in columns]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(columns, right, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, right, strict=True)) + "</tr>\n"
        for row in rows
    )
    return Markup(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>')


def pairs(values: Mapping[str, Any]) -> Markup:
    """Names and values."""
    return table(("", " "), [(name, value) for name, value in values.items() if value is not None])


def stacked(parts: Mapping[str, Sequence[float]], names: Sequence[str], unit: str) -> Markup:
    """A bar for each name, of parts that add up; each part has a value for each name."""
    most = max((sum(values) for values in zip(*parts.values(), strict=True)), default=0) or 1
    row, label = 20, 170
    drawn = []
    for number, name in enumerate(names):
        x = float(label)
        drawn.append(f'<text x="0" y="{row * number + 14}">{escape(_short(name))}</text>')
        for colour, values in enumerate(parts.values()):
            width = (_WIDE - label) * values[number] / most
            drawn.append(f'<rect x="{x:.1f}" y="{row * number + 3}" width="{width:.1f}" height="13" {_fill(colour)}/>')
            x += width
    key = _key([f"{part} ({unit})" for part in parts])
    return Markup(f"{_svg(_WIDE, row * max(1, len(names)), ''.join(drawn), 'costs')}{key.html}")


def curves(
    t: NDArray[Any], values: NDArray[Any], names: Sequence[str], unit: str = "s", low: float | None = None
) -> Markup:
    """Lines over time. t: [n], ascending. values: [n, names]. low: the axis' lower end, None: the least value."""
    step = max(1, -(-len(t) // _POINTS))
    t, values = np.append(t[:-1:step], t[-1:]), np.concatenate([values[:-1:step], values[-1:]])
    bottom = float(values.min()) if low is None else low
    top = max(float(values.max()), bottom + 1e-9)
    left, under = 56, 16
    x = left + (_WIDE - left - 4) * (t - t[0]) / max(float(t[-1] - t[0]), 1e-9)
    y = 6 + (_HIGH - under - 8) * (1 - (values - bottom) / (top - bottom))
    lines = []
    for number, column in enumerate(y.T):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, column, strict=True))
        lines.append(f'<polyline fill="none" {_stroke(number)} points="{points}"/>')
    axes = (
        f'<rect x="{left}" y="6" width="{_WIDE - left - 4}" height="{_HIGH - under - 8}" fill="none" '
        f'stroke="{_var("edge")}"/>'
        f'<text x="{left - 4}" y="15" text-anchor="end">{_number(top)}</text>'
        f'<text x="{left - 4}" y="{_HIGH - under}" text-anchor="end">{_number(bottom)}</text>'
        f'<text x="{left}" y="{_HIGH - 3}">{t[0]:.3g} {unit}</text>'
        f'<text x="{_WIDE - 4}" y="{_HIGH - 3}" text-anchor="end">{t[-1]:.3g} {unit}</text>'
    )
    return Markup(_svg(_WIDE, _HIGH, axes + "".join(lines), "over time") + (_key(names).html if len(names) > 1 else ""))


def grid(counts: NDArray[np.int64]) -> Markup:
    """A square for each patch, int64 [rows, columns], the stronger the more."""
    rows, columns = counts.shape
    most = max(int(counts.max(initial=0)), 1)
    strong = 0.15 + 0.85 * counts / most
    squares = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" {_fill(0)} fill-opacity="{strong[y, x]:.2f}"/>'
        for y, x in zip(*np.nonzero(counts), strict=True)
    )
    frame = (
        f'<rect width="{columns}" height="{rows}" fill="{_var("panel")}" stroke="{_var("edge")}" stroke-width="0.1"/>'
    )
    return Markup(_svg(columns, rows, frame + squares, "tokens of each patch"))


def matrix(counts: NDArray[np.int64], labels: Sequence[str]) -> Markup:
    """A confusion matrix: a row for each class, shaded by the share of it that was taken for each column's class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f'<th title="{escape(label)}">{number}</th>' for number, label in enumerate(labels))
    rows = []
    for number, label in enumerate(labels):
        cells = "".join(
            f'<td style="background:color-mix(in srgb, {_var("good" if column == number else "bad")} '
            f'{round(70 * share)}%, transparent)">{count or "·"}</td>'
            for column, (count, share) in enumerate(zip(counts[number].tolist(), shares[number].tolist(), strict=True))
        )
        rows.append(f'<tr><th class="number">{number}</th><th>{escape(label)}</th>{cells}</tr>\n')
    return Markup(
        '<p class="faint">A row for each class; the columns are what it was taken for.</p><div class="scroll">'
        f'<table class="matrix"><thead><tr><th></th><th></th>{head}</tr></thead><tbody>\n{"".join(rows)}</tbody>'
        "</table></div>"
    )


def image(png: bytes, words: str) -> Markup:
    """A picture, and what it shows."""
    return Markup(f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">')


def beside(title: str, left: Markup, right: Markup) -> Markup:
    """Two pictures under a small heading."""
    return Markup(f'<h3>{escape(title)}</h3><div class="pictures"><div>{left.html}</div><div>{right.html}</div></div>')


def below(*parts: Markup | str) -> Markup:
    """One under the other; texts are paragraphs."""
    return Markup("".join(f"<p>{escape(part)}</p>" if isinstance(part, str) else part.html for part in parts))


def _cell(cell: Any) -> str:
    if isinstance(cell, bool):
        return _verdict(cell)
    return "" if cell is None else escape(f"{cell:,}" if isinstance(cell, int) else str(cell))


def _verdict(passed: bool) -> str:
    return f'<span class="verdict {"good" if passed else "bad"}">{"passed" if passed else "FAILED"}</span>'


def _number(value: float) -> str:
    """Short enough for an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _short(name: str) -> str:
    return name if len(name) <= 26 else name[:25] + "…"


def _var(name: str) -> str:
    """A colour of the palette in a style."""
    return f"var({_OWN}{name})"


def _line(number: int) -> str:
    return _var(f"line-{number % LINES}")


def _fill(number: int) -> str:
    return f'fill="{_line(number)}"'


def _stroke(number: int) -> str:
    return f'stroke="{_line(number)}" stroke-width="1.5"'


def _svg(width: float, height: float, inside: str, words: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">{inside}</svg>'


def _key(names: Sequence[str]) -> Markup:
    colours = (f'<i style="background:{_line(number)}"></i>' for number in range(len(names)))
    spans = "".join(f"<span>{colour}{escape(name)}</span>" for colour, name in zip(colours, names, strict=True))
    return Markup(f'<div class="key">{spans}</div>')


def _colours() -> str:
    """The page's own, by what the reader's machine prefers; light on paper."""

    def of(theme: str) -> str:
        return "".join(f"{_OWN}{name}:{colour};" for name, colour in spoken(theme).items())

    return (
        f":root{{color-scheme:light dark;{of('light')}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{of('dark')}}}}}"
    )
