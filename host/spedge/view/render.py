"""A recording as a picture, or one that moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.view.draw import Drawer
from spedge.view.palette import colours
from spedge.view.scene import Scene
from spedge.view.video import WRITERS, require_ffmpeg, write_video

_MOST_FRAMES = 2000  # that are held at a time; ffmpeg takes one after the other


@dataclass(frozen=True)
class Look:
    """What of a recording is shown, and how.

    from_us, to_us: since its first event; to_us None: to its end. speed: 0.1 is ten times as slow. fade_us: how long an
    event is seen. scale: pixels for one of the sensor's, 0: what is good to look at. theme: one of palette.THEMES.
    """

    from_us: int = 0
    to_us: int | None = None
    speed: float = 1.0
    fps: float = 25.0
    fade_us: int = 50_000
    scale: int = 0
    theme: str = "dark"


@dataclass(frozen=True)
class Rendered:
    """What was written. start, end: µs since the first event. width, height: pixels."""

    path: Path
    frames: int
    width: int
    height: int
    start_us: int
    end_us: int


def require_look(path: Path, look: Look) -> None:
    """Raises UsageError for what cannot be done, whatever the recording."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"{path}: a picture is written as {', '.join(WRITERS)}")
    if path.suffix.lower() == ".mp4":
        require_ffmpeg()
    colours(look.theme)
    if not 0 < look.speed < float("inf") or not 1 <= look.fps <= 120:
        raise UsageError(f"a speed of {look.speed:g} at {look.fps:g} frames a second is not possible")
    if look.fade_us < 1 or look.scale < 0 or look.scale > 32:
        raise UsageError("an event is seen for more than 0 ms, and a pixel is 1 to 32 pixels large")


def times_of(scene: Scene, look: Look, suffix: str) -> NDArray[np.int64]:
    """The time of each frame, µs: the first one a step after the start, the last one at the end; of a .png, that one.

    Raises UsageError where the recording has nothing, or too much, in the range.
    """
    first, last = int(scene.events["t"][0]), int(scene.events["t"][-1])
    start, end = first + look.from_us, last if look.to_us is None else first + look.to_us
    if not start < end or start >= last:
        raise UsageError(
            f"there is nothing from {look.from_us / 1e3:g} ms to {(end - first) / 1e3:g} ms: the recording lasts "
            f"{(last - first) / 1e3:g} ms"
        )
    if suffix == ".png":
        return np.array([end], np.int64)
    count = max(1, int(np.ceil((end - start) * look.fps / look.speed / 1e6 - 1e-9)))
    if count > _MOST_FRAMES and suffix != ".mp4":
        raise UsageError(f"that is {count:,} frames: choose a shorter range or a higher speed, or write an .mp4")
    steps = np.arange(1, count + 1) * (1e6 * look.speed / look.fps)
    return np.minimum(start + np.round(steps).astype(np.int64), end)


def render(
    scene: Scene, path: Path, title: str, look: Look, on_progress: Callable[[str], None] | None = None
) -> Rendered:
    """Write a scene as what the file's ending names (video.WRITERS).

    Raises UsageError for what cannot be done, and where the file cannot be written.
    """
    say = on_progress or (lambda _: None)
    require_look(path, look)
    times = times_of(scene, look, path.suffix.lower())
    first = int(scene.events["t"][0])
    start, end = first + look.from_us, int(times[-1])
    note = "" if look.speed == 1 else f"  ×{look.speed:g}"
    drawer = Drawer(scene, start, end, title, note, look.scale)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for number, t in enumerate(times.tolist(), 1):
            say(f"Drawing: {number} of {len(times)} frames")
            yield drawer.draw(scene.frame(t, look.fade_us))

    write_video(path, frames(), colours(look.theme), look.fps)
    height, width = drawer.size
    return Rendered(path, len(times), width, height, start - first, end - first)
