"""A page on what happens now: it shows it, and changes nothing, however it behaves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.device.open import Device
from spedge.jobs.run import Outcome, Session, Summary, Triggers
from spedge.model.bundle import Bundle
from spedge.recordings import write
from spedge.sources import RecordingSource
from spedge.tokens.settings import TokenizerSettings
from tests.events import scattered
from tests.needs import needs

needs("PIL", "starlette", "uvicorn", "wsproto")

from spedge.view.live import LiveStage  # noqa: E402
from spedge.view.scene import Scene  # noqa: E402
from spedge.view.server import Server  # noqa: E402
from tests.page_client import Page  # noqa: E402

SETTINGS = TokenizerSettings.of(width=34, height=34, patch_size=10, threshold=8)


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def stage() -> Iterator[LiveStage]:
    with LiveStage("a camera", SETTINGS) as stage:
        yield stage


def asked(stage: LiveStage, fade: int = 20_000) -> Any:
    return stage.answer({"op": "frame", "t": None, "fade": fade})


def test_the_newest_is_what_a_recordings_stage_shows_then(stage: LiveStage) -> None:
    events = scattered(3000, 300_000, 1, 34, 5_000)
    tokens = spedge.Tokenizer(width=34, height=34, patch_size=10, threshold=8).push(events)
    scene = Scene(34, 34, events, 10, tokens)
    for part in np.array_split(events, 7):
        stage.offer(part)
        until(lambda part=part: asked(stage).document["t"] == int(part["t"][-1]))  # type: ignore[misc]
        t = int(part["t"][-1])
        frame = Scene(34, 34, events[: np.searchsorted(events["t"], t, "right")], 10, tokens).frame(t, 20_000)
        parts = asked(stage).parts
        if int(np.count_nonzero(events["t"] == t)) == 1:
            assert parts == (frame.events.tobytes(), frame.tokens.tobytes())
    document = asked(stage).document
    assert (document["event_count"], document["token_count"]) == (len(events), len(scene.tokens))
    stage.offer(events[:10])  # it begins anew
    until(lambda: asked(stage).document["t"] == int(events["t"][9]))


def test_sliders_count_from_now_on(stage: LiveStage) -> None:
    stage.answer({"op": "tokenizer", "settings": {"patch_size": 17, "threshold": 4}})
    events = scattered(500, 100_000, 2, 34, 0)
    stage.offer(events)
    until(lambda: asked(stage).document["t"] == int(events["t"][-1]))
    tokens = spedge.Tokenizer(width=34, height=34, patch_size=17, threshold=4).push(events)
    assert asked(stage).document["token_count"] == len(tokens) > 0
    assert asked(stage).document["tokens"] == [2, 2]
    assert not stage.answer({"op": "series"}).document["own"]
    with pytest.raises(spedge.UsageError):
        stage.answer({"op": "tokenizer", "settings": {"threshold": 0}})


def test_what_comes_too_fast_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes it away: the thread has not begun."""
    monkeypatch.setattr("spedge.view.live._MOST_EVENTS", 1000)
    stage, events = LiveStage("a camera", SETTINGS), scattered(600, 100_000, 2, 34, 0)
    for _ in range(50):
        stage.offer(events)
    assert stage._held == 600
    assert "29,400 events came too fast to be shown" in asked(stage).document["note"]


# ---------------------------------------------------------------- beside a device


class _Pages:
    """Pages of every kind, on a session's events: one that looks, one that stalls, one that goes."""

    def __init__(self, server: Server) -> None:
        self.looks, self.stalls, self.goes = (Page(server.address) for _ in range(3))
        for _ in range(40):
            self.stalls.say(json.dumps({"op": "frame", "t": None, "fade": 50_000}))
        self.goes.say(json.dumps({"op": "frame", "t": None, "fade": 50_000}))

    def seen(self) -> dict[str, Any]:
        self.goes.close()
        return self.looks.ask("frame", t=None, fade=50_000)


def run(device: Device, bundle: Bundle, path: Path, **more: Any) -> tuple[list[Outcome], Summary, Session]:
    with RecordingSource(path) as source:
        session = Session(device, bundle, source, Triggers(20_000), **more)
        outcomes = [outcome for state in session.run() for outcome in state.outcomes]
        return outcomes, session.summary(), session


