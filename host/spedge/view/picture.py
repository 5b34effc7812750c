"""Pictures of a recording on its way through the model: events, tokens over the patch grid, logits over time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.jobs.demo import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_INK = "#22262e"
_FAINT = "#9aa1ad"
_GRID = "#e6e8ec"
_TIME_MAP = "viridis"
_FULL_COLOUR = 3  # events of a pixel
# Tells eleven lines apart for most kinds of colour vision; the winner is drawn thick and named anyway.
_LINES = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
    "#7b3294", "#8c6d31", "#525252", "#31a354", "#e31a1c", "#6baed6",
)  # fmt: skip


def picture(panels: Sequence[Panel], path: Path, title: str) -> None:
    """Write one PNG with a row per panel: events and tokens coloured by time, logits over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 1.0 + 3.35 * len(panels)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=_INK)
    axes = figure.subplots(len(panels), 3, width_ratios=(1, 1, 1.75), squeeze=False)
    for row, panel in zip(axes, panels, strict=True):
        _draw_events(row[0], panel)
        _draw_tokens(row[1], panel)
        _draw_logits(row[2], panel)
    _draw_time_bar(figure, axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """With a palette of 256 colours: a third of the size, and no difference to see."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            path, format="PNG", optimize=True
        )


def _time_map() -> Colormap:
    from matplotlib import colormaps

    return colormaps[_TIME_MAP]


def _share(panel: Panel, times: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Times as 0..1 of the recording."""
    start, end = panel.events["t"][[0, -1]].astype(np.float64)
    return np.asarray((times.astype(np.float64) - start) / max(end - start, 1.0))


def _frame(axes: Axes, panel: Panel, title: str) -> None:
    axes.set(xlim=(0, panel.width), ylim=(panel.height, 0), aspect="equal")
    axes.set_title(title, loc="left", fontsize=9, color=_INK)
    axes.tick_params(length=0, labelsize=7, colors=_FAINT)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)


def _draw_events(axes: Axes, panel: Panel) -> None:
    """Each pixel in the colour of its last event; pale where there were few, as noise is."""

    pixel = panel.events["y"].astype(np.int64) * panel.width + panel.events["x"]
    last = np.zeros(panel.height * panel.width)
    last[pixel] = _share(panel, panel.events["t"])
    image = _time_map()(last)
    image[:, 3] = np.minimum(np.bincount(pixel, minlength=len(last)) / _FULL_COLOUR, 1) ** 1.5
    axes.imshow(
        image.reshape(panel.height, panel.width, 4),
        extent=(0, panel.width, panel.height, 0),
        interpolation="nearest",
    )
    _frame(axes, panel, f"{len(panel.events):,} events")
    axes.set_ylabel(panel.title, fontsize=11, fontweight="bold", color=_INK, labelpad=8)


def _draw_tokens(axes: Axes, panel: Panel) -> None:
    """A square per patch: its area says how many tokens, its colour when, on average."""
    size = panel.patch_size
    columns, rows = -(-panel.width // size), -(-panel.height // size)
    cell = panel.token_y.astype(np.int64) * columns + panel.token_x
    count = np.bincount(cell, minlength=columns * rows)
    when = np.bincount(cell, _share(panel, panel.token_t), minlength=columns * rows) / np.maximum(count, 1)
    _frame(axes, panel, f"{len(cell):,} tokens, patches of {size}×{size}")
    axes.set_axisbelow(True)
    axes.set_xticks(range(0, panel.width + 1, size), [], minor=True)
    axes.set_yticks(range(0, panel.height + 1, size), [], minor=True)
    axes.grid(which="minor", color=_GRID, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    _draw_squares(axes, size, columns, count, when)


def _draw_squares(axes: Axes, size: int, columns: int, count: NDArray[np.int64], when: NDArray[np.float64]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    hit = np.flatnonzero(count)
    side = size * 0.92 * np.sqrt(count[hit] / max(count.max(), 1)).clip(0.3)
    corner_x = (hit % columns + 0.5) * size - side / 2
    corner_y = (hit // columns + 0.5) * size - side / 2
    squares = [Rectangle((x, y), s, s) for x, y, s in zip(corner_x, corner_y, side, strict=True)]
    axes.add_collection(PatchCollection(squares, facecolors=_time_map()(when[hit]), edgecolors="none"))


def _draw_logits(axes: Axes, panel: Panel) -> None:
    """A line per class; the ones that lead in the end are named beside their last point."""
    start = int(panel.events["t"][0])
    seconds = (panel.times.astype(np.int64) - start) / 1e6
    order = np.argsort(-panel.logits[-1])
    for rank, index in reversed(list(enumerate(order))):
        leads = rank == 0
        axes.plot(
            seconds,
            panel.logits[:, index],
            color=_LINES[index % len(_LINES)],
            linewidth=2.4 if leads else 1.1,
            alpha=1.0 if leads else 0.65,
            marker="o" if leads else None,
            markersize=3.5,
        )
    _name_lines(axes, panel, seconds, order)
    axes.set_title(f"logits from {panel.device}: {panel.note}", loc="left", fontsize=9, color=_INK)
    axes.set_xlabel("time in the recording (s)", fontsize=8, color=_FAINT)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.tick_params(length=0, labelsize=7, colors=_FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)


def _name_lines(axes: Axes, panel: Panel, seconds: NDArray[np.float64], order: NDArray[np.intp]) -> None:
    """Names of all classes right of the last logits, moved apart so that none covers another."""
    low, high = float(panel.logits.min()), float(panel.logits.max())
    room = max(high - low, 1e-6)
    step = 1.12 * room / max(len(order), 8)
    wanted = panel.logits[-1][order].astype(float)
    placed = wanted.copy()
    for i in range(1, len(placed)):
        placed[i] = min(placed[i], placed[i - 1] - step)
    placed += min(0.0, high + 0.04 * room - placed[0])
    overflow = (low - 0.06 * room) - placed[-1]
    if overflow > 0:  # the lowest names would leave the plot: push the pile up from below
        placed[-1] += overflow
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = max(placed[i], placed[i + 1] + step)
    span = max(float(seconds[-1] - seconds[0]), 1e-3)
    edge = float(seconds[-1])
    for rank, index in enumerate(order):
        colour = _LINES[index % len(_LINES)]
        axes.plot([edge, edge + 0.03 * span], [wanted[rank], placed[rank]], color=colour, linewidth=0.6, alpha=0.7)
        axes.annotate(
            panel.labels[index],
            (edge + 0.035 * span, placed[rank]),
            fontsize=9 if rank == 0 else 7.5,
            fontweight="bold" if rank == 0 else "normal",
            color=colour,
            va="center",
        )
    room_for_names = 0.08 + 0.0105 * max(map(len, panel.labels))
    axes.set_xlim(float(seconds[0]) - 0.02 * span, edge + room_for_names * span)
    axes.set_xticks([tick for tick in axes.get_xticks() if seconds[0] <= tick <= edge])
    axes.set_ylim(min(low, float(placed[-1])) - 0.06 * room, max(high, float(placed[0])) + 0.08 * room)


def _draw_time_bar(figure: Figure, axes: NDArray[Any]) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(
        ScalarMappable(cmap=_time_map()),
        ax=list(axes[:, :2].ravel()),
        orientation="horizontal",
        shrink=0.45,
        aspect=45,
        pad=0.02,
    )
    bar.set_ticks([0, 1], labels=["start", "end of the recording"])
    bar.ax.tick_params(length=0, labelsize=8, colors=_INK)
    bar.outline.set_visible(False)
