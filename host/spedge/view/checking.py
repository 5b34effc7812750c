"""A stage for a check: each recording with what host and device say of it, one over the other, and the verdict."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spedge.base.errors import InputError, UsageError
from spedge.jobs.check import KEPT_EVENTS, Compared
from spedge.tokens.settings import TokenizerSettings
from spedge.view.scene import Results, Scene
from spedge.view.shelf import ShelfStage
from spedge.view.stage import RecordingStage


class CheckStage(ShelfStage):
    """settings: of the model's tokenizer. board: the device's name."""

    kind = "check"

    def __init__(self, name: str, settings: TokenizerSettings, board: str, recordings: int) -> None:
        super().__init__(name)
        self._settings, self._board, self._recordings = settings, board, recordings
        self._told: list[dict[str, Any]] = []
        self._kept: list[Compared | None] = []
        self._room = KEPT_EVENTS

    def add(self, compared: Compared) -> None:
        """A recording was checked. Of those beyond KEPT_EVENTS together only the verdict is kept."""
        check = compared.check
        with self._lock:
            self._room -= len(compared.events)
            self._kept.append(compared if self._room >= 0 else None)
            self._told.append(
                {
                    "number": len(self._told),
                    "name": check.path.name,
                    "passed": check.passed,
                    "problem": check.problem or "",
                    "host": check.label_host,
                    "device": check.label_device,
                }
            )

    def state(self, seen: int) -> dict[str, Any]:
        with self._lock:
            told = list(self._told)
        if len(told) == seen:
            return {"version": seen}
        return {"version": len(told), "board": self._board, "checks": told, "of": self._recordings}

    def recording(self, number: int) -> RecordingStage:
        with self._lock:
            if number >= len(self._kept):
                raise UsageError(f"there is no recording {number} that was checked")
            compared, name = self._kept[number], self._told[number]["name"]
        if compared is None:
            raise InputError(f"{name} was too much to be kept beside the others: check it by itself")
        scene = Scene(
            self._settings.width,
            self._settings.height,
            compared.events,
            self._settings.patch_size,
            compared.tokens,
            Results(
                compared.labels,
                np.array([t for t, _ in compared.host], np.int64),
                np.array([logits for _, logits in compared.host], np.float32),
            ),
        )
        stage = RecordingStage(name, scene, self._settings, _verdict(compared))
        for t, logits in compared.device:
            stage.device(self._board, t, logits, 0, "")
        return stage


def _verdict(compared: Compared) -> dict[str, Any]:
    """As `spedge.view.stage.verdict` gives it, with the check's own word."""
    largest = compared.check.logits_max_abs_diff
    return {
        "equal": compared.check.passed,
        "problem": compared.check.problem or "",
        "compared": len(compared.device),
        "of": len(compared.device),
        "largest": largest if math.isfinite(largest) else None,
    }
