"""Models of the paper's sizes on boards of the Linux class: untrained DG-T-SP, on the real clips.

`make test-large` runs them, in minutes, and prints what compiling and building took.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spedge.model.bundle import Bundle
from spedge.model.parts import Transformer
from spedge.model.window import Windower
from spedge.training.presets import PRESETS, SIZES
from tests.golden_models import clip
from tests.needs import needs
from tests.tiny import missing_for

needs("torch", "onnxscript", "platformio", "tvm")

import torch  # noqa: E402

from spedge.training.export.bundle import export_model, with_room  # noqa: E402
from spedge.training.models.registry import make_model  # noqa: E402

pytestmark = pytest.mark.large

CLIPS = (1, 2, 4, 5, 6, 7, 9, 10)
MOST_BYTES = 3 << 30  # of compiling and building
#: Builds in a process of its own, and prints its processor time (s) and the most memory of it and its children (KiB).
BUILD = """
import resource, sys
from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.model.bundle import Bundle
build(load_board(sys.argv[2]), Bundle.load(sys.argv[1]))
both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(one.ru_utime + one.ru_stime for one in both), max(one.ru_maxrss for one in both))
"""


def untrained(size: str, folder: Path) -> tuple[Bundle, list[Path]]:
    """The bundle of DG-T-SP with random weights, with room for the clips' tokens, and the clips as files."""
    spec = PRESETS["DG-T-SP"].spec()
    model = Transformer(*SIZES[size])
    embedding = replace(spec.token_input.embedding, hidden=model.hidden)
    spec = replace(spec, model=model, representation=replace(spec.token_input, embedding=embedding))
    paths, most = [], 0
    for number in CLIPS:
        events = clip(number)
        most = max(most, len(Windower(spec).tokenize(events)))
        paths.append(folder / f"{number}.npz")
        fields = {name: events[name] for name in "txyp"}
        np.savez(paths[-1], **fields, width=128, height=128)  # type: ignore[arg-type]
    torch.manual_seed(1)
    spec = with_room(replace(spec, training={"largest": most}), times="window")
    return export_model(make_model(spec).eval(), spec, [clip(1)[:20_000]], folder / "bundle"), paths


def spedge(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "spedge", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("size", "board"), [("base", "sim"), ("nano", "jetson")])
def test_a_model_of_the_papers_is_built_within_bounds_and_passes_check(
    size: str, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing := missing_for(board):
        pytest.skip(missing)
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))  # nothing is there yet
    bundle, clips = untrained(size, tmp_path)
    building = subprocess.run(
        [sys.executable, "-c", BUILD, bundle.path, board], capture_output=True, text=True, check=False
    )
    assert building.returncode == 0, building.stderr
    seconds, kib = map(float, building.stdout.split())
    begin = time.monotonic()
    checked = spedge("check", bundle.path, *clips, "--board", board, "--threads", 2)
    with capsys.disabled():
        print(
            f"\n{size} on {board}: {bundle.tokens} tokens, compiled and built in {seconds:.1f} s of the processor and"
        )
        print(f"{kib / 2**20:.2f} GiB; the check took {time.monotonic() - begin:.0f} s\n{checked}")
    assert f"{board}: {len(clips)} of {len(clips)} recordings passed" in checked
    assert 1024 * kib <= MOST_BYTES


def test_base_passes_check_on_the_host(tmp_path: Path) -> None:
    bundle, clips = untrained("base", tmp_path)
    said = spedge("check", bundle.path, *clips, "--board", "host")
    assert "FAILED" not in said and "passed" in said
    assert f"host: {len(clips)} of {len(clips)} recordings passed" in spedge(
        "check", bundle.path, *clips, "--board", "host", "--provider", "cpu"
    )
