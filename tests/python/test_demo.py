"""The demo, with a small bundle whose C is written by hand, on the simulated board."""

from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.needs import needs
from tests.tiny import model_source, tiny_bundle

needs("matplotlib", "platformio", "cc")


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Assets of our own. The list's number multiplies the compiled model's weights."""
    factor = [1.0]
    tiny_bundle(tmp_path / "assets" / "gestures-pico")
    (tmp_path / "assets" / "recordings").mkdir()
    for seed, name in enumerate(("swipe_left", "swipe_right")):
        random = np.random.default_rng(seed)
        events = np.zeros(2000, spedge.EVENT_DTYPE)
        events["t"] = np.sort(random.integers(0, 400_000, 2000))
        events["x"], events["y"] = random.integers(0, 34, (2, 2000))
        write(tmp_path / "assets" / "recordings" / f"{name}.raw", events, 34, 34)

    def compiled(bundle: Bundle, target: str, on_progress: object = None, precision: str = "fp32") -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "model.c").write_text(model_source(bundle, factor[0]))
        (folder / "report.json").write_text("{}")
        return folder

    monkeypatch.setattr("spedge.boards.build.compile_model", compiled)
    monkeypatch.setattr("spedge.jobs.demo.assets_dir", lambda: tmp_path / "assets")
    return factor


def test_the_demo_checks_draws_and_says_what_it_left_out(
    scale: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    picture = tmp_path / "out" / "demo.png"
    monkeypatch.setattr(
        "spedge.boards.manifest.Tool.present", property(lambda tool: not tool.program.startswith("qemu"))
    )
    assert cli.execute(["demo", "--out", str(picture.parent)]) == 0
    out = capsys.readouterr().out
    assert "sim: 2 of 2 recordings passed" in out
    assert "mps2-an500 was left out; to have it: sudo apt-get install" in out and "qemu-system-arm" in out
    assert out.endswith(f"picture: {picture}\n")
    with Image.open(picture) as image:
        assert image.size[0] > 1000

    scale[0] = 1.01
    assert cli.execute(["demo", "--out", str(picture.parent)]) == 1
    assert "0 of 2 recordings passed" in capsys.readouterr().out


def test_without_any_compiler_the_demo_says_what_to_install(
    scale: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spedge.boards.manifest.Tool.present", False)
    assert cli.execute(["demo", "--out", str(tmp_path / "out")]) == 3
    assert "apt-get install gcc libc6-dev" in capsys.readouterr().err
