"""The whole idea in one go: gesture recordings checked on every board that can run here, and a picture of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.paths import assets_dir
from spedge.boards.build import build
from spedge.boards.manifest import Board, load_board
from spedge.boards.platformio import BuildError
from spedge.device.open import Device, open_board
from spedge.jobs.check import CheckReport, RecordingCheck, check, encoder_of, prefixed, tolerance_of
from spedge.jobs.play import load_events, play, recordings_for
from spedge.model.bundle import Bundle
from spedge.model.parts import Classification, TokenInput, Transformer
from spedge.model.reference import Reference

BOARDS = ("sim", "mps2-an500")
BUNDLE = "gestures-pico"
LOGITS_EVERY_US = 50_000
PICTURE_ROWS = 3


@dataclass(frozen=True)
class Panel:
    """One recording on its way through the model on a board: a row of a picture.

    events: structured (t us, x, y, p), in time order; token_x, token_y: patch column and row, token_t: us, one
    entry per token. times: us of the sensor's clock, float32 logits [len(times), classes] computed on the
    device at those times; labels name the classes.
    """

    title: str
    device: str
    note: str
    width: int
    height: int
    patch_size: int
    events: NDArray[Any]
    token_x: NDArray[np.uint16]
    token_y: NDArray[np.uint16]
    token_t: NDArray[np.uint64]
    times: NDArray[np.uint64]
    logits: NDArray[np.float32]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class DemoReport:
    """What `demo` did. `left_out`: boards that this machine cannot run; `missing` of each says why. `panels`: some of
    the recordings, on the last board."""

    bundle: str
    reports: tuple[CheckReport[RecordingCheck], ...]
    left_out: tuple[Board, ...]
    panels: tuple[Panel, ...]

    @property
    def passed(self) -> bool:
        return all(report.passed for report in self.reports)

    @property
    def title(self) -> str:
        """What came out, in a line."""
        boards = ", ".join(report.board for report in self.reports)
        return f"{self.bundle} on {boards}: {'equal' if self.passed else 'NOT equal'} to the host"


def demo(
    precision: str = "fp32",
    on_progress: Callable[[str], None] | None = None,
    on_report: Callable[[CheckReport[RecordingCheck]], None] | None = None,
) -> DemoReport:
    """Check the recordings that come with spedge on each of BOARDS that can run here, and play some once more.

    on_progress gets short sentences, on_report each board's report when it is done. Raises what building, starting
    and checking raise; a difference between host and device is in the report instead.
    """
    say = on_progress or (lambda _: None)
    bundle = Bundle.load(assets_dir() / BUNDLE)
    recordings = recordings_for(bundle, assets_dir() / "recordings")
    boards = [load_board(name) for name in BOARDS]
    reports: list[CheckReport[RecordingCheck]] = []
    panels: list[Panel] = []
    runnable = [board for board in boards if not board.missing]
    if not runnable:
        raise BuildError(f"no board can run here: {boards[0].bring}")
    for board in runnable:
        firmware = build(board, bundle, say, precision)
        encoder = encoder_of(bundle, board.target, precision, say)
        say(f"Starting {board.name}")
        with open_board(board, firmware.path) as device:
            said = prefixed(say, board.name)
            reports.append(check(bundle, recordings, device, board.name, said, encoder, tolerance_of(precision)))
            if on_report is not None:
                on_report(reports[-1])
            if board is runnable[-1]:
                panels = _panels(device, board, bundle, recordings[:PICTURE_ROWS], say)
    left_out = tuple(board for board in boards if board.missing)
    return DemoReport(bundle.name, tuple(reports), left_out, tuple(panels))


def _panels(
    device: Device, board: Board, bundle: Bundle, recordings: Sequence[Path], say: Callable[[str], None]
) -> list[Panel]:
    """Play each recording once more, asking for logits on the way."""
    task, seen, _ = bundle.parts("the picture of a demo", Classification, TokenInput, Transformer)
    panels = []
    for path in recordings:
        say(f"{board.name}: logits over time of {path.name}")
        events = load_events(path, bundle)
        tokens = Reference(bundle).compute(events).tokens
        opinions = list(play(device, bundle, events, LOGITS_EVERY_US))
        panels.append(
            Panel(
                title=path.stem.replace("_", " ").replace("-", " "),
                device=board.name,
                note=f"{opinions[-1].label}, {opinions[-1].confidence:.0%}",
                width=bundle.sensor.width,
                height=bundle.sensor.height,
                patch_size=seen.tokenizer.patch_size,
                events=events,
                token_x=tokens.x,
                token_y=tokens.y,
                token_t=tokens.t,
                times=np.array([opinion.t for opinion in opinions], np.uint64),
                logits=np.stack([opinion.logits for opinion in opinions]),
                labels=task.labels,
            )
        )
    return panels
