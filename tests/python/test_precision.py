"""Models of reduced precision from the command line: built, checked on the simulated board, told apart from others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spedge.base.errors import DeviceError
from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.cli import execute
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.device.open import open_board
from spedge.jobs.check import ROUNDED_TOLERANCE
from spedge.jobs.play import require_precision
from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.events import scattered
from tests.needs import needs

needs("tvm", "platformio", "cc")


@pytest.mark.parametrize(("precision", "causal"), [("int8", False), ("int8w", True)])
def test_a_device_in_that_precision_is_checked_and_told_apart(
    tmp_path: Path, precision: str, causal: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    shape = Shape(tokens=10, hidden=24, intermediate=32, causal=causal)
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, "small", samples=4)
    arguments = [str(bundle.path), str(record(tmp_path / "noise.raw")), "--precision", precision, "--json"]
    assert execute(["check", *arguments]) == 0
    (checked,) = json.loads(capfd.readouterr().out)["recordings"]
    assert checked["tokens_equal"] and checked["tokens_device"] > 10
    assert checked["logits_max_abs_diff"] <= ROUNDED_TOLERANCE
    assert execute(["run", *arguments]) == 0
    told_apart(bundle, precision)


def told_apart(bundle: Bundle, precision: str) -> None:
    sim = load_board("sim")
    with open_board(sim, build(sim, bundle, precision=precision).path) as device:
        assert device.hello.model == f"small ({precision})"
        require_precision(device, bundle, precision)
        with pytest.raises(DeviceError, match=rf"holds 'small \({precision}\)' and not 'small': flash it"):
            require_precision(device, bundle, "fp32")


def record(path: Path) -> Path:
    write(path, scattered(6000, 300_000), 34, 34)
    return path
