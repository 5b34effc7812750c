"""A stage for a check: each recording with what host and device say of it, one over the other, and the verdict; of a
detector with the boxes of both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from spedge.base.errors import InputError, UsageError
from spedge.jobs.check import Compared
from spedge.jobs.check_boxes import ComparedBoxes
from spedge.jobs.given import KEPT_EVENTS
from spedge.tokens.settings import TokenizerSettings
from spedge.view.boxes import found, together
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
        self._kept: list[Compared | ComparedBoxes | None] = []
        self._room = KEPT_EVENTS

    def add(self, compared: Compared | ComparedBoxes) -> None:
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
                    **_said(compared),
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
        settings = self._settings
        scene = Scene(settings.width, settings.height, compared.events, settings.patch_size, compared.tokens)
        scene = _with_what_the_host_says(scene, compared)
        stage = RecordingStage(name, scene, settings, _verdict(compared), self._board)
        for t, said in compared.device:
            if isinstance(compared, ComparedBoxes):
                stage.device_boxes(self._board, t, said)
            else:
                stage.device(self._board, t, said, 0, "")
        return stage


def _with_what_the_host_says(scene: Scene, compared: Compared | ComparedBoxes) -> Scene:
    times = np.array([t for t, _ in compared.host], np.int64)
    if isinstance(compared, ComparedBoxes):
        boxes = together(found(t, boxes) for t, boxes in compared.host)
        return replace(scene, boxes=boxes, names=compared.labels, steps=times)
    logits = np.array([logits for _, logits in compared.host], np.float32)
    return replace(scene, results=Results(compared.labels, times, logits))


def _said(compared: Compared | ComparedBoxes) -> dict[str, str]:
    """What each says of a recording, for a list of them."""
    if not isinstance(compared, ComparedBoxes):
        return {"host": compared.check.label_host, "device": compared.check.label_device}
    counts = {"host": compared.host, "device": compared.device}
    return {whose: f"{sum(len(boxes) for _, boxes in steps):,} boxes" for whose, steps in counts.items()}


def _verdict(compared: Compared | ComparedBoxes) -> dict[str, Any]:
    """As `verdict` and `boxes_verdict` of `spedge.view.stage` give it, with the check's own word."""
    judged = {
        "equal": compared.check.passed,
        "problem": compared.check.problem or "",
        "compared": len(compared.device),
        "of": len(compared.device),
    }
    if isinstance(compared, ComparedBoxes):
        return judged
    largest = compared.check.logits_max_abs_diff
    return judged | {"largest": largest if math.isfinite(largest) else None}
