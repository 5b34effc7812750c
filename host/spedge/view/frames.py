"""Single frames of recordings with the boxes that are there and those that were found, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.view.draw import Canvas, outlined, write
from spedge.view.palette import CAPTION, EDGE, FAINT, GAP, HEADER, INK, MARGIN, PAGE, colours, line_of
from spedge.view.scene import Surface
from spedge.view.video import write_video

_WIDE = 500  # pixels of a frame, about


@dataclass(frozen=True)
class Shot:
    """A frame at time t, µs. events: EVENT_DTYPE, sorted; those of the last `fade_us` are seen. labels, found: boxes,
    fields x, y of the upper left corner, w, h, label and, of what was found, score."""

    title: str
    t: int
    events: NDArray[np.void]
    labels: NDArray[np.void]
    found: NDArray[np.void]
    fade_us: int = 50_000


def draw_frames(
    rows: Sequence[tuple[str, Sequence[Shot]]], size: tuple[int, int], names: Sequence[str], path: Path
) -> None:
    """Write a PNG file with a row of frames under each title. Labels are drawn thick and in the colour of letters, what
    was found in its class's.

    size: width and height of the sensor. Raises UsageError for another ending, or where the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: frames are drawn as .png")
    width, height = size
    up, down = max(1, round(_WIDE / width)), -(-width // (2 * _WIDE))
    wide, high = up * -(-width // down), up * -(-height // down)
    columns = max(1, *(len(shots) for _, shots in rows))
    each = HEADER + CAPTION + high + GAP
    canvas = np.full((2 * MARGIN + len(rows) * each - GAP, 2 * MARGIN + columns * (wide + GAP) - GAP), PAGE, np.uint8)
    for row, (title, shots) in enumerate(rows):
        top = MARGIN + row * each
        write(canvas, MARGIN, top, title, INK, size=14)
        for column, shot in enumerate(shots):
            left = MARGIN + column * (wide + GAP)
            write(canvas, left, top + HEADER, shot.title, FAINT)
            corner = top + HEADER + CAPTION
            canvas[corner - 1 : corner + high + 1, left - 1 : left + wide + 1] = EDGE
            _draw(canvas[corner : corner + high, left : left + wide], shot, (height, width), up, down, names)
    write_video(path, [canvas], colours("dark"), 1)


def _draw(panel: Canvas, shot: Shot, shape: tuple[int, int], up: int, down: int, names: Sequence[str]) -> None:
    surface = Surface(*shape)
    surface.add(shot.events["x"], shot.events["y"], shot.events["t"].astype(np.int64), shot.events["p"])
    shades = surface.events(shot.t, shot.fade_us)
    panel[:] = shades[::down, ::down].repeat(up, 0).repeat(up, 1)
    for box in shot.labels:
        outlined(panel, box, up / down, INK, names[int(box["label"])], thick=3, below=True)
    for box in shot.found:
        label = int(box["label"])
        outlined(panel, box, up / down, line_of(label), f"{names[label]} {float(box['score']):.2f}", thick=1)
