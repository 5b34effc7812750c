"""Several recordings to choose from: the one that was chosen is shown as any recording is."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

from spedge.base.errors import UsageError
from spedge.view.stage import Answer, RecordingStage, Stage, whole

_MOST_RECORDINGS = 1 << 31


class ShelfStage(Stage):
    """Recordings by number, and what there is to say of all of them."""

    #: What kind of page it is: that of a training, or of a check.
    kind: str

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._chosen: RecordingStage | None = None

    @abstractmethod
    def state(self, seen: int) -> dict[str, Any]:
        """What there is to say; only its `version` where that is what a page has seen."""

    @abstractmethod
    def recording(self, number: int) -> RecordingStage:
        """One of them. Raises SpedgeError where it cannot be shown."""

    def listed(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Recordings that a page asks for by more than their numbers; each has `number` and `name`."""
        raise UsageError(f"there is nothing to list of {self.name}")

    def about(self) -> dict[str, Any]:
        return {"name": self.name, "shelf": self.kind, "live": False}

    def answer(self, asked: dict[str, Any]) -> Answer:
        op = asked.get("op")
        if op == "state":
            return Answer(self.state(whole(asked, "seen", -1, 1 << 62)))
        if op == "list":
            return Answer({"recordings": self.listed(asked)})
        if op == "show":
            return self._show(whole(asked, "number", 0, _MOST_RECORDINGS))
        with self._lock:
            chosen = self._chosen
        if chosen is None:
            raise UsageError("choose a recording first")
        return chosen.answer(asked)

    def _show(self, number: int) -> Answer:
        chosen = self.recording(number)
        with self._lock:
            self._chosen = chosen
        return Answer({"about": chosen.about()})
