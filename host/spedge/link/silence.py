"""A device that owes an answer and is silent: when to say so, and how to tell one that computes. Pure logic."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("spedge.device")
_LOOK_SECONDS = 0.3  # between two looks at one that computes


@dataclass
class Silence:
    """Says, as warnings of the logger `spedge.device`, that a device is silent, and that it answers again; once each.

    notice: seconds of silence after which that is said; `patience`, when it computes. It may when it was asked for
    something slow, and then at_work says whether it does; where nobody can say (None), it is the time that inferences
    took before.
    """

    name: str
    notice: float
    patience: float
    at_work: Callable[[], bool] | None = None
    _since: float | None = None  # an answer is owed, and nothing was heard, since then
    _said: bool = False
    _look_at: float = math.inf
    _pace: float = math.inf  # least seconds that a unit of an inference's cost took
    _cost: int = 0  # the most that an inference cost

    def expect(self, owed: bool, now: float) -> None:
        """Whether an answer is owed. One who was said to be silent is so until something is heard."""
        if owed and self._since is None:
            self._since, self._look_at = now, now + self.notice
        elif not owed and not self._said:
            self._since, self._look_at = None, math.inf

    def heard(self, now: float) -> None:
        if self._said:
            _log.warning("%s answers again after %.1f s", self.name, self.lasts(now))
        self._since, self._said, self._look_at = None, False, math.inf

    def restart(self, now: float) -> None:
        """It took something that it was sent, or nobody listened until now: what is not heard from now on counts."""
        if self._since is not None and not self._said:
            self._since, self._look_at = now, now + self.notice

    def inferred(self, seconds: float, cost: int) -> None:
        """How long an inference took, and its cost by a counter that stands still whenever the device does."""
        if cost > 0:
            self._pace, self._cost = min(self._pace, seconds / cost), max(self._cost, cost)

    def lasts(self, now: float) -> float:
        """Seconds that an answer has been owed in silence."""
        return 0.0 if self._since is None else now - self._since

    def left(self, now: float) -> float:
        """Seconds until it is time to `look`."""
        return max(self._look_at - now, 0.0)

    def look(self, now: float, slow: bool) -> bool:
        """Say what is to be said. slow: it was asked for what may take long. Returns whether it was found computing."""
        if now < self._look_at:
            return False
        lasts = self.lasts(now)
        computes = slow and self._computes(lasts)
        self._look_at = now + _LOOK_SECONDS if computes else math.inf
        if not self._said and (not computes or lasts >= self.patience):
            doing = "has been computing" if computes else "has not answered"
            _log.warning("%s %s for %.1f s; waiting", self.name, doing, lasts)
            self._said = True
        return computes

    def _computes(self, lasts: float) -> bool:
        return self.at_work() if self.at_work else self._cost > 0 and lasts < 2 * self._pace * self._cost
