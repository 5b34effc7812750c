"""The programs of the gallery, run as they stand: each draws its picture, and what it says is so."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.needs import needs
from tools.site_pages import Example, examples, gallery_page

needs("matplotlib", "PIL")

NEEDS = {
    "every_format": ("h5py",),
    "run_on_a_board": ("tvm", "platformio", "cc"),
    "train_your_own": ("torch", "h5py"),
}
#: What an example has found out, by its variables and what it printed.
FACTS: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "boxes_without_a_model": lambda names, _: len(names["overlaps"]) == 6 and min(names["overlaps"]) > 0.7,
    "draw_a_recording": lambda _, said: said == "wave.raw: 128x128, 19,538 events\n",
    "embed_and_classify": lambda names, _: names["label"] == "wave" and names["shares"].max() > 0.5,
    "every_format": lambda names, _: len(names["sizes"]) == 6 and max(names["sizes"].values()) < 20,
    "make_tokens": lambda names, _: names["counts"].sum() == len(names["tokens"]) == 93,
    "run_on_a_board": lambda names, said: (
        "every event is accounted for" in said
        and len(names["on_device"]) == len(names["tokens"])
        and np.abs(names["device_logits"] - names["host_logits"]).max() < 1e-4
    ),
    "slow_motion": lambda names, _: names["done"].frames == 24,
    "train_your_own": lambda names, _: names["right"] >= 11 and names["losses"][-1] < names["losses"][0],
}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_draws_its_picture(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(*NEEDS.get(example.name, ()))
    import matplotlib.pyplot as plt
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    try:
        names = runpy.run_path(str(example.path))
    finally:
        plt.close("all")
    assert FACTS[example.name](names, capsys.readouterr().out)
    with Image.open(tmp_path / example.picture) as image:
        assert image.width >= 400 and len(image.convert("RGB").getcolors(1 << 24) or ()) > 10
        assert getattr(image, "n_frames", 1) == (24 if example.picture.endswith(".gif") else 1)


def test_the_gallery_has_all_of_them() -> None:
    page = gallery_page({example.name: f"said by {example.name}" for example in examples()})
    assert len(examples()) == len(FACTS) >= 5
    for example in examples():
        assert f"## {example.title}" in page and f"](gallery/{example.picture})" in page
        assert example.code in page and f"said by {example.name}" in page and example.text in page
