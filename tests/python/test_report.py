"""Reports as HTML: `spedge check --html` and `spedge evaluate --html`. One file, whole, with nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.paths import assets_dir
from spedge.cli import execute
from spedge.model.bundle import Bundle
from spedge.view.report import Markup, curves, grid, image, matrix, page, stacked, table
from spedge.view.reports import check_page, detection_page, evaluation_page
from tests import browser

BUNDLE = assets_dir() / "gestures-pico"
ALONE = {"meta", "rect", "polyline", "img", "br"}  # elements without an end


class Document(HTMLParser):
    """What a browser would see: texts, elements with their attributes; all that is opened is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open
        assert {name for name, _ in self.elements} & {"script", "link", "iframe", "object"} == set()
        for name, attributes in self.elements:
            assert not {key for key in attributes if key.startswith("on") or key in ("href", "srcset")}
            assert name != "img" or (attributes["src"] or "").startswith("data:image/png;base64,")
        assert not re.search(r"https?:|url\(|@import", html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def check_document(**first: Any) -> dict[str, Any]:
    """Of two recordings on a board, as `CheckReport.to_json` has it."""
    row = {
        "path": "/there/a.raw", "passed": True, "problem": None, "events_sent": 1200, "events_device": 1200,
        "events_pending": 3, "events_dropped": {"refractory": 0}, "tokens_host": 30, "tokens_device": 30,
        "tokens_equal": True, "logits_max_abs_diff": 2.5e-6, "label_host": "clap", "label_device": "clap",
        "cost": {"tokenize": 100, "embed": 300, "encode": 1600}, "results": 0,
    }  # fmt: skip
    rows = [row | first, row | {"path": "/there/b.raw"}]
    return {
        "board": "sim", "passed": all(row["passed"] for row in rows), "cost_unit": "ns", "line": {"resent": 0},
        "recordings": rows,
    }  # fmt: skip


def test_what_is_not_ours_is_escaped() -> None:
    nasty = "<script>alert('x')</script>&\""
    part = table((nasty,), [[nasty]]).html + stacked({nasty: [1.0]}, [nasty], nasty).html
    part += matrix(np.eye(1, dtype=np.int64), [nasty]).html + image(b"png", nasty).html
    found = Document(page(nasty, None, nasty, [(nasty, Markup(part))]))
    assert sum(nasty in text for text in found.texts) >= 8
    assert found.all("img")[0]["alt"] == nasty and found.all("th")[-1] == {}


def test_a_check_says_its_verdicts_numbers_and_costs() -> None:
    bundle = Bundle.load(BUNDLE)
    found = Document(check_page(check_document(), bundle, {}))
    assert found.texts.count("passed") == 3 and "FAILED" not in found.texts
    assert {"a.raw", "1,200", "2.5e-06", "clap", "1,600", bundle.hash} <= set(found.texts)
    assert any("2 of 2 passed" in text for text in found.texts)
    widths = [float(bar["width"] or 0) for bar in found.all("rect")]
    assert widths[:3] == pytest.approx([470 * part / 2000 for part in (100, 300, 1600)], abs=0.06)
    problem = "its tokens differ: <7>"
    wrong = check_document(passed=False, problem=problem, tokens_equal=False, logits_max_abs_diff=None)
    found = Document(check_page(wrong, bundle, {}))
    assert found.texts.count("FAILED") == 2 and found.texts.count("passed") == 1
    assert f"a.raw: {problem}" in found.texts and "NO" in found.texts


def test_pictures_are_of_their_numbers() -> None:
    t = np.arange(1000.0)
    (line,) = Document(curves(t, t[:, None], ("rate",)).html).all("polyline")
    points = [tuple(map(float, point.split(","))) for point in (line["points"] or "").split()]
    assert 300 < len(points) <= 401
    assert points[0][0] < points[-1][0] == 636 and points[0][1] > points[-1][1] == 6  # upwards, to the end
    assert Document(curves(np.zeros(1), np.ones((1, 2)), ("a", "b")).html).all("polyline")  # one point, no range
    squares = Document(grid(np.array([[0, 4], [2, 0]])).html).all("rect")[1:]
    assert [(s["x"], s["y"], s["fill-opacity"]) for s in squares] == [("1", "0", "1.00"), ("0", "1", "0.57")]
    cells = Document(matrix(np.array([[3, 1], [0, 0]]), ("a", "b")).html)
    assert [text for text in cells.texts if text in ("3", "·")] == ["3", "·", "·"]
    assert "--good) 52%" in (cells.all("td")[0]["style"] or "") and "--bad) 18%" in (cells.all("td")[1]["style"] or "")


def test_evaluations_say_their_figures(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "model": "runs/mine", "data": "gestures", "split": "test", "samples": 4, "top1": 0.75, "loss": None,
        "labels": ["a", "b"], "per_class": {"a": 0.75}, "confusion": [[3, 1], [0, 0]], "slices": 9,
        "tokens_per_slice": 12.5, "tokens_per_second": None, "milliseconds": {"load": {"p50": 1, "p90": 2, "p99": 3}},
    }  # fmt: skip
    found = Document(evaluation_page(document, tmp_path))
    assert {"75.0%", "12.5", "3.00"} <= set(found.texts) and "Training" not in found.texts
    (tmp_path / "curves.csv").write_text("step,train/loss,val/loss\n1,2.0,\n2,1.5,1.75\n3,1.0,\n")
    found = Document(evaluation_page(document | {"precision": "int8", "fp32": {"top1": 1.0}}, tmp_path))
    assert "train/loss" in found.texts and "val/loss" not in found.texts  # of one point there is no curve
    assert any("in int8; in fp32 100.0%" in text for text in found.texts)
    boxes = {
        "model": "runs/boxes", "data": "gen1", "split": "test", "recordings": 2, "steps": 24, "labels": 7, "mAP": 0.5,
        "mAP@S": -1, "per_class": {"car": [0.5, 0.625]}, "recall": {"all": 0.5, "S": -1}, "tokens_per_step": 33.25,
        "seconds": {"detect": 1.5},
    }  # fmt: skip
    found = Document(detection_page(boxes, b"png"))
    assert {"0.500", "0.625", "none there", "33.25", "1.50"} <= set(found.texts) and "mAP@S" not in found.texts
    assert len(found.all("img")) == 1 and not Document(detection_page(boxes)).all("img")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a check on this machine."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    recording = assets_dir() / "recordings" / "wave.raw"
    assert execute(["check", str(BUNDLE), str(recording), "--board", "host", "--html", str(path)]) == 0
    return path


def test_the_verb_writes_one_file_with_pictures(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Document(report.read_text(encoding="utf-8"))
    assert "wave.raw" in found.texts and "sample 1" in found.texts
    lines = found.all("polyline")
    assert len(lines) == 1 + 11  # the rate, and each class
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    assert execute(["check", str(BUNDLE), "--board", "host", "--html", str(report.parent / "no" / "r.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_it_is_shown_in_dark_and_light_without_a_network(report: Path) -> None:
    if missing := browser.missing():
        pytest.skip(missing)
    with browser.browser() as chromium:
        seen = {}
        for scheme in ("dark", "light"):
            shown = chromium.new_page(color_scheme=scheme, viewport={"width": 380, "height": 800})
            said: list[str] = []
            asked: list[str] = []
            shown.on("console", lambda message, said=said: said.append(message.text))
            shown.on("request", lambda request, asked=asked: asked.append(request.url))
            shown.goto(report.as_uri())
            seen[scheme] = shown.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
            assert asked == [report.as_uri()] and not said
            assert shown.locator("polyline").first.bounding_box()["height"] > 20
            assert shown.evaluate("document.documentElement.scrollWidth") <= 380  # as narrow as a phone
    assert seen == {"dark": "rgb(20, 24, 32)", "light": "rgb(246, 247, 249)"}
