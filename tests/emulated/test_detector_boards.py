"""A compiled detector on a microcontroller and on 64-bit Arm Linux, emulated: every step, on a line that is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from spedge.boards.build import compile_model
from spedge.boards.manifest import load_board
from spedge.device.open import open_board
from spedge.jobs.check_boxes import check_boxes
from spedge.link.faults import Faults
from spedge.model.parts import Sensor
from spedge.recordings import write
from tests.detector_bundles import kept_bundle, moving, tiny
from tests.needs import needs
from tests.tiny import build_firmware, require_compiled
from tests.variants import long

needs("torch")

SENSOR = Sensor(96, 64)


@pytest.mark.parametrize("name", ["mps2-an500", *long("jetson")])
def test_every_step_is_the_hosts_though_frames_are_lost_and_the_line_is_cut(name: str, tmp_path: Path) -> None:
    require_compiled(name)
    board, bundle = load_board(name), kept_bundle(tiny(sensor=SENSOR, hidden=8, head=8))
    image = build_firmware(name, tmp_path / "firmware", compile_model(bundle, board.target))
    recordings = [tmp_path / f"{seed}.npz" for seed in range(2)]
    for seed, path in enumerate(recordings):
        write(path, moving(seed, 6, 600, SENSOR), SENSOR.width, SENSOR.height)
    faults = Faults(drop=0.02, flip=0.02, dup=0.02, noise=0.02, cut=1, away=0.05, seed=3)
    with open_board(board, image, faults=faults) as device:
        report = check_boxes(bundle, recordings, device)
    assert report.passed, [checked.problem for checked in report.recordings]
    assert [checked.steps for checked in report.recordings] == [5, 5] and sum(report.faults.values()) > 0
    assert all(0 < checked.head_max_abs_diff < 1e-5 for checked in report.recordings)
