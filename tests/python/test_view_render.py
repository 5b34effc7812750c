"""Recordings as pictures that move: what is where, in which colour, and files that other programs read."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.base.paths import assets_dir
from spedge.jobs.along import along
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.recordings import write
from tests.needs import needs

needs("PIL", "matplotlib")

from PIL import Image  # noqa: E402

from spedge.view.draw import Drawer  # noqa: E402
from spedge.view.palette import LINE, OFF, ON, PANEL, SHADES, STEPS, THEMES, TOKEN, colours  # noqa: E402
from spedge.view.render import Look, times_of  # noqa: E402
from spedge.view.scene import SEEN_DTYPE, Results, Scene, softmax  # noqa: E402


def events_of(rows: list[tuple[int, int, int, int]]) -> Any:
    return np.array(rows, spedge.EVENT_DTYPE)


def scene_of(events: Any, threshold: float = 4, **more: Any) -> Scene:
    tokenizer = spedge.Tokenizer(width=40, height=30, patch_size=10, threshold=threshold)
    return Scene(40, 30, events, 10, tokenizer.push(events), **more)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    events = np.zeros(3000, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 1_000_000, 3000)) + 70_000
    events["x"], events["y"] = random.integers(0, 40, 3000), random.integers(0, 30, 3000)
    events["p"] = random.integers(0, 2, 3000)
    write(tmp_path / "a.raw", events, 40, 30)
    return tmp_path / "a.raw"


def test_an_events_shade_is_its_age_and_polarity() -> None:
    """By the definition, event by event: the newest of a pixel, SHADES steps over the fade, gone after it."""
    random = np.random.default_rng(1)
    rows = sorted(zip(*random.integers(0, [[5000], [40], [30], [2]], (4, 400)).tolist(), strict=True))
    scene, fade = scene_of(events_of(rows)), 1000  # type: ignore[arg-type]
    for t in (0, 999, 2500, 4999, 5600):
        expected = np.full((30, 40), PANEL)
        for when, x, y, p in rows:
            if t - fade < when <= t:
                expected[y, x] = (ON if p else OFF) + -(-SHADES * (fade - (t - when)) // fade) - 1
        frame = scene.frame(t, fade)
        assert np.array_equal(frame.events, expected), t
        assert frame.event_count == sum(t - fade < row[0] <= t for row in rows)


def test_patches_of_tokens_are_lit_when_they_fire() -> None:
    events = events_of([(t, 12, 3, 1) for t in range(100, 104)] + [(t, 39, 29, 0) for t in range(200, 204)])
    scene = scene_of(events)
    assert scene.tokens.t.tolist() == [103, 203]
    assert not scene.frame(102, 100).tokens.any()
    first = scene.frame(103, 100).tokens
    assert first[0, 1] == TOKEN + SHADES - 1 and np.count_nonzero(first) == 1
    both = scene.frame(203, 100).tokens
    assert both[2, 3] == TOKEN + SHADES - 1 and TOKEN <= both[0, 1] < both[2, 3] and np.count_nonzero(both) == 2
    assert not scene.frame(203 + 500, 100).tokens.any()


def test_a_picture_has_events_tokens_and_boxes_where_they_are() -> None:
    events = events_of([(t, 12, 3, 1) for t in range(100, 104)])
    boxes = np.array([(90, 0, 0, 5, 5, 0.9, 0), (103, 20, 10, 9, 6, 0.5, 2), (300, 1, 1, 3, 3, 1, 1)], SEEN_DTYPE)
    scene = scene_of(events, boxes=boxes)
    drawer = Drawer(scene, 100, 203, "a", scale=4)
    picture = drawer.draw(scene.frame(103, 100))
    assert picture.shape == drawer.size and all(side % 2 == 0 for side in drawer.size)
    top, left = drawer._tops[0], 16
    panel = picture[top : top + 120, left : left + 160]
    assert (panel[12:16, 48:52] == ON + SHADES - 1).all()
    colour = LINE + STEPS * 2 + STEPS - 1
    assert (panel[40:42, 80:117] == colour).all() and (panel[40:64, 80:82] == colour).all()
    assert (panel[0:20, 0:20] == PANEL).all()  # the box before is gone
    squares = picture[top : top + 120, left + 160 + 16 :]
    assert (squares[1:39, 42:79] == TOKEN + SHADES - 1).all()


def test_large_sensors_are_made_smaller_and_lose_no_event() -> None:
    events = events_of([(5, 1279, 719, 1), (9, 641, 0, 0)])
    scene = Scene(1280, 720, events, 16)
    drawer = Drawer(scene, 5, 9, "large")
    picture = drawer.draw(scene.frame(9, 100))
    top = drawer._tops[0]
    panel = picture[top : top + 360, 16 : 16 + 640]
    assert panel[359, 639] >= ON and OFF <= panel[0, 320] < ON and np.count_nonzero(panel) == 2


@pytest.mark.parametrize("suffix", ["png", "gif", "apng", "webp", "mp4"])
def test_every_format_has_the_frames(
    recording: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as the range has, each for its time, with the pixels that were drawn; of a video, about these."""
    if suffix == "mp4":
        needs("ffmpeg", "ffprobe")
    out = tmp_path / f"out.{suffix}"
    given = ["--from-ms", "100", "--to-ms", "300", "--speed", "0.5", "--fps", "25", "--threshold", "8"]
    assert cli.execute(["render", str(recording), str(out), *given, "--patch-size", "10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == (1 if suffix == "png" else 10) and (told["start_us"], told["end_us"]) == (100_000, 300_000)
    scene = scene_of(spedge.open(recording).events(), 8)
    first = int(scene.events["t"][0])
    drawer = Drawer(scene, first + 100_000, first + 300_000, "a.raw", "  ×0.5")
    times = times_of(scene, Look(100_000, 300_000, 0.5), f".{suffix}")
    expected = [colours("dark")[drawer.draw(scene.frame(t, 50_000))] for t in times.tolist()]
    if suffix == "mp4":
        raw = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", out, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        found = np.frombuffer(raw, np.uint8).reshape(-1, *drawer.size, 3)
        assert len(found) == 10
        for one, other in zip(found, expected, strict=True):
            assert np.abs(one.astype(int) - other).mean() < 6
        return
    with Image.open(out) as image:
        assert (image.width, image.height) == (told["width"], told["height"])
        shown = 0
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            times_shown = max(1, round(image.info.get("duration", 40) / 40))  # equal frames may be one
            shown += times_shown
            assert np.array_equal(np.asarray(image.convert("RGB")), expected[shown - 1]), number
        assert shown == len(expected)


def test_hundredths_of_gifs_add_up(recording: Path, tmp_path: Path) -> None:
    assert cli.execute(["render", str(recording), str(tmp_path / "a.gif"), "--fps", "30", "--to-ms", "500"]) == 0
    with Image.open(tmp_path / "a.gif") as image:
        total = 0
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            total += image.info["duration"]
    assert total == 500


def test_what_the_model_says_is_drawn_at_its_time(tmp_path: Path) -> None:
    """The bars are the softmax of the newest result; before the first there are none."""
    events = events_of([(t, 12, 3, 1) for t in range(0, 1000, 10)])
    logits = np.array([[0, 3, 1], [4, 0, 0]], np.float32)
    scene = scene_of(events, results=Results(("a", "b", "c"), np.array([200, 600]), logits))
    drawer = Drawer(scene, 0, 990, "a")
    for t, result in ((100, -1), (200, 0), (599, 0), (600, 1)):
        picture = drawer.draw(scene.frame(t, 100))
        bars = picture[drawer._tops[2] :, -16 - 70 : -16]
        for number in range(3):
            whole = LINE + STEPS * number + STEPS - 1
            share = 0.0 if result < 0 else float(softmax(logits)[result, number])
            assert np.count_nonzero(bars[16 * number + 5] == whole) == round(70 * share), (t, number)


def test_a_bundles_tokens_and_logits_are_those_of_the_reference(tmp_path: Path) -> None:
    from spedge.view.open import open_scene

    path, bundle = assets_dir() / "recordings" / "wave.raw", assets_dir() / "gestures-pico"
    scene = open_scene(path, bundle=bundle, every_us=200_000)
    reference = Reference(Bundle.load(bundle))
    whole = reference.compute(scene.events)
    assert np.array_equal(scene.tokens.t, whole.tokens.t)
    assert scene.results is not None and len(scene.results) >= 5
    assert np.array_equal(scene.results.logits[-1], whole.logits)
    said = list(along(reference, scene.events, 200_000))
    assert [one.t for one in said] == scene.results.t.tolist()
    middle = said[2]
    before = scene.events[scene.events["t"] < middle.t]
    assert np.array_equal(middle.logits, reference.compute(before).logits)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["a.raw", "a.avi"], "a.avi: a picture is written as .png, .gif, .apng, .webp, .mp4"),
        (["a.raw", "a.gif", "--speed", "0"], "a speed of 0"),
        (["a.raw", "a.gif", "--theme", "red"], "use dark or light"),
        (["a.raw", "a.gif", "--from-ms", "2000"], "there is nothing from 2000 ms"),
        (["a.raw", "a.gif", "--speed", "0.0001"], "choose a shorter range or a higher speed, or write an .mp4"),
        (["a.raw", "no/a.gif"], "there is no folder"),
        (["a.raw", "a.gif", "--fade-ms", "0"], "more than 0 ms"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    recording: Path,
    given: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(recording.parent)
    assert cli.execute(["render", *given]) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in recording.parent.iterdir()) == ["a.raw"]


def test_an_mp4_without_ffmpeg_says_what_to_install(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = recording.with_suffix(".mp4")
    monkeypatch.setenv("PATH", str(recording.parent))
    assert cli.execute(["render", str(recording), str(out)]) == 2
    assert "made by ffmpeg: sudo apt-get install ffmpeg" in capsys.readouterr().err
    program = recording.parent / "ffmpeg"
    program.write_text("#!/bin/sh\necho it is tired >&2\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{recording.parent}:/usr/bin:/bin")
    assert cli.execute(["render", str(recording), str(out)]) == 2
    assert "ffmpeg did not write the video: it is tired" in capsys.readouterr().err
    assert not out.exists()


def test_both_themes_tell_all_that_is_drawn_apart() -> None:
    """From black to white, against what lies behind: events and tokens from half their fade on, and whole lines."""
    for theme in THEMES:
        table = colours(theme).astype(float) @ [0.299, 0.587, 0.114]
        for first in (OFF, ON, TOKEN):
            assert (np.abs(table[first + SHADES // 2 : first + SHADES] - table[PANEL]) > 50).all(), theme
        assert (np.abs(table[LINE + STEPS - 1 : LINE + STEPS * 12 : STEPS] - table[PANEL]) > 60).all(), theme
