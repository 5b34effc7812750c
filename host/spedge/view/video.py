"""Pictures that move, as files: GIF, APNG and WebP by Pillow, MP4 by the system's ffmpeg."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spedge.base.children import guarded
from spedge.base.errors import UsageError
from spedge.base.files import whole
from spedge.base.programs import FFMPEG

Frames = Iterator[NDArray[np.uint8]]


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], colours: NDArray[np.uint8], fps: float) -> None:
    """Write frames, each uint8 [height, width] of numbers of colours, as what the file's ending names.

    colours: uint8 [256, 3]. A .png has the last frame. The file appears whole or not at all.
    Raises UsageError for another ending, for an .mp4 without ffmpeg, and where the file cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UsageError(f"{path}: a picture is written as {', '.join(WRITERS)}")
    if writer is _mp4:
        require_ffmpeg()
    with whole(path) as part:
        writer(part, iter(frames), colours, fps)


def require_ffmpeg() -> None:
    """Raises UsageError without it."""
    if not FFMPEG.present:
        raise UsageError(f"an .mp4 is made by ffmpeg: {FFMPEG.bring}, or write a .webp or .gif")


def _png(path: Path, frames: Frames, colours: NDArray[np.uint8], fps: float) -> None:
    last = next(frames)
    for last in frames:  # noqa: B007 the last one is the picture
        pass
    _image(last, colours).save(path, format="PNG", optimize=True)


def _gif(path: Path, frames: Frames, colours: NDArray[np.uint8], fps: float) -> None:
    """Times of a GIF are hundredths of a second: those of the frames are rounded so that their sum stays right."""
    images = (_image(frame, colours) for frame in frames)
    _animated(path, images, "GIF", fps, 10, optimize=False, disposal=1)


def _apng(path: Path, frames: Frames, colours: NDArray[np.uint8], fps: float) -> None:
    _animated(path, (_image(frame, colours) for frame in frames), "PNG", fps, 1, default_image=False)


def _webp(path: Path, frames: Frames, colours: NDArray[np.uint8], fps: float) -> None:
    _animated(path, (Image.fromarray(colours[frame]) for frame in frames), "WEBP", fps, 1, lossless=True, method=0)


def _image(frame: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(frame).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours.tobytes())
    return image


def _animated(path: Path, images: Iterator[Image.Image], kind: str, fps: float, step_ms: int, **given: object) -> None:
    """step_ms: what the format counts times in."""
    first = next(images)
    rest = list(images)
    ends = [round(number * 1000 / fps / step_ms) * step_ms for number in range(len(rest) + 2)]
    times = [max(end - start, step_ms) for start, end in itertools.pairwise(ends)]
    first.save(path, format=kind, save_all=True, append_images=rest, duration=times, loop=0, **given)


def _mp4(path: Path, frames: Frames, colours: NDArray[np.uint8], fps: float) -> None:
    """As raw pictures through a pipe; what plays everywhere has colours at half the size."""
    first = next(frames)
    size = f"{first.shape[1]}x{first.shape[0]}"
    command = [
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", size, "-r", f"{fps:g}", "-i", "-", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4",
        str(path),
    ]  # fmt: skip
    with subprocess.Popen(guarded(command), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        try:
            for frame in (first, *frames):
                process.stdin.write(colours[frame].tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has said why
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace")
    if process.returncode:
        why = said.strip().rpartition("\n")[2] or "it does not say why"
        raise UsageError(f"ffmpeg did not write the video: {why}")


WRITERS: dict[str, Callable[[Path, Frames, NDArray[np.uint8], float], None]] = {
    ".png": _png, ".gif": _gif, ".apng": _apng, ".webp": _webp, ".mp4": _mp4,
}  # fmt: skip
