"""A headless Chromium for tests and pictures of the page; skipped where there is none."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Iterator
from typing import Any

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Where the browser is."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


def missing() -> str | None:
    """Why there is no browser to be had, with what to do."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: pip install 'spedge[dev]'"
    return None if program() else "chromium is not installed: sudo apt-get install chromium"


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """One with software rendering, as on a machine without a GPU."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program(),
            args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"],
        )
        try:
            yield chromium
        finally:
            chromium.close()


def until(page: Any, condition: str, seconds: float = 20) -> None:
    """Wait for JavaScript to be true. The page's own rules forbid what playwright has for it."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        if time.monotonic() > end:
            said = page.evaluate("document.querySelector('#state').textContent")
            raise AssertionError(f"{condition} has not come true; the page says {said!r}")
        page.wait_for_timeout(10)
