"""Curves of a run: `curves.csv`, TensorBoard's files, and Weights & Biases where it is asked for."""

from __future__ import annotations

import csv
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spedge.base.errors import UsageError, line_of
from spedge.base.files import whole

from ..run import CURVES

_log = logging.getLogger(__name__)


class Curves:
    """Numbers by step. What a run that is begun again had written after the step where it goes on is taken out.

    folder: of the run; None: nothing is written. wandb: name of the project, with `config` shown beside it.
    """

    def __init__(
        self, folder: Path | None, step: int, wandb: str | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        self._folder = folder
        self._rows: list[dict[str, str]] = []
        self._wandb: _Wandb | None = None
        if folder is None:
            return
        if (folder / CURVES).exists():
            with (folder / CURVES).open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self._begun, self._told = step, len(self._rows)
        self._board: _Board | None = None
        if wandb is not None:
            self._wandb = _Wandb(wandb, folder, config or {})

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by name."""
        if self._folder is None:
            return
        self._rows.append({"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}})
        if self._wandb is not None:
            self._wandb.add(step, values)

    def flush(self) -> None:
        """Write what there is. Raises UsageError where that cannot be done."""
        if self._folder is None:
            return
        names = ["step", *sorted({name for row in self._rows for name in row} - {"step"})]
        if self._board is None:  # it has a folder of its own, which is made with the first numbers
            self._board = _Board(self._folder / "tensorboard", self._begun)
        self._board.add(self._rows[self._told :])
        self._told = len(self._rows)
        with whole(self._folder / CURVES) as part, Path(part).open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self._rows)

    def close(self) -> None:
        """Nothing comes after this."""
        self.flush()
        if self._wandb is not None:
            self._wandb.close()


class _Board:
    """A file of TensorBoard's that begins after a step: what other files say of later ones counts no more.

    Written at once and by this thread, as tensorboardX's own SummaryWriter does not: that one waits for ever where its
    thread has met a full disk.
    """

    def __init__(self, folder: Path, begun: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self._write(lambda: EventsWriter(str(folder / "events"), f".{os.getpid()}"))
        self._event(begun + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, rows: list[dict[str, str]]) -> None:
        from tensorboardX.summary import scalar

        for row in rows:
            for name, value in row.items():
                if name != "step" and value:
                    self._event(int(row["step"]), summary=scalar(name, float(value)))
        self._write(self._file.flush)

    def _event(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._write(lambda: self._file.write_event(Event(wall_time=time.time(), step=step, **what)))

    def _write(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot be written: {error.strerror or error}") from None


class _Wandb:
    """A run of Weights & Biases, or none where it cannot be had: training does not end for want of it."""

    def __init__(self, project: str, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise UsageError("--wandb needs wandb: pip install 'spedge[wandb]'.") from None
        self._run: Any = None
        self._folder = folder
        id = _id_of(folder)
        self._try(lambda: self._begin(wandb, project=project, name=folder.name, id=id, config=dict(config)))

    def _begin(self, wandb: Any, **about: Any) -> None:
        self._run = wandb.init(dir=str(self._folder), resume="allow", **about)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        if self._run is not None:
            self._try(lambda: self._run.log(dict(values), step=step))

    def close(self) -> None:
        if self._run is not None:
            self._try(self._run.finish)

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # a service that is away, an account that is not known, a version that is old
            self._run = None
            _log.warning(
                "Weights & Biases is not told any more (%s): training goes on, and its curves are in %s. "
                "WANDB_MODE=offline keeps them for 'wandb sync'.",
                line_of(error),
                self._folder / CURVES,
            )


def _id_of(folder: Path) -> str:
    """The run's name there, kept in its folder: another run may have the same name, elsewhere or later."""
    file = folder / "wandb-id.txt"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole(file) as part:
            part.write_text(secrets.token_hex(4))
    return file.read_text().strip()
