"""Pictures of the page for docs/view.md.

    python -m tools.screenshots [NAME...]    # writes docs/view-*.png; needs Chromium, and playwright of the extra `dev`

With the bundle and a recording that ship, on the board sim: it needs what `spedge run` needs.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spedge.base.paths import assets_dir
from spedge.boards.manifest import load_board
from spedge.cli.boxes import shown
from spedge.cli.common import opened_device
from spedge.jobs.check import check
from spedge.jobs.labelling import Labeller
from spedge.jobs.run import Session, Triggers
from spedge.model.bundle import Bundle
from spedge.recordings import open as open_recording
from spedge.recordings import write
from spedge.sources import RecordingSource
from spedge.tokens.settings import TokenizerSettings
from spedge.view.checking import CheckStage
from spedge.view.live import LiveStage
from spedge.view.open import follow, open_stage
from spedge.view.server import Server
from spedge.view.stage import RecordingStage, Stage
from tests.browser import browser, until

DOCS = Path(__file__).resolve().parents[1] / "docs"


def _tokens(page: Any) -> None:
    """A token chosen, another threshold."""
    page.locator("#slider-threshold").fill("560")
    until(page, "view.series.settings.threshold === 49")
    page.locator("#tokens").focus()
    for key in ("ArrowRight",) * 4 + ("ArrowDown",) * 4:
        page.keyboard.press(key)
    page.wait_for_timeout(300)


def _light(page: Any) -> None:
    page.keyboard.press("d")


def _nothing(page: Any) -> None: ...


SHOTS: dict[str, tuple[tuple[int, int], Callable[[Any], None]]] = {
    "view-dark": ((1180, 1400), _nothing),
    "view-light": ((1180, 1400), _light),
    "view-tokens": ((1180, 1400), _tokens),
    "view-phone": ((390, 844), _nothing),
}


def stage_of(name: str) -> RecordingStage:
    """A recording that ships, with what the host says and what the board sim does."""
    path, folder = assets_dir() / "recordings" / f"{name}.raw", assets_dir() / "gestures-pico"
    stage, bundle, board = open_stage(path, bundle=folder), Bundle.load(folder), load_board("sim")
    with RecordingSource(path) as source, opened_device(board, bundle, None, print) as device:
        follow(Session(device, bundle, source, Triggers(50_000)), stage, board.name)
    return stage


@contextlib.contextmanager
def _recording() -> Iterator[Stage]:
    yield stage_of("wave")


@contextlib.contextmanager
def _training() -> Iterator[Stage]:
    """Four gestures that ship, each cut into six, learned for a few steps."""
    from spedge.cli.pages import run_stage
    from spedge.training import train

    with tempfile.TemporaryDirectory() as scratch:
        data, run = Path(scratch) / "mine", Path(scratch) / "gestures"
        for gesture in ("clap", "swipe-down", "swipe-left", "wave"):
            (data / gesture).mkdir(parents=True)
            recording = open_recording(assets_dir() / "recordings" / f"{gesture}.raw")
            events = recording.events()
            for number, part in enumerate(np.array_split(events, 6)):
                write(data / gesture / f"{number:04d}.raw", part, recording.width, recording.height)
        recipe = {"batch": 8, "steps": 60, "validate_epochs": 1, "log_steps": 2, "workers": 0, "learning_rate": 1e-3}
        train("gestures-pico", data, run, recipe=recipe, holdout=0.35, bundle=False)
        yield run_stage(run, data)


@contextlib.contextmanager
def _check() -> Iterator[Stage]:
    """Two recordings on the board sim."""
    paths = [assets_dir() / "recordings" / f"{name}.raw" for name in ("clap", "wave")]
    bundle, board = Bundle.load(assets_dir() / "gestures-pico"), load_board("sim")
    stage = CheckStage("gestures-pico", bundle.token_input.tokenizer, board.name, len(paths))
    with opened_device(board, bundle, None, print) as device:
        check(bundle, paths, device, board.name, every_us=50_000, watch=stage.add)
    yield stage


@contextlib.contextmanager
def _labels() -> Iterator[Stage]:
    """A camera whose samples are labelled."""
    recording = open_recording(assets_dir() / "recordings" / "wave.raw")
    settings = TokenizerSettings.of(width=recording.width, height=recording.height, threshold=64)
    with LiveStage("camera:evk4", settings) as stage, tempfile.TemporaryDirectory() as scratch:
        stage.labeller = Labeller(Path(scratch), ["clap", "wave", "nothing"], recording.width, recording.height)
        events = recording.events()
        stage.offer(events[: len(events) // 2])
        stage.labeller.take(events[: len(events) // 2])
        yield stage


@contextlib.contextmanager
def _boxes() -> Iterator[Stage]:
    """Two things of an example, with where they are and the boxes that it finds by their tokens, each 50 ms."""
    with tempfile.TemporaryDirectory() as scratch:
        with contextlib.chdir(scratch):  # where it leaves its own picture
            things = runpy.run_path(str(DOCS.parent / "examples" / "boxes_without_a_model.py"))
        path, labels, said = (Path(scratch) / name for name in ("drive_td.raw", "drive_bbox.npy", "found.jsonl"))
        write(path, things["events"], things["WIDTH"], things["HEIGHT"])
        times = range(50_000, 1_000_000, 50_000)
        rows = [
            (t, x + vx * t / 1e6, y + vy * t / 1e6, size, size, 0)
            for t in times
            for (x, y), (vx, vy), size in things["things"]
        ]
        kinds = [("t", "<u8"), *((side, "<f4") for side in "xywh"), ("class_id", "u1")]
        np.save(labels, np.array(rows, kinds))
        with said.open("w") as file:
            for t in times:
                found = [
                    {"x": left, "y": top, "w": right - left, "h": bottom - top, "score": 1.0, "label": "thing"}
                    for left, top, right, bottom in things["boxes_at"](things["tokens"], t)
                ]
                file.write(json.dumps({"t_us": t, "boxes": found}) + "\n")
        stage = open_stage(path, patch_size=things["PATCH"], threshold=12.0)
        stage.scene = shown([labels, said], stage.scene)
        yield stage


def _cell(page: Any) -> None:
    """A cell of the matrix that was clicked."""
    until(page, "document.querySelectorAll('#matrix button').length")
    page.locator("#matrix button").first.click()
    until(page, "view.frame")
    page.keyboard.press("End")


def _middle(page: Any) -> None:
    until(page, "view.frame && view.series && document.querySelectorAll('#list button').length === 2")
    page.evaluate("view.t = view.about.first + 620000")


def _half(page: Any) -> None:
    until(page, "view.frame && view.series")
    page.evaluate("view.t = view.about.first + 520000")
    until(page, "view.frame.t === view.about.first + 520000")


def _kept(page: Any) -> None:
    until(page, "view.frame && view.frame.token_count")
    page.keyboard.press("2")
    until(page, "document.querySelector('#label-note').textContent.startsWith('kept')")


PANELS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[Stage]], Callable[[Any], None]]] = {
    "view-training": (_training, _cell),
    "view-check": (_check, _middle),
    "view-label": (_labels, _kept),
    "view-boxes": (_boxes, _half),
}


def _shoot(page: Any, name: str) -> None:
    """Into docs, in 256 colours."""
    page.wait_for_timeout(300)
    path = DOCS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    page.close()


def main() -> None:
    """All, or those that are named."""
    wanted = sys.argv[1:] or [*SHOTS, *PANELS]
    with browser() as chromium:
        for name, (size, does) in SHOTS.items():
            if name not in wanted:
                continue
            with _recording() as stage, Server(stage) as server:
                page = chromium.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="dark")
                page.goto(server.address + "?still")
                until(page, "view.frame && view.series")
                page.evaluate("view.t = view.about.first + 620000")
                until(page, "view.frame.t === view.about.first + 620000")
                does(page)
                _shoot(page, name)
        for name, (make, does) in PANELS.items():
            if name not in wanted:
                continue
            with make() as stage, Server(stage) as server:
                page = chromium.new_page(viewport={"width": 1180, "height": 1000}, color_scheme="dark")
                page.goto(server.address + "?still")
                until(page, "window.view")
                does(page)
                _shoot(page, name)


if __name__ == "__main__":
    main()
