"""Which frames a detector does best and worst in, and how they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.cli import execute
from spedge.events.arrays import empty_events
from spedge.training.metrics.coco import SCORED_DTYPE, Rule
from spedge.training.metrics.frames import scored_frames
from tests.detection_sets import driving
from tests.needs import needs

RULE = Rule(side=5, diagonal=5)


def boxes(*rows: tuple[int, float, float, float, float, int, float]) -> NDArray[Any]:
    """t in ms, x, y, w, h, label, score."""
    out = np.array(list(rows), SCORED_DTYPE)
    out["t"] *= 1000
    return out


def test_frames_by_quality() -> None:
    """Right: of the same class, at an IoU of .5, once, within the tolerance; what is too small or early counts not."""
    labels = boxes(
        (100, 0, 0, 50, 50, 0, 0), (600, 0, 0, 20, 20, 1, 0), (700, 0, 0, 20, 20, 1, 0), (700, 50, 50, 20, 10, 0, 0),
        (700, 90, 90, 2, 2, 0, 0), (800, 0, 0, 20, 20, 1, 0),
    )  # fmt: skip
    found = boxes(
        (600, 0, 0, 20, 20, 1, 0.9), (600, 0, 0, 20, 20, 1, 0.2), (700, 0, 0, 20, 20, 1, 0.5),
        (700, 0, 0, 20, 20, 1, 0.4), (725, 50, 50, 10, 10, 0, 0.8), (726, 0, 0, 20, 20, 1, 0.8),
        (800, 0, 0, 20, 20, 0, 0.9),
    )  # fmt: skip
    frames = scored_frames([(labels[:0], found), (labels, found)], RULE)
    assert [(f.recording, f.t, f.right, f.missed, f.wrong) for f in frames] == [
        (1, 600_000, 1, 0, 0), (1, 700_000, 2, 0, 1), (1, 800_000, 0, 1, 1)
    ]  # fmt: skip
    assert [f.quality for f in frames] == pytest.approx([1, 1.5 / 2.5, 0])
    assert [len(f.labels) for f in frames] == [1, 2, 1]
    assert scored_frames([], RULE) == []


def test_what_is_drawn(tmp_path: Path) -> None:
    """Pixels of events, labels and boxes where they are, enlarged as the frame is."""
    needs("PIL", "matplotlib")
    from PIL import Image

    from spedge.view.frames import Shot, draw_frames
    from spedge.view.palette import INK, MARGIN, ON, SHADES, STEPS, colours, line_of

    events = empty_events(2)
    events["t"], events["x"], events["y"], events["p"] = [60_000, 99_999], [30, 31], 40, 1
    labels, found = boxes((99, 50, 20, 40, 30, 0, 0)), boxes((99, 10, 60, 20, 20, 1, 0.75))
    shot = Shot("a", 99_999, events, labels, found)
    draw_frames([("best", [shot, shot]), ("worst", [])], (140, 105), ["car", "dog"], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        seen = np.asarray(image.convert("RGB"))
    assert seen.shape == (2 * 16 + 2 * (30 + 20 + 4 * 105 + 16) - 16, 2 * 16 + 2 * (4 * 140 + 16) - 16, 3)
    table = colours("dark")
    for left in (MARGIN, MARGIN + 4 * 140 + 16):
        panel = seen[MARGIN + 50 : MARGIN + 50 + 420, left : left + 560]
        newest = panel[4 * 40 : 4 * 41, 4 * 31 : 4 * 32].reshape(-1, 3)
        assert (newest == table[ON + SHADES - 1]).all()
        assert tuple(panel[4 * 40, 4 * 30]) != tuple(table[ON + SHADES - 1])
        for y, x in ((80, 200), (80, 360), (200, 260), (199, 359)):
            assert tuple(panel[y, x]) == tuple(table[INK + STEPS - 1])
        for y, x in ((240, 40), (320, 70), (270, 120)):
            assert tuple(panel[y, x]) == tuple(table[line_of(1) + STEPS - 1])
        assert tuple(panel[130, 260]) == tuple(table[0])


# ---------------------------------------------------------------- boxes over time

LINES = """{"t_us": 99999, "boxes": [{"x": 20, "y": 10, "w": 9, "h": 6, "score": 1.0, "label": "dog"}]}
{"t_us": 149999, "boxes": []}

