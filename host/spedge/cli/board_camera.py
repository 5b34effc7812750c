"""The camera on a board as a source, for verbs that take one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from spedge.cli.common import opened_device, playing

if TYPE_CHECKING:
    from spedge.recordings import Reading
    from spedge.sources import Source

_EDVS_SIDE = 128


@contextlib.contextmanager
def board_camera(
    board: str,
    device: str | None,
    say: Callable[[str], None],
    reading: Reading,
    *,
    format: str,
    baud: int,
    port: str,
    play: Path | None,
    mode: str = "live",
) -> Iterator[tuple[Source, Callable[[int], bool]]]:
    """It and what `playing` yields, while the block runs. reading: says the sensor's size, and how `play` is opened.
    port: as `camera_port_of` gives it.

    Raises UsageError where nothing says the size, and as `opened_device`, `BoardCamera` and `playing` do.
    """
    from spedge.boards.manifest import load_board
    from spedge.sources import BoardCamera

    width, height = _sensor(reading.width, reading.height, format)
    with (
        opened_device(load_board(board), None, device, say) as link,
        BoardCamera(link, format, width=width, height=height, mode=mode, baud=baud, port=port) as camera,
        playing(link, play, format, reading) as ended,
    ):
        yield camera, ended


def _sensor(width: int | None, height: int | None, format: str) -> tuple[int, int]:
    from spedge.base.errors import UsageError

    if width is not None and height is not None:
        return width, height
    if format.startswith("edvs"):
        return _EDVS_SIDE, _EDVS_SIDE
    raise UsageError("the camera's words do not say the sensor's size: add --width and --height")
