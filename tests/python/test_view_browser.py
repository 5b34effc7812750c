"""The page in a headless Chromium: pixels, words, keys. `make test-view` installs it; skipped where there is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.base.paths import assets_dir
from spedge.events.arrays import EVENT_DTYPE
from spedge.jobs.check import Compared
from spedge.jobs.labelling import Labeller
from spedge.tokens.settings import TokenizerSettings
from tests.browser import browser, missing, until
from tests.needs import needs

needs("PIL", "starlette", "uvicorn", "wsproto")
if why := missing():
    pytest.skip(why, allow_module_level=True)

from spedge.view.checking import CheckStage  # noqa: E402
from spedge.view.live import LiveStage  # noqa: E402
from spedge.view.open import open_stage  # noqa: E402
from spedge.view.palette import INK, SHADES, STEPS, TOKEN, colours, line_of  # noqa: E402
from spedge.view.scene import SEEN_DTYPE, Scene  # noqa: E402
from spedge.view.server import Server  # noqa: E402
from spedge.view.stage import RecordingStage  # noqa: E402
from spedge.view.training import TrainingStage  # noqa: E402

WAVE, BUNDLE = assets_dir() / "recordings" / "wave.raw", assets_dir() / "gestures-pico"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture
def stage() -> RecordingStage:
    return open_stage(WAVE, bundle=BUNDLE, every_us=100_000)


@contextlib.contextmanager
def opened(chromium: Any, server: Server, behind: str) -> Iterator[Any]:
    """A page, on which nothing may go wrong. behind: the address."""
    page = chromium.new_page(viewport={"width": 1100, "height": 1300}, color_scheme="dark")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{server.address}?{behind}")
    yield page
    page.close()
    assert said == []


@pytest.fixture
def page(chromium: Any, stage: RecordingStage, request: pytest.FixtureRequest) -> Iterator[Any]:
    """At the recording's begin. A parameter: what is behind the address."""
    with Server(stage) as server, opened(chromium, server, f"still&{getattr(request, 'param', '')}") as page:
        until(page, "view.frame && view.series && document.documentElement.dataset.theme")
        yield page


def seek(page: Any, t: int) -> None:
    page.evaluate(f"view.t = {t}")
    until(page, f"view.frame.t === {t}")