def test_results_are_the_same_with_pages_that_look_stall_and_go(device: Device, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    write(path, scattered(6000, 400_000, 3, 34, 0), 34, 34)
    plain, summary, _ = run(device, bundle, path)
    with LiveStage("a", bundle.token_input.tokenizer, bundle.labels, "sim") as stage, Server(stage) as server:
        pages = _Pages(server)
        with RecordingSource(path) as source:
            session = Session(device, bundle, source, Triggers(20_000), watch=stage.offer)
            watched: list[Outcome] = []
            for state in session.run():
                stage.progress(state)
                pages.seen()
                watched += state.outcomes
            watched_summary = session.summary()
        events = spedge.open(path).events()
        until(lambda: pages.seen()["t"] == int(events["t"][-1]))
        assert pages.seen()["event_count"] == len(events)
        told = pages.looks.ask("series")
        assert told["labels"] == list(bundle.labels) and told["device"]["name"] == "sim"
        assert np.allclose(told["device"]["logits"], [outcome.logits for outcome in watched], atol=1e-4)
        assert pages.seen()["token_count"] == watched[-1].tokens
        assert "lost: none" in pages.seen()["note"]
        pages.looks.close()
        pages.stalls.close()
    assert len(watched) == len(plain) > 10
    for one, other in zip(plain, watched, strict=True):
        assert (one.t, one.tokens, one.window, one.label) == (other.t, other.tokens, other.window, other.label)
        assert np.array_equal(one.logits, other.logits)
    assert summary.accounted and watched_summary.accounted
    assert (summary.offered, summary.stats.tokens) == (watched_summary.offered, watched_summary.stats.tokens)


def test_a_camera_is_shown_until_it_ends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Words on a line, as of a camera: the page's address is said, and shows them."""
    import threading

    main, camera = os.openpty()
    name = f"serial:{os.ttyname(camera)},width=34,height=34"
    seen: list[dict[str, Any]] = []
    stages: list[LiveStage] = []

    class Watched(LiveStage):
        def __enter__(self) -> Watched:
            stages.append(self)
            super().__enter__()
            return self

        def __exit__(self, *given: object) -> None:
            seen.append(asked(self).document)
            super().__exit__(*given)

    monkeypatch.setattr("spedge.view.live.LiveStage", Watched)
    events = scattered(200, 100_000, 4, 34, 0)

    def play() -> None:
        os.write(main, spedge.evt2.encode_words(events).tobytes())
        until(lambda: asked(stages[0]).document["event_count"] == len(events))
        os.close(main)

    thread = threading.Thread(target=play)
    monkeypatch.setattr("webbrowser.open", lambda _: thread.start())
    code = cli.execute(["view", name])
    thread.join()
    os.close(camera)
    said = capsys.readouterr().err
    assert code == 3 and f"{name} is at http://127.0.0.1:" in said
    assert seen[0]["event_count"] == len(events)
    assert cli.execute(["view", "camera:evk4", "bundle"]) == 2
    assert "spedge run BUNDLE --view" in capsys.readouterr().err


def test_an_openmv_camera_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As every source is that is no file: a page that reads a name as a recording's would say that there is no file."""
    from spedge.cli.view import _LIVE
    from spedge.sources import KINDS, OpenMvCamera
    from tests.openmv_camera import FakeOpenMv

    assert {form.partition(":")[0] for form in KINDS} - {"RECORDING"} == set(_LIVE)
    offered: list[int] = []

    class Watched(LiveStage):
        def offer(self, events: Any) -> None:
            super().offer(events)
            offered.append(len(events))
            if sum(offered) == 3000:
                sources[0].stop()

    sources: list[OpenMvCamera] = []
    monkeypatch.setattr("spedge.view.live.LiveStage", Watched)
    monkeypatch.setattr("webbrowser.open", lambda _: None)
    monkeypatch.setattr(OpenMvCamera, "_begun", _noting(OpenMvCamera._begun, sources))
    with FakeOpenMv(count=3000, patient=True) as camera:
        assert cli.execute(["view", f"openmv:{camera.path}"]) == 0, capsys.readouterr().err
        assert f"openmv:{camera.path} is at http://127.0.0.1:" in capsys.readouterr().err
    assert sum(offered) == 3000


def _noting(method: Callable[[Any], None], seen: list[Any]) -> Callable[[Any], None]:
    def noting(self: Any) -> None:
        if self not in seen:
            seen.append(self)
        method(self)

    return noting
