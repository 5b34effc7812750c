"""The page of a check: host and device one over the other, the check's verdict, and a report that is as without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.device.open import Device
from spedge.jobs.check import CheckReport, check
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.events import scattered
from tests.needs import needs
from tests.page_client import Page

needs("cc", "starlette", "uvicorn", "wsproto")

from spedge.view.checking import CheckStage  # noqa: E402
from spedge.view.server import Server  # noqa: E402


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{name}.raw" for name in "ab"]
    for seed, path in enumerate(found):
        write(path, scattered(3000, 300_000, seed, 34, 123_456_789), 34, 34)
    return found


def stage_of(bundle: Bundle, recordings: int = 2) -> CheckStage:
    return CheckStage("a check", bundle.token_input.tokenizer, "sim", recordings)


def without_costs(report: CheckReport[Any]) -> Any:
    document = report.to_json()
    for one in document["recordings"]:
        del one["cost"]
    return document


def test_what_is_compared_is_shown_and_the_report_is_the_same(
    bundle: Bundle, device: Device, paths: list[Path]
) -> None:
    every = {"every_us": 50_000}
    plain = check(bundle, paths, device, **every)  # type: ignore[arg-type]
    stage = stage_of(bundle)
    with Server(stage) as server:
        page = Page(server.address)
        assert page.ask("state", seen=-1)["checks"] == []
        watched = check(bundle, paths, device, watch=stage.add, **every)  # type: ignore[arg-type]
        assert without_costs(watched) == without_costs(plain) and watched.passed
        told = page.ask("state", seen=0)
        assert [(one["name"], one["passed"], one["host"]) for one in told["checks"]] == [
            (path.name, True, one.label_host) for path, one in zip(paths, watched.recordings, strict=True)
        ]
        assert "checks" not in page.ask("state", seen=2)
        for number, (path, one) in enumerate(zip(paths, watched.recordings, strict=True)):
            about = page.ask("show", number=number)["about"]
            series = page.ask("series")
            assert (about["name"], about["events"], series["tokens"]) == (path.name, 3000, one.tokens_host)
            assert series["device"]["name"] == "sim" and series["labels"] == list(bundle.labels)
            assert len(series["host"]["t"]) == one.results + 1 >= 6
            assert series["host"]["t"] == series["device"]["t"]
            assert np.allclose(series["host"]["logits"], series["device"]["logits"], atol=1e-4)
            assert np.allclose(series["device"]["logits"][-1], one.logits_device, atol=1e-5)
            assert series["verdict"]["equal"] and series["verdict"]["of"] == one.results + 1
            t = series["host"]["t"][2]
            frame = page.ask("frame", t=t, fade=40_000)
            events = spedge.open(path).events()
            times = events["t"].astype(np.int64) - (int(events["t"][0]) - (about["first"]))
            assert frame["event_count"] == int(((times <= t) & (times > t - 40_000)).sum()) > 0
        page.close()


def test_what_differs_is_said_in_the_checks_words(
    bundle: Bundle, device: Device, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is none, too, of which JSON knows nothing."""
    honest = device.infer

    def wrong() -> Any:
        result = honest()
        logits = result.logits.copy()
        logits[0] = np.nan
        return replace(result, outputs={**result.outputs, "logits": logits})

    monkeypatch.setattr(device, "infer", wrong)
    stage = stage_of(bundle, 1)
    report = check(bundle, paths[:1], device, watch=stage.add)
    (told,) = stage.state(0)["checks"]
    assert not told["passed"] and told["problem"] == report.recordings[0].problem
    with Server(stage) as server:
        page = Page(server.address)
        page.ask("show", number=0)
        verdict = page.ask("series")["verdict"]
        assert not verdict["equal"] and verdict["largest"] is None
        assert verdict["problem"] == report.recordings[0].problem
        assert "no recording 7" in page.ask("show", number=7)["error"]
        page.close()


def test_of_too_many_only_the_verdict_is_kept(
    bundle: Bundle, device: Device, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spedge.view.checking.KEPT_EVENTS", 4000)
    stage = stage_of(bundle)
    check(bundle, paths, device, watch=stage.add)
    stage.answer({"op": "show", "number": 0})
    assert [one["passed"] for one in stage.state(0)["checks"]] == [True, True]
    with pytest.raises(spedge.InputError, match=r"b\.raw was too much .* check it by itself"):
        stage.answer({"op": "show", "number": 1})
