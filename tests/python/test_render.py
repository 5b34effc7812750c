"""Pictures: they are written, and show what they were given."""

from pathlib import Path

import numpy as np

from spedge.jobs.demo import Panel
from spedge.view.picture import picture
from tests.needs import needs

needs("matplotlib")


EVENT = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")]


def panel(tokens: int = 5, width: int = 40, height: int = 30) -> Panel:
    events = np.zeros(100, EVENT)
    events["t"] = np.arange(100) * 1000 + 5_000_000
    events["x"] = np.arange(100) % width
    events["y"] = np.arange(100) % height
    fired = np.linspace(10, 99, tokens).astype(int)
    return Panel(
        title="swipe right",
        device="sim",
        note="swipe right",
        width=width,
        height=height,
        patch_size=16,
        events=events,
        token_x=events["x"][fired] // 16,
        token_y=events["y"][fired] // 16,
        token_t=events["t"][fired],
        times=np.array([5_050_000, 5_099_000], "<u8"),
        logits=np.array([[0.0, 1.0, 0.5], [0.0, 2.0, 0.5]], "<f4"),
        labels=("left", "right", "noise"),
    )


def test_a_picture_has_a_row_per_recording(tmp_path: Path) -> None:
    from PIL import Image

    sizes = []
    for count in (1, 3):
        path = tmp_path / "sub" / f"{count}.png"
        picture([panel()] * count, path, "title")
        with Image.open(path) as image:
            assert image.format == "PNG"
            sizes.append(image.size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > 2 * sizes[0][1]


def test_a_recording_without_tokens_can_be_drawn(tmp_path: Path) -> None:
    picture([panel(tokens=0)], tmp_path / "p.png", "title")
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_the_events_are_in_the_picture(tmp_path: Path) -> None:
    """Two recordings that differ only in their events give different pictures."""
    first, second = panel(), panel()
    second.events["x"] = second.events["x"][::-1]
    picture([first], tmp_path / "a.png", "title")
    picture([second], tmp_path / "b.png", "title")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
