"""Make what lies in host/spedge/assets: three trained bundles and a few recordings. Needs spedge[train].

    python tools/make_assets.py gestures      # about 20 minutes of one core
    python tools/make_assets.py gestures-320  # about 15 minutes of one core
    python tools/make_assets.py recordings    # seconds
    python tools/make_assets.py nmnist --data N-MNIST    # about 9 minutes of one core

The recordings are the first of their class, by number, from a seed that neither training nor testing uses, whose file
is small enough; whether the model gets them right plays no part in the choice.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge import recordings
from spedge.base.paths import assets_dir
from spedge.model.bundle import FILES
from spedge.training import Progress, gestures, train
from spedge.training.checkpoint import load_checkpoint
from spedge.training.data import gestures_320
from spedge.training.data.dvs import PixelConfig, Pixels
from spedge.training.export.bundle import export_model

ASSETS = assets_dir()
RECORDING_SEED = 3
RECORDING_BYTES = 150_000
RECORDED = ("swipe left", "swipe down", "circle clockwise", "wave", "approach", "clap")
RECORDED_320 = ("approach", "clap")
PRESETS = {"gestures": "gestures-pico", "gestures-320": "gestures-320", "nmnist": "nmnist-pico"}


def make_bundle(preset: str, data: Path | None, seed: int) -> None:
    """Train a preset and keep its bundle, without the checkpoint."""
    with tempfile.TemporaryDirectory() as work:
        report = train(preset, data, work, seed=seed, on_progress=show)
        own = load_checkpoint(work)
        digits = tuple(draw_digit(digit) for digit in (1, 4, 7)) if preset == "nmnist-pico" else ()
        export_model(own.model(), own.spec, digits or own.examples, Path(work))  # once more, without the calibration
        out = ASSETS / preset
        out.mkdir(exist_ok=True)
        for name in ("bundle.json", *FILES):
            shutil.copyfile(Path(work) / name, out / name)
    print(f"{preset}: {report.top1:.1%} of {report.held_out_samples}, {report.cpu_seconds / 60:.1f} min of CPU time")


def show(progress: Progress) -> None:
    """One line an epoch."""
    print(
        f"epoch {progress.epoch}, {progress.done:.0%}, loss {progress.loss:.3f}, {progress.cpu_seconds:.0f} s",
        flush=True,
    )


def draw_digit(digit: int) -> NDArray[Any]:
    """Events of a digit of seven bars that a simulated 34x34 camera sees in three saccades of 100 ms, as N-MNIST was
    recorded. For the vectors of a bundle that is to hold none of the data it was trained on."""
    segments = np.array(_SEGMENTS, np.float64)[[bool(_DIGITS[digit] >> i & 1) for i in range(7)]]
    y, x = np.mgrid[0:34, 0:34]
    pixels = Pixels(34, 34, PixelConfig(threshold=0.2), np.random.default_rng(digit))
    corners = np.array([(-3, -2), (3, -2), (0, 4), (-3, -2)])
    parts = []
    for t in range(301):
        eye_x, eye_y = (np.interp(t, (0, 100, 200, 300), corners[:, axis]) for axis in (0, 1))
        cover = np.zeros((34, 34))
        for x0, y0, x1, y1 in segments:
            along = np.clip(((x + eye_x - x0) * (x1 - x0) + (y + eye_y - y0) * (y1 - y0)) / 64, 0, 1)
            distance = np.hypot(x + eye_x - x0 - along * (x1 - x0), y + eye_y - y0 - along * (y1 - y0))
            np.maximum(cover, np.clip(2 - distance, 0, 1), out=cover)
        parts.append(pixels.step(1000 * t, np.log1p(2 * cover)))
    return np.concatenate(parts)


#: Top, upper right, lower right, bottom, lower left, upper left, middle: from x, y to x, y; 8 pixels long.
_SEGMENTS = (
    (13, 9, 21, 9), (21, 9, 21, 17), (21, 17, 21, 25), (13, 25, 21, 25),
    (13, 17, 13, 25), (13, 9, 13, 17), (13, 17, 21, 17),
)  # fmt: skip
_DIGITS = (0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F)


def make_recordings() -> None:
    """Write the recordings for demos and checks."""
    out = ASSETS / "recordings"
    out.mkdir(exist_ok=True)
    kept = [(label, gestures.CAMERA, "") for label in RECORDED]
    kept += [(label, gestures_320.CAMERA, "-320") for label in RECORDED_320]
    for label, camera, ending in kept:
        path = out / f"{label.replace(' ', '-')}{ending}.raw"
        for number in range(100):
            recordings.write(path, gestures.record(label, number, RECORDING_SEED, camera), camera.side, camera.side)
            if path.stat().st_size <= RECORDING_BYTES:
                print(f"{path.name}: number {number}, {path.stat().st_size} bytes")
                break


def main() -> None:
    """Make one of the assets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*PRESETS, "recordings"))
    parser.add_argument("--data", type=Path, help="N-MNIST folder or zip file")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "recordings":
        make_recordings()
    else:
        make_bundle(PRESETS[given.what], given.data, given.seed)


if __name__ == "__main__":
    main()
