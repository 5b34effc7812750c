"""The sending half of live mode: what the device has no room for is thinned out evenly and counted. Pure logic."""

from __future__ import annotations

from copy import copy
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events import evt2
from spedge.link.counts import Status
from spedge.link.frames import Frame, Type
from spedge.link.protocol import pack_live

_SEQ = 1 << 16
_WINDOW = 4  # frames on their way at most: more would only be older when they are looked at
_MOST_HELD = 1 << 16
_HALF_RANGE = evt2.TIME_RANGE >> 7  # of EVT2's clock in time words: a longer gap needs several


def thin(events: NDArray[Any], keep: int, patch_size: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Which `keep` of the events (structured t, x, y, p; sorted by time) to keep: their indices, ascending.

    One of every n / keep, drawn at random from each such stretch, where the stretches run through the events of one
    patch of patch_size pixels after the other. So every patch keeps its share, evenly over its time, and a pattern in
    the events (a scan, polarities in turn) does not meet a pattern in the choice.
    """
    n = len(events)
    if keep >= n or keep <= 0:
        return np.arange(n if keep > 0 else 0)
    columns = int(events["x"].max()) // patch_size + 1
    patches = events["y"].astype(np.int64) // patch_size * columns + events["x"] // patch_size
    order = np.argsort(patches, kind="stable")
    edges = np.arange(keep + 1) * n // keep
    picked = edges[:-1] + (random.random(keep) * np.diff(edges)).astype(np.int64)
    return np.sort(order[picked])


class LiveSender:
    """Events offered and not sent, made into frames as the device has room. Never refuses, never grows without bound.

    offered: all events so far; sent: those of them that frames so far stand for. `base` is what is taken from all times
    (`evt2.time_base`, because EVT2 cannot say more).
    """

    def __init__(
        self,
        session: int,
        credits: int,
        max_payload: int,
        patch_size: int,
        held: int = _MOST_HELD,
        grid_us: int = 1,
    ) -> None:
        """grid_us: `base` is a multiple of it, too."""
        self.session = session
        self.base = 0
        self._grid_us = grid_us
        self.offered = 0
        self.sent = 0
        self.events_sent = 0
        self._patch_size = patch_size
        self._words = (max_payload - len(pack_live(0, 0, b""))) // 4
        self._most_held = held
        self._random = np.random.default_rng(session)
        self._held: list[NDArray[Any]] = []
        self.waiting = 0  #: events held back for want of room
        self._density = 1.0  # how much of what was offered is held
        self._owed = 0.0  # parts of events that rounding to whole ones left over
        self._last_t: int | None = None
        self._evt2 = evt2.Encoder(start=0)
        self._next = 0  # frames sent
        self._known = 0  # frames known to have arrived or to be lost
        self._limit = credits

    @property
    def in_flight(self) -> int:
        return self._next - self._known

    @property
    def _room(self) -> int:
        return min(self._limit, self._known + _WINDOW) - self._next

    @property
    def blocked(self) -> bool:
        """Something waits, the device has no room, and no reply is on its way that could tell of more."""
        return self.waiting > 0 and self.in_flight == 0 and self._room <= 0

    def mark(self) -> int:
        """To be given to `settled` when the reply to something sent now has come."""
        return self._next

    def offer(self, events: NDArray[Any]) -> None:
        """Take events (structured t µs, x, y, p; sorted, also across calls). Raises InputError when they are not."""
        if not len(events):
            return
        first = int(events["t"][0])
        if self._last_t is None:
            self.base = evt2.time_base(first, self._grid_us)
        if first < (self._last_t or 0) or (np.diff(events["t"].astype(np.int64)) < 0).any():
            raise InputError("events are not in the order of their times: sort them before they are offered")
        self._last_t = int(events["t"][-1])
        self.offered += len(events)
        wanted = len(events) * self._density + self._owed
        keep = min(int(wanted), len(events))
        self._owed = wanted - keep
        self._hold(self._thinned(events, keep))
        if self.waiting > self._most_held:
            half = self.waiting // 2
            self._density *= half / self.waiting
            held = self._thinned(self._take_held(), half)
            self._hold(held)

    def _hold(self, events: NDArray[Any]) -> None:
        if len(events):
            self._held.append(events)
            self.waiting += len(events)

    def _take_held(self) -> NDArray[Any]:
        held = np.concatenate(self._held)
        self._held, self.waiting = [], 0
        return held

    def _thinned(self, events: NDArray[Any], keep: int) -> NDArray[Any]:
        return events[thin(events, keep, self._patch_size, self._random)]

    def frames(self) -> list[Frame]:
        """Everything that waits, thinned to what the device has room for now; none when it has no room."""
        room = self._room
        if room <= 0 or not self.waiting:
            return []
        held = self._take_held()
        keep = room * self._words
        while True:
            kept = thin(held, keep, self._patch_size, self._random)
            cuts = self._cuts(held["t"][kept])
            if len(cuts) - 1 <= room:
                break
            keep = cuts[room]  # as many as have room when they lie this close to each other
        sent, stands = self.sent, self.offered - self.sent
        frames = []
        for a, b in pairwise(cuts):
            end = stands if b == len(kept) else stands * int(kept[b]) // len(held)
            frames.append(self._frame(held[kept[a:b]], sent + end - self.sent))
        self._density, self._owed = 1.0, 0.0
        return frames

    def _cuts(self, times: NDArray[Any]) -> list[int]:
        """Where frames begin, and the end: as many events in each as have room with their time words."""
        high = ((times - np.uint64(self.base)) >> np.uint64(6)).astype(np.int64)
        steps = np.diff(high, prepend=self._evt2.high)
        time_words = np.where(steps != 0, 1 + np.maximum(steps - 1, 0) // _HALF_RANGE, 0)
        before = np.concatenate([[0], np.cumsum(1 + time_words)])
        cuts = [0]
        while cuts[-1] < len(times):
            # a frame's first event has a time word in any case
            own = before[cuts[-1] + 1] - 1 - max(1, time_words[cuts[-1]])
            cuts.append(max(int(np.searchsorted(before, own + self._words, "right")) - 1, cuts[-1] + 1))
        return cuts

    def _frame(self, events: NDArray[Any], offered: int) -> Frame:
        events = events.copy()
        events["t"] -= np.uint64(self.base)
        encoder = copy(self._evt2)
        while len(words := encoder.words(events, time_first=True)) > self._words:  # gaps of years
            events = self._thinned(events, len(events) * 3 // 4)
            encoder = copy(self._evt2)
        self._evt2 = encoder
        payload = pack_live(self.sent, offered, words.astype("<u4").tobytes())
        frame = Frame(Type.EVENTS, self._next % _SEQ, self.session, payload)
        self.sent += offered
        self.events_sent += len(events)
        self._next += 1
        return frame

    def on_status(self, status: Status) -> bool:
        """Take in what a reply says of the stream; returns whether it brought progress."""
        arrived = (status.next_seq - self._known) % _SEQ
        if arrived > self.in_flight:
            return False  # older than what is known
        limit = max(self._limit, self._known + arrived + status.credits)
        progress = arrived > 0 or limit > self._limit
        self._known += arrived
        self._limit = limit
        return progress

    def settled(self, mark: int, status: Status) -> None:
        """The reply to a request that was sent after `mark` frames has come: those have arrived, or are lost."""
        self._known = max(self._known, mark)
        self._limit = max(self._limit, mark + status.credits)
