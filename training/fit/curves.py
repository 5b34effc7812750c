"""Curves of a run: `curves.csv`, TensorBoard's files, and Weights & Biases where it is asked for."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spedge.base.errors import UsageError
from spedge.base.files import whole

NAME = "curves.csv"


class Curves:
    """Numbers by step. What a run that is begun again had written after the step where it goes on is taken out.

    folder: of the run; None: nothing is written. wandb: name of the project, with `config` shown beside it.
    """

    def __init__(
        self, folder: Path | None, step: int, wandb: str | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        self._folder = folder
        self._rows: list[dict[str, str]] = []
        self._wandb: Any = None
        if folder is None:
            return
        if (folder / NAME).exists():
            with (folder / NAME).open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self._begun, self._told = step, len(self._rows)
        self._board: Any = None
        if wandb is not None:
            self._wandb = _wandb_run(wandb, folder, dict(config or {}))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by name."""
        if self._folder is None:
            return
        self._rows.append({"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}})
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def flush(self) -> None:
        """Write what there is."""
        if self._folder is None:
            return
        names = ["step", *sorted({name for row in self._rows for name in row} - {"step"})]
        self._tell_board(self._folder)
        with whole(self._folder / NAME) as part, Path(part).open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self._rows)

    def _tell_board(self, folder: Path) -> None:
        """TensorBoard's files have a folder of their own, which is made with the first numbers."""
        if self._board is None:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=self._begun + 1)
        for row in self._rows[self._told :]:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, float(value), int(row["step"]))
        self._told = len(self._rows)
        self._board.flush()

    def close(self) -> None:
        """Nothing comes after this."""
        if self._folder is not None:
            self.flush()
            if self._board is not None:
                self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _wandb_run(project: str, folder: Path, config: dict[str, Any]) -> Any:
    try:
        import wandb
    except ImportError:
        raise UsageError("--wandb needs wandb: pip install 'spedge[wandb]'.") from None
    return wandb.init(project=project, name=folder.name, id=folder.name, dir=str(folder), config=config, resume="allow")
