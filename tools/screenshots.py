"""Pictures of the page for docs/view.md.

    python tools/screenshots.py    # writes docs/view-*.png; needs Chromium, and playwright of the extra `dev`

With the bundle and a recording that ship, on the board sim: it needs what `spedge run` needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from spedge.base.paths import assets_dir
from spedge.boards.manifest import load_board
from spedge.cli.common import opened_device
from spedge.jobs.run import Session, Triggers
from spedge.model.bundle import Bundle
from spedge.sources import RecordingSource
from spedge.view.open import follow, open_stage
from spedge.view.server import Server
from spedge.view.stage import RecordingStage
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


def main() -> None:
    with browser() as chromium:
        for name, (size, does) in SHOTS.items():
            with Server(stage_of("wave")) as server:
                page = chromium.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="dark")
                page.goto(server.address + "?still")
                until(page, "view.frame && view.series")
                page.evaluate("view.t = view.about.first + 620000")
                until(page, "view.frame.t === view.about.first + 620000")
                does(page)
                page.wait_for_timeout(300)
                path = DOCS / f"{name}.png"
                page.screenshot(path=path, full_page=True)
                with Image.open(path) as image:
                    small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                small.save(path, optimize=True)
                page.close()


if __name__ == "__main__":
    main()