{"summary": {"results": 2}}
{"t_us": 49999, "boxes": [{"x": 1, "y": 2, "w": 3, "h": 4, "score": 0.25, "label": "cat"},
"""


def test_boxes_of_files(tmp_path: Path) -> None:
    """By time, truths and others each; names as they are given, and then as they come."""
    from spedge.view.boxes import said_boxes, together, truths
    from spedge.view.scene import boxes_at

    file = tmp_path / "said.jsonl"
    file.write_text(LINES.rstrip(",\n") + ', {"x": 9, "y": 9, "w": 3, "h": 4, "score": 0.5, "label": 1}]}\n')
    said, names = said_boxes(file, ["car"])
    assert names == ("car", "dog", "cat")
    assert said["t"].tolist() == [49_999, 49_999, 99_999]
    assert said["label"].tolist() == [2, 1, 1]
    assert said["score"][0] == 0.25
    assert 0.999 < said["score"][2] < 1  # of a truth it is 1
    every = together([said, truths(boxes((40, 5, 6, 7, 8, 0, 0)))])
    assert every["t"].tolist() == [40_000, 49_999, 49_999, 99_999]
    for t, seen in (
        (39_999, []),
        (40_000, [5]),
        (60_000, [5, 1, 9]),
        (100_000, [5, 20]),
        (190_001, [20]),
        (250_000, []),
    ):
        assert boxes_at(every, t)["x"].tolist() == seen


@pytest.mark.parametrize(
    "line",
    [
        '{"boxes": []}',
        '{"t_us": 5, "boxes": [{"x": 1}]}',
        "no JSON",
        "[1",
        '"boxes"',
        '{"t_us": "a", "boxes": [1]}',
        '{"t_us": 5, "boxes": [{"x": 1, "y": 2, "w": NaN, "h": 4, "score": 0.5, "label": "a"}]}',
        '{"t_us": 5, "boxes": [{"x": 1, "y": 2, "w": 3, "h": 4, "score": 0.5, "label": -1}]}',
    ],
)
def test_lines_that_are_no_boxes(line: str, tmp_path: Path) -> None:
    from spedge.view.boxes import said_boxes

    (tmp_path / "said.jsonl").write_text('{"t_us": 5, "boxes": []}\n' + line + "\n")
    with pytest.raises(InputError, match=r"said.jsonl, line 2 has no boxes with their time .*: give a file of"):
        said_boxes(tmp_path / "said.jsonl")
    with pytest.raises(InputError, match=r"none.jsonl cannot be read .*: give a file of"):
        said_boxes(tmp_path / "none.jsonl")


def test_boxes_on_the_frames_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("PIL", "matplotlib")
    from PIL import Image

    from spedge.view.palette import INK, STEPS, colours, line_of

    driving(tmp_path, "gen1", 2)
    recording = tmp_path / "detection_dataset_duration_60s/train/a0_td.dat"
    labels = recording.with_name("a0_bbox.npy")
    (tmp_path / "said.jsonl").write_text(
        '{"t_us": 749999, "boxes": [{"x": 200, "y": 200, "w": 50, "h": 30, "score": 0.5, "label": "car"}]}\n'
    )
    command = ["render", str(recording), str(tmp_path / "a.png"), "--to-ms", "760", "--width", "304", "--height", "240"]
    assert execute(command) == 0
    with Image.open(tmp_path / "a.png") as image:
        before = np.asarray(image.convert("RGB")).astype(int)
    assert execute([*command, "--boxes", str(labels), "--boxes", str(tmp_path / "said.jsonl")]) == 0
    with Image.open(tmp_path / "a.png") as image:
        after = np.asarray(image.convert("RGB")).astype(int)
    new = {tuple(pixel) for pixel in after[(before != after).any(axis=2)].tolist()}
    table = colours("dark")
    assert tuple(table[INK + STEPS - 1].tolist()) in new
    assert tuple(table[line_of(0) + STEPS - 1].tolist()) in new
    assert execute([*command, "--boxes", str(tmp_path / "none.jsonl")]) == 4
    assert "cannot be read" in capsys.readouterr().err
