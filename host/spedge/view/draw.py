"""A frame of a scene as a picture in numbers of colours: events, tokens, boxes, rates and what the model says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spedge.view.palette import (
    CAPTION,
    EDGE,
    FAINT,
    GAP,
    HEADER,
    INK,
    LINES,
    MARGIN,
    PAGE,
    RATES,
    ROW,
    STEPS,
    line_of,
)
from spedge.view.scene import Frame, Results, Scene

_LEAST, _MOST = 320, 640  # pixels of a panel's side, about
_FINE = 4  # lines are drawn so many times as large, and then made smaller
_BAR, _NAME = 70, 130  # pixels of a class's bar and name
_LEAST_ROWS = 8
_LETTERS = 16  # pixels that a line of a box's name is high
Canvas = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawer:
    """Draws the frames of one scene, from `start` to `end` (µs). title: over them. note: what the time is said with.

    scale: pixels of the picture for one of the sensor; 0: what is good to look at, less than one for large sensors.
    """

    scene: Scene
    start: int
    end: int
    title: str
    note: str = ""
    scale: int = 0

    @cached_property
    def _factors(self) -> tuple[int, int]:
        """How many times as large, or as small, a panel is."""
        side = max(self.scene.width, self.scene.height)
        return (self.scale, 1) if self.scale else (max(1, _LEAST // side), -(-side // _MOST))

    @cached_property
    def _panel(self) -> tuple[int, int]:
        """Height and width of a panel in pixels."""
        up, down = self._factors
        return up * -(-self.scene.height // down), up * -(-self.scene.width // down)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, both even, as videos need them."""
        high, wide = self._panel
        below = RATES + (GAP + self._said_height if self.scene.results else 0)
        return _even(2 * MARGIN + HEADER + CAPTION + high + GAP + below), _even(2 * MARGIN + 2 * wide + GAP)

    @property
    def _said_height(self) -> int:
        assert self.scene.results is not None
        return ROW * min(max(len(self.scene.results.labels), _LEAST_ROWS), LINES)

    @cached_property
    def _tops(self) -> tuple[int, int, int]:
        """Where panels, rates and what the model says begin."""
        panel = MARGIN + HEADER + CAPTION
        rates = panel + self._panel[0] + GAP
        return panel, rates, rates + RATES + GAP

    def draw(self, frame: Frame) -> Canvas:
        """uint8 [height, width]."""
        canvas = self._begun.copy()
        top, left = self._tops[0], MARGIN
        high, wide = self._panel
        right = left + wide + GAP
        canvas[top : top + high, left : left + wide] = self._enlarged(frame.events)
        canvas[top : top + high, right : right + wide] = self._squares(frame.tokens)
        for box in frame.boxes:
            self._box(canvas, box)
        ended = f"{(frame.t - self.start) / 1e6:.3f} s{self.note}"
        write(canvas, canvas.shape[1] - MARGIN, MARGIN + 4, ended, INK, "right", 14)
        for x, text in ((left, f"{frame.event_count:,} events"), (right, f"{frame.token_count:,} tokens")):
            write(canvas, x, MARGIN + HEADER, text, FAINT)
        self._strips(canvas, frame)
        return canvas

    # ------------------------------------------------------------ what stays
    @cached_property
    def _begun(self) -> Canvas:
        """What all frames have."""
        canvas = np.full(self.size, PAGE, np.uint8)
        write(canvas, MARGIN, MARGIN + 4, self.title, INK, size=14)
        high, wide = self._panel
        for x in (MARGIN, MARGIN + wide + GAP):
            canvas[self._tops[0] - 1 : self._tops[0] + high + 1, x - 1 : x + wide + 1] = EDGE
        return canvas

    @cached_property
    def _rates(self) -> tuple[Canvas, Canvas]:
        """The strip of events over time: faint, as what is to come, and in ink."""
        wide = self.size[1] - 2 * MARGIN
        times = self.scene.events["t"]
        edges = np.linspace(self.start, self.end, wide + 1).astype(np.uint64)
        counts = np.diff(np.searchsorted(times, edges))
        heights = np.ceil(RATES * counts / max(counts.max(initial=0), 1)).astype(int)
        filled = np.arange(RATES)[::-1, None] < heights
        return tuple(np.where(filled, np.uint8(colour), np.uint8(PAGE)) for colour in (EDGE, FAINT + 2))  # type: ignore[return-value]

    @cached_property
    def _curves(self) -> Canvas:
        """Logits over time, all of them."""
        results = self._results
        wide, high = self._plot_width, self._said_height
        canvas = np.full((high, wide), PAGE, np.uint8)
        low, most = float(results.logits.min(initial=0)), float(results.logits.max(initial=1))
        y = (high - 3) * (1 - (results.logits - low) / max(most - low, 1e-6)) + 1
        x = (results.t - self.start) / max(self.end - self.start, 1) * (wide - 1)
        for number in range(len(results.labels)):
            points = list(zip(_FINE * x, _FINE * y[:, number], strict=True))
            image = Image.new("L", (_FINE * wide, _FINE * high))
            ImageDraw.Draw(image).line(points, fill=255, width=int(1.6 * _FINE), joint="curve")
            stamp(canvas, np.asarray(image.resize((wide, high), Image.Resampling.BOX)), line_of(number))
        return canvas

    # ------------------------------------------------------------ what changes
    def _enlarged(self, shades: Canvas) -> Canvas:
        up, down = self._factors
        if down > 1:  # of each block the newest, whatever its polarity: no line of one pixel gets lost
            rows, columns = (-(-side // down) for side in shades.shape)
            padded = np.zeros((rows * down, columns * down), np.uint8)
            padded[: shades.shape[0], : shades.shape[1]] = shades
            shades = padded.reshape(rows, down, columns, down).max(axis=(1, 3))
        return shades.repeat(up, 0).repeat(up, 1) if up > 1 else shades

    def _squares(self, shades: Canvas) -> Canvas:
        """A square for each patch, and lines between them."""
        up, down = self._factors
        size = self.scene.patch_size
        y = np.arange(self._panel[0]) // up * down
        x = np.arange(self._panel[1]) // up * down
        canvas = shades[y // size][:, x // size]
        if size * up >= 4 * down:
            canvas[_begins(y // size)] = EDGE
            canvas[:, _begins(x // size)] = EDGE
        return canvas

    def _box(self, canvas: Canvas, box: np.void) -> None:
        """Over the events: a truth in the colour of letters, another in its class's, with its score."""
        up, down = self._factors
        high, wide = self._panel
        panel = canvas[self._tops[0] : self._tops[0] + high, MARGIN : MARGIN + wide]
        true, label = box["score"] >= 1, int(box["label"])
        name = self.scene.names[label] if label < len(self.scene.names) else ""
        if true:
            outlined(panel, box, up / down, INK, name, thick=3, below=True)
        else:
            outlined(panel, box, up / down, line_of(label), f"{name} {float(box['score']):.2f}".strip(), thick=2)

    def _strips(self, canvas: Canvas, frame: Frame) -> None:
        """Rates, and what the model says, up to now."""
        wide = self.size[1] - 2 * MARGIN
        share = (frame.t - self.start) / max(self.end - self.start, 1)
        now = int(np.clip(share * wide, 0, wide - 1))
        _, top, said = self._tops
        strip = canvas[top : top + RATES, MARGIN : MARGIN + wide]
        faint, ink = self._rates
        strip[:, : now + 1], strip[:, now + 1 :] = ink[:, : now + 1], faint[:, now + 1 :]
        strip[:, now] = INK + STEPS - 1
        if self.scene.results is not None:
            self._said(canvas[said : said + self._said_height, MARGIN : MARGIN + wide], share, frame.result)

    @property
    def _results(self) -> Results:
        assert self.scene.results is not None
        return self.scene.results

    @property
    def _plot_width(self) -> int:
        return self.size[1] - 2 * MARGIN - _BAR - _NAME - GAP

    def _said(self, strip: Canvas, share: float, result: int) -> None:
        now = int(np.clip(share * self._plot_width, 0, self._plot_width - 1))
        strip[:, :now] = self._curves[:, :now]
        strip[:, now] = FAINT + 1
        if result < 0:
            return
        labels, shares = self._results.labels, self._results.shares[result]
        best = int(np.argmax(shares))
        shown = range(len(labels)) if len(labels) <= LINES else sorted(np.argsort(-shares)[:LINES].tolist())
        names, bars = self._plot_width + GAP, self._plot_width + GAP + _NAME
        for row, number in enumerate(shown):
            top, colour = ROW * row, line_of(number) + STEPS - 1
            write(strip, names, top + 1, labels[number][:20], INK if number == best else FAINT, size=11)
            strip[top + 4 : top + ROW - 3, bars : bars + _BAR] = EDGE
            strip[top + 4 : top + ROW - 3, bars : bars + round(_BAR * float(shares[number]))] = colour


def outlined(
    panel: Canvas, box: np.void, factor: float, first: int, text: str, thick: int, below: bool = False
) -> None:
    """Draw a box (x, y, w, h in the sensor's pixels) and its name, above or below, on a panel that is `factor` times as
    large, cut at its edges. first: the faintest of a colour's steps."""
    high, wide = panel.shape
    left, top = int(box["x"] * factor), int(box["y"] * factor)
    right, bottom = int((box["x"] + box["w"]) * factor), int((box["y"] + box["h"]) * factor)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, wide - 1), min(bottom, high - 1)
    if right <= left or bottom <= top:
        return
    for edge in (top, max(top, bottom - thick + 1)):
        panel[edge : edge + thick, left : right + 1] = first + STEPS - 1
    for edge in (left, max(left, right - thick + 1)):
        panel[top : bottom + 1, edge : edge + thick] = first + STEPS - 1
    if text:
        y = bottom + 3 if below else top - _LETTERS - 1
        write(panel, left, min(max(y, 0), high - _LETTERS), text, first, size=10)


def _even(number: int) -> int:
    return number + number % 2


def _begins(groups: NDArray[Any]) -> NDArray[np.bool_]:
    return np.diff(groups, prepend=groups[:1]) > 0


def stamp(canvas: Canvas, mask: NDArray[np.uint8], first: int) -> None:
    """Put a mask (0 to 255) on the page in a colour, of which `first` is the faintest step."""
    step = (mask.astype(np.uint16) * STEPS + 127) // 255
    canvas[:] = np.where(step > 0, first + step.astype(np.uint8) - 1, canvas)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters that matplotlib brings; Pillow's own know few but English ones."""
    try:
        from matplotlib import get_data_path

        return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
    except (ImportError, OSError):
        return ImageFont.load_default(size)


@cache
def _letters(text: str, size: int) -> NDArray[np.uint8]:
    left, _, right, _ = _font(size).getbbox(text)
    image = Image.new("L", (max(1, int(right - left + 1)), size + 6))
    ImageDraw.Draw(image).text((-left, 0), text, fill=255, font=_font(size))
    return np.asarray(image)


def write(canvas: Canvas, x: int, y: int, text: str, first: int, side: str = "left", size: int = 12) -> None:
    """A line of text on the page, beginning or, with side "right", ending at x, cut at the edges."""
    mask = _letters(text, size)
    left = x if side == "left" else x - mask.shape[1]
    part = canvas[y : y + mask.shape[0], max(left, 0) : left + mask.shape[1]]
    stamp(part, mask[: part.shape[0], max(-left, 0) : max(-left, 0) + part.shape[1]], first)