def pixels(page: Any, height: int, width: int) -> Any:
    """Of the events' canvas, uint8 [height, width, 3]."""
    return np.array(page.evaluate("Array.from(field.pixels())"), np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("page", ["", "canvas"], indirect=True)
def test_event_pixels_are_those_of_render(page: Any, stage: RecordingStage) -> None:
    """By WebGL and without it, dark and light, and of a part of the sensor."""
    first = int(stage.scene.events["t"][0])
    assert page.evaluate("field.way") in ("webgl", "canvas")
    for after in (500_000, 90_000):
        seek(page, first + after)
        fade = page.evaluate("parseFloat(document.querySelector('#fade-value').textContent) * 1000")
        frame = stage.scene.frame(first + after, int(fade))
        assert np.array_equal(pixels(page, 128, 128), colours("dark")[frame.events])
    page.keyboard.press("d")
    until(page, "document.documentElement.dataset.theme === 'light'")
    assert np.array_equal(pixels(page, 128, 128), colours("light")[frame.events])
    box = page.locator("#events").bounding_box()
    x, y, side = box["x"], box["y"], box["width"]
    page.mouse.move(x + side / 4 + 1, y + side / 8 + 1)
    page.mouse.down()
    page.mouse.move(x + side * 3 / 4 - 1, y + side / 2 - 1)
    page.mouse.up()
    until(page, "view.part")
    assert page.evaluate("view.part") == {"x": 32, "y": 16, "width": 64, "height": 48}
    assert np.array_equal(pixels(page, 48, 64), colours("light")[frame.events[16:64, 32:96]])
    assert "crop 64×48 at 32,16" in page.locator("#event-count").inner_text()
    page.keyboard.press("Escape")
    until(page, "!view.part")


def test_squares_are_at_the_tokens_patches(page: Any, stage: RecordingStage) -> None:
    t = int(stage.scene.tokens.t[20])
    seek(page, t)
    colour = f"{tuple(colours('dark')[TOKEN + SHADES - 1].tolist())}"
    at = """([x, y]) => { const c = document.querySelector('#tokens'); const s = c.width / 8;
        return Array.from(c.getContext('2d').getImageData((x + 0.5) * s, (y + 0.5) * s, 1, 1).data.slice(0, 3)); }"""
    shown = page.evaluate(at, [int(stage.scene.tokens.x[20]), int(stage.scene.tokens.y[20])])
    assert f"{tuple(shown)}" == colour
    shades = page.evaluate("Array.from(view.frame.tokens.data)")
    for place, shade in enumerate(shades):
        shown = page.evaluate(at, [place % 8, place // 8])
        assert shown == colours("dark")[shade].tolist()


def test_scrubbing_shows_that_time_and_what_was_said_then(page: Any, stage: RecordingStage) -> None:
    results = stage.scene.results
    assert results is not None
    first = int(stage.scene.events["t"][0])
    for after in (650_000, 150_000):
        page.locator("#scrub").fill(str(after))
        until(page, f"view.frame.t === {first + after}")
        assert page.locator("#time").inner_text() == f"{after / 1e6:.3f} s"
        shares = results.shares[results.at(first + after)]
        best = page.locator(".class.best")
        assert best.locator(".name").inner_text() == results.labels[int(np.argmax(shares))]
        assert best.locator("output").inner_text() == f"{100 * float(shares.max()):.1f}%"


def test_the_verdict_is_told(page: Any, stage: RecordingStage) -> None:
    results = stage.scene.results
    assert results is not None
    assert page.locator("#verdict").inner_text() == "computed on this machine"
    for t, logits in zip(results.t.tolist(), results.logits, strict=True):
        stage.device("sim", t, logits, 7, "ns")
    seek(page, int(results.t[-1]))
    until(page, "document.querySelector('#verdict').classList.contains('good')")
    assert f"sim equals the host: {len(results)} of {len(results)}" in page.locator("#verdict").inner_text()
    stage.device("sim", int(results.t[-1]), results.logits[-1] + np.float32(1), 7, "ns")
    seek(page, int(results.t[0]))
    until(page, "document.querySelector('#verdict').classList.contains('bad')")
    assert "sim DIFFERS FROM the host" in page.locator("#verdict").inner_text()


def test_a_slider_changes_the_tokens_at_once(page: Any) -> None:
    page.locator("#slider-threshold").fill("500")
    until(page, "view.series.settings.threshold === 32")
    expected = spedge.Tokenizer(width=128, height=128, patch_size=16, threshold=32).push(spedge.open(WAVE).events())
    assert f"{len(expected):,} tokens" in page.locator("#tokenizer-note").inner_text()
    page.locator("#slider-patch_size").fill("334")
    until(page, "view.series.settings.patch_size === 8")
    until(page, "view.frame.tokens.columns === 16")
    page.locator("#reset").click()
    until(page, "view.series.own && view.frame.tokens.columns === 8")


def test_it_works_by_keyboard(page: Any, stage: RecordingStage) -> None:
    first, last = (int(stage.scene.events["t"][i]) for i in (0, -1))
    page.keyboard.press("End")
    until(page, f"view.frame.t === {last}")
    page.keyboard.press("Home")
    until(page, f"view.frame.t === {first}")
    page.keyboard.press("Shift+ArrowRight")
    until(page, f"view.frame.t === {int(stage.scene.tokens.t[0])}")
    page.keyboard.press("ArrowRight")
    until(page, f"view.frame.t === {int(stage.scene.tokens.t[0]) + 40_000}")
    page.keyboard.press("-")
    assert page.locator("#speed").input_value() == "0.3"
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    until(page, f"view.playing && view.frame.t > {first + 30_000}")
    page.keyboard.press(" ")
    until(page, "!view.playing")
    seek(page, int(stage.scene.tokens.t[20]))
    page.locator("#tokens").focus()
    for _ in range(int(stage.scene.tokens.x[20])):
        page.keyboard.press("ArrowRight")
    for _ in range(int(stage.scene.tokens.y[20])):
        page.keyboard.press("ArrowDown")
    until(page, "document.querySelector('#token-facts dd')")
    page.wait_for_timeout(100)
    events = len(stage.scene.tokens.events_of(20))
    assert f"{events} (" in page.locator("#token-facts").inner_text()


def test_it_fits_a_phone_and_leaves_nothing_out(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for panel in ("#events", "#tokens", "#transport", "#model-panel", "#tokenizer-panel", "#token-panel"):
        assert page.locator(panel).is_visible()


class TrainedRun:
    """A run as a folder would tell it: two classes, three recordings, one of them taken for another."""

    def __init__(self) -> None:
        seen = SimpleNamespace(precision={}, recordings=[
            SimpleNamespace(name="a", numbers=(0,), label=0, said=0, share=0.9),
            SimpleNamespace(name="b", numbers=(1, 2), label=1, said=0, share=0.6),
        ])  # fmt: skip
        curves = {
            "train/loss": ([5, 10], [2.0, 1.0]),
            "val/accuracy": ([10], [0.5]),
            "learning_rate": ([5, 10], [1e-3, 5e-4]),
        }
        self.now = SimpleNamespace(labels=("clap", "wave"), curves=curves, step=10, steps=20, seen=seen, looked=10)

    def state(self) -> Any:
        return self.now

    def recording(self, number: int) -> Any:
        events = spedge.open(WAVE).events()
        return f"wave {number}", events[: (number + 1) * 1000], 128, 128, None


def test_a_training_is_shown_and_its_recordings(chromium: Any) -> None:
    """By keyboard, too, and on a phone's width."""
    run = TrainedRun()
    with Server(TrainingStage("run", run)) as server, opened(chromium, server, "still") as page:
        until(page, "view.shelf && !document.querySelector('#matrix-panel').hidden")
        assert page.locator("#run-step").inner_text() == "step 10 of 20"
        assert page.locator("#loss-now").inner_text() == "learned 1.000"
        assert page.locator("#score-now").inner_text() == "held out 0.500"
        lit = "document.querySelector('#loss').getContext('2d').getImageData(0, 0, 200, 100).data.some(Boolean)"
        assert page.evaluate(lit)
        assert not page.locator("#events-panel").is_visible()
        cells = page.locator("#matrix button")
        assert cells.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))") == [
            "1 of clap taken for clap", "1 of wave taken for clap",
        ]  # fmt: skip
        cells.nth(1).focus()
        page.keyboard.press("Enter")
        until(page, "view.frame && view.about.events === 2000")
        assert page.locator("#list-title").inner_text() == "wave taken for clap"
        page.locator("#list button").nth(1).click()
        until(page, "view.frame && view.about.events === 3000")
        last = int(run.recording(2)[1]["t"][-1])
        page.locator("h1").click()
        page.keyboard.press("End")
        until(page, f"view.frame.t === {last}")
        frame = page.evaluate("Array.from(view.frame.events.data)")
        assert sum(map(bool, frame)) > 100
        run.now = SimpleNamespace(**{**vars(run.now), "step": 15})
        until(page, "document.querySelector('#run-step').textContent.startsWith('step 15')")
        assert page.locator("#events-panel").is_visible()
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_check_is_shown_with_its_verdicts(chromium: Any) -> None:
    events, settings = spedge.open(WAVE).events(), TokenizerSettings.of(width=128, height=128, threshold=192)
    stage = CheckStage("gestures", settings, "sim", 2)
    tokens = spedge.Tokenizer(width=128, height=128, threshold=192).push(events)
    said = [(int(t), np.array([1, 2], np.float32)) for t in events["t"][1000::4000]]

    def add(name: str, problem: str | None) -> None:
        verdict: Any = SimpleNamespace(
            path=Path(name), passed=problem is None, problem=problem, label_host="clap", label_device="wave",
            logits_max_abs_diff=1e-6,
        )  # fmt: skip
        stage.add(Compared(verdict, events, tokens, ("clap", "wave"), said, said))

    with Server(stage) as server, opened(chromium, server, "still") as page:
        until(page, "view.shelf")
        add("a.raw", None)
        until(page, "view.frame && view.series")
        assert page.locator("#list-note").inner_text() == "1 of 1 passed, 1 to come"
        assert f"sim equals the host: {len(said)} of {len(said)} results" in page.locator("#verdict").inner_text()
        add("b.raw", "token 3 differs in x")
        until(page, "document.querySelectorAll('#list button').length === 2")
        page.locator("#list button").nth(1).click()
        until(page, "document.querySelector('#verdict').classList.contains('bad')")
        assert page.locator("#verdict").inner_text() == "sim DIFFERS FROM the host: token 3 differs in x"
        assert page.locator("#list button").nth(1).inner_text() == "✗ b.raw · clap / wave"
        page.keyboard.press("End")
        until(page, "document.querySelectorAll('.class.best').length === 1")
        assert page.locator(".class.best .name").inner_text() == "wave"


def test_a_label_key_makes_a_file_that_opens(chromium: Any, tmp_path: Path) -> None:
    """And a click does."""
    settings, events = TokenizerSettings.of(width=128, height=128), spedge.open(WAVE).events()
    with LiveStage("camera", settings) as stage:
        stage.labeller = Labeller(tmp_path, ["clap", "wave"], 128, 128, 0.25)
        with Server(stage) as server, opened(chromium, server, "") as page:
            until(page, "view.frame && document.querySelectorAll('#label-keys button').length === 2")
            page.keyboard.press("1")
            until(page, "document.querySelector('#label-note').textContent.includes('nothing has come')")
            stage.labeller.take(events)
            page.keyboard.press("2")
            until(page, "document.querySelector('#label-note').textContent.startsWith('kept wave 1')")
            page.locator("#label-keys button").nth(1).click()
            until(page, "document.querySelector('#label-note').textContent.startsWith('kept wave 2')")
    assert sorted(path.name for path in (tmp_path / "wave").iterdir()) == ["0001.raw", "0002.raw"]
    last = events[events["t"].astype(np.int64) > int(events["t"][-1]) - 250_000]
    assert np.array_equal(spedge.open(tmp_path / "wave" / "0001.raw").events(), last)


def test_boxes_are_drawn_as_what_they_are(chromium: Any) -> None:
    """A truth thick and in the colour of letters, what was found in its class's, a device's dashed."""
    events = np.zeros(2, EVENT_DTYPE)
    events["t"] = [0, 1000]
    boxes = np.array([(900, 20, 20, 40, 30, 1, 0), (900, 70, 20, 40, 30, 0.75, 1)], SEEN_DTYPE)
    scene = Scene(128, 128, events, boxes=boxes, names=("car", "two-wheeler"), steps=np.array([900]))
    stage = RecordingStage("boxes", scene, TokenizerSettings.of(width=128, height=128))
    device = boxes[1:].copy()
    device["y"] = 70
    stage.device_boxes("sim", 900, device)
    edge = """([x, y, length]) => { const c = document.querySelector('#over'), s = c.width / 128;
        const data = c.getContext('2d').getImageData(x * s - 1, y * s, 3, length * s).data, seen = [];
        for (let i = 4; i < data.length; i += 12)
            seen.push(data[i + 3] > 200 ? Array.from(data.slice(i, i + 3)) : null);
        return seen; }"""
    with Server(stage) as server, opened(chromium, server, "still") as page:
        until(page, "view.frame && view.series && document.documentElement.dataset.theme")
        seek(page, 1000)
        until(page, "view.frame.boxes.length === 3")
        ink, second = (colours("dark")[first + STEPS - 1].tolist() for first in (INK, line_of(1)))
        assert page.evaluate(edge, [20, 22, 26]).count(ink) > 40
        found = page.evaluate(edge, [70, 22, 26])
        assert found.count(second) > 0.9 * len(found)
        dashed = page.evaluate(edge, [70, 72, 26])
        assert 0.3 * len(dashed) < dashed.count(None) < 0.7 * len(dashed)
        assert "sim DIFFERS FROM the host: at 900 µs no box like the one" in page.locator("#boxes-verdict").inner_text()


def test_nothing_is_loaded_from_elsewhere(chromium: Any, stage: RecordingStage) -> None:
    with Server(stage) as server:
        page = chromium.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.address)
        until(page, "window.view && view.frames > 3")
        page.close()
    assert len(asked) >= 6 and all(url.startswith((server.address, "data:")) for url in asked)


def test_a_million_events_a_second_are_shown_in_time(chromium: Any) -> None:
    """320x240: frames a second while it plays, with software rendering. The bound is loose where machines are shared;
    docs/view.md has what was measured."""
    random = np.random.default_rng(0)
    events = np.zeros(1_500_000, EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 1_500_000, len(events)))
    events["x"], events["y"] = random.integers(0, 320, len(events)), random.integers(0, 240, len(events))
    settings = TokenizerSettings.of(width=320, height=240, threshold=256)
    tokens = spedge.Tokenizer(width=320, height=240, threshold=256).push(events)
    with Server(RecordingStage("fast", Scene(320, 240, events, 16, tokens), settings)) as server:
        page = chromium.new_page()
        page.goto(server.address)
        until(page, "window.view && view.frames > 3")
        before, begun = page.evaluate("[view.frames, performance.now()]")
        page.wait_for_timeout(800)
        after, ended = page.evaluate("[view.frames, performance.now()]")
        page.close()
    rate = (after - before) / (ended - begun) * 1000
    print(f"{rate:.1f} frames a second")
    assert rate >= 8
