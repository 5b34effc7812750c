"""What a page shows and asks for: a stage answers. A recording's stage shows any time of it; the page has the clock."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import SpedgeError, UsageError
from spedge.jobs.check import LOGITS_TOLERANCE
from spedge.model.matching import box_difference
from spedge.tokens.embedding import log_time_volume
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer, Tokens
from spedge.view.boxes import found, together
from spedge.view.scene import BOXES_US, TOKEN_FADES, Frame, Results, Scene, boxes_at

_BUCKETS = 4  # of time in the picture of a token
_RATES = 600  # bars of events over time
#: What the page may change of a tokenizer.
CHANGEABLE = (
    "patch_size", "threshold", "absolute_refractory_us", "relative_refractory_us", "relative_scale", "decay_per_us",
)  # fmt: skip


class Answer(NamedTuple):
    """A document, and for a frame bytes behind it."""

    document: dict[str, Any]
    parts: tuple[bytes, ...] = ()


class Stage(ABC):
    """What is on show. name: for people. Answers may be asked for by several threads."""

    name: str

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What a page is told first."""

    @abstractmethod
    def answer(self, asked: dict[str, Any]) -> Answer:
        """What a page asked for. Raises SpedgeError for what it may not, or cannot, have."""


class RecordingStage(Stage):
    """A recording. scene: its events, with tokens of `settings` and what the host's model says of it, if anything.

    The model's results are of its own tokens, whatever settings the page tries. verdict: of who has compared host and
    device, in the place of our own; see `verdict` and `boxes_verdict`. device: its name, where
    it may say nothing.
    """

    def __init__(
        self,
        name: str,
        scene: Scene,
        settings: TokenizerSettings,
        verdict: dict[str, Any] | None = None,
        device: str = "",
    ) -> None:
        self.name = name
        self.scene = scene
        self._settings = self._first_settings = settings
        self._version = 0
        self._verdict = verdict
        self._lock = threading.Lock()
        self._device: list[tuple[int, NDArray[np.float32], int]] = []
        self._boxes: list[tuple[int, NDArray[np.void]]] = []
        self._device_name, self._unit = device, ""
        self._problem = ""

    # ------------------------------------------------------------ from a board that is given the same events
    def device(self, name: str, t: int, logits: NDArray[np.float32], latency: int, unit: str) -> None:
        """A result of a device, t in µs of the recording's clock. latency: in that unit."""
        with self._lock:
            self._device_name, self._unit = name, unit
            self._device.append((t, logits, latency))
            self._version += 1

    def device_boxes(self, name: str, t: int, boxes: NDArray[Any]) -> None:
        """A step of a detector on a device, the same way. boxes: as for `spedge.view.boxes.found`."""
        with self._lock:
            self._device_name = name
            self._boxes.append((t, found(t, boxes)))
            self._version += 1

    def said(self, problem: str) -> None:
        """A sentence for the page: what went wrong with the device."""
        with self._lock:
            self._problem = problem
            self._version += 1

    # ------------------------------------------------------------ to the page
    def about(self) -> dict[str, Any]:
        scene = self.scene
        first, last = int(scene.events["t"][0]), int(scene.events["t"][-1])
        edges = np.linspace(first, last + 1, _RATES + 1).astype(np.uint64)
        return {
            "name": self.name,
            "live": False,
            "width": scene.width,
            "height": scene.height,
            "events": len(scene.events),
            "first": first,
            "last": last,
            "rates": np.diff(np.searchsorted(scene.events["t"], edges)).tolist(),
            "token_fades": TOKEN_FADES,
            "model": scene.results is not None,
        }

    def answer(self, asked: dict[str, Any]) -> Answer:
        ways = {
            "frame": self._frame, "series": self._series, "tokenizer": self._tokenizer, "token": self._token,
            "step": self._step,
        }  # fmt: skip
        way = ways.get(str(asked.get("op")))
        if way is None:
            raise UsageError(f"there is no {asked.get('op')!r} to ask for")
        return way(asked)

    def _frame(self, asked: dict[str, Any]) -> Answer:
        fade = whole(asked, "fade", 1, 60_000_000)
        scene, version = self._now()
        frame = scene.frame(whole(asked, "t", 0, 1 << 62), fade)
        with self._lock:
            device = together([boxes for t, boxes in self._boxes if frame.t - BOXES_US <= t <= frame.t])
        return frame_answer(frame, version, boxes_at(device, frame.t))

    def _now(self) -> tuple[Scene, int]:
        with self._lock:
            return self.scene, self._version

    def _series(self, _: dict[str, Any]) -> Answer:
        """All that the models said, and the tokenizer as it is."""
        with self._lock:
            scene, version, device = self.scene, self._version, list(self._device)
            name, unit, problem, settings = self._device_name, self._unit, self._problem, self._settings
            boxes = list(self._boxes)
        host = scene.results
        document = tokenizer_document(version, settings, self._first_settings, len(scene.tokens), problem)
        if host is not None:
            document |= {"labels": list(host.labels), "host": series(host.t, host.logits)}
            there = np.array([logits for _, logits, _ in device], np.float32).reshape(len(device), len(host.labels))
            times = np.array([t for t, _, _ in device], np.int64)
            document["device"] = series(times, there) | {"name": name, "unit": unit}
            document["device"]["latency"] = [late for *_, late in device]
            document["verdict"] = self._verdict or verdict(host, times, there)
        if scene.names:
            document["names"] = list(scene.names)
        if boxes or (self._verdict and scene.steps is not None):
            document |= {"boxes_of": name, "boxes_verdict": self._verdict or boxes_verdict(scene, boxes)}
        return Answer(document)

    def _tokenizer(self, asked: dict[str, Any]) -> Answer:
        """Tokens of other parameters, or of those at first where none are given."""
        with self._lock:
            wanted = changed(self._settings, self._first_settings, asked)
        tokens = Tokenizer.by(wanted).push(self.scene.events)
        with self._lock:
            self._settings = wanted
            self.scene = replace(self.scene, tokens=tokens, patch_size=wanted.patch_size)
            self._version += 1
        return self._series({})

    def _token(self, asked: dict[str, Any]) -> Answer:
        """The newest token of a patch at a time."""
        scene, _ = self._now()
        column, row = whole(asked, "column", 0, 65535), whole(asked, "row", 0, 65535)
        before = int(np.searchsorted(scene.tokens.t, whole(asked, "t", 0, 1 << 62), "right"))
        here = np.flatnonzero((scene.tokens.x[:before] == column) & (scene.tokens.y[:before] == row))
        newest = token_document(scene.tokens, int(here[-1]), scene.patch_size) if len(here) else None
        return Answer({"token": newest})

    def _step(self, asked: dict[str, Any]) -> Answer:
        """The time of the next event, token or result, or of the one before."""
        scene, _ = self._now()
        t, back = whole(asked, "t", 0, 1 << 62), bool(asked.get("back"))
        results = np.empty(0, np.int64) if scene.results is None else scene.results.t
        times = {"event": scene.events["t"], "token": scene.tokens.t, "result": results}.get(str(asked.get("what")))
        if times is None:
            raise UsageError("a step is an event, a token or a result")
        at = int(np.searchsorted(times, np.array(t, times.dtype), "left" if back else "right")) - back
        return Answer({"t": int(times[at]) if 0 <= at < len(times) else None})


def tokenizer_document(
    version: int, settings: TokenizerSettings, first: TokenizerSettings, tokens: int, problem: str = ""
) -> dict[str, Any]:
    """What a page is told of the tokenizer as it is. tokens: that it has made. problem: of a device, a sentence."""
    return {
        "version": version,
        "settings": {name: getattr(settings, name) for name in CHANGEABLE},
        "own": settings == first,
        "patch_size": settings.patch_size,
        "tokens": tokens,
        "problem": problem,
    }


def series(t: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, Any]:
    """For the page: times in µs, and a row of logits for each; what is no number is 0, as JSON has none."""
    return {"t": t.tolist(), "logits": np.round(np.nan_to_num(logits.astype(float)), 5).tolist()}


def verdict(host: Results, t: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, Any] | None:
    """Whether a device says what the host says at the same times; None without a device's results."""
    if not len(t):
        return None
    at = np.searchsorted(host.t, t)
    known = (at < len(host.t)) & (host.t[np.minimum(at, len(host.t) - 1)] == t)
    differences = np.abs(host.logits[at[known]] - logits[known]).max(axis=1, initial=0)
    largest = float(differences.max(initial=0))
    equal = bool(known.all() and largest <= LOGITS_TOLERANCE)
    return {"equal": equal, "compared": int(known.sum()), "of": len(t), "largest": largest}


def boxes_verdict(scene: Scene, device: list[tuple[int, NDArray[np.void]]]) -> dict[str, Any] | None:
    """Whether a device has the host's boxes at the same steps, one to one; None where the host has computed none."""
    if scene.steps is None:
        return None
    steps, problem, compared = set(scene.steps.tolist()), "", 0
    for t, boxes in device:
        first, end = np.searchsorted(scene.boxes["t"], [t, t + 1])
        host = scene.boxes[first:end]
        if t in steps:
            compared += 1
            different = box_difference(host[host["score"] < 1], boxes)
        else:
            different = "a step that the host has not"
        problem = problem or (f"at {t} µs {different}" if different else "")
    return {"equal": not problem, "problem": problem, "compared": compared, "of": len(device)}


def frame_answer(frame: Frame, version: int, device: NDArray[np.void], **more: Any) -> Answer:
    """device: boxes of one, SEEN_DTYPE. A box is left, top, width, height, score, class, and whose it is."""
    own = [(box, "truth" if box["score"] >= 1 else "host") for box in frame.boxes]
    boxes = [
        [*(round(float(box[name]), 3) for name in ("x", "y", "w", "h", "score")), int(box["label"]), whose]
        for box, whose in (*own, *((box, "device") for box in device))
    ]
    document = {
        "t": frame.t,
        "events": list(frame.events.shape),
        "tokens": list(frame.tokens.shape),
        "boxes": boxes,
        "event_count": frame.event_count,
        "token_count": frame.token_count,
        "version": version,
        **more,
    }
    return Answer(document, (frame.events.tobytes(), frame.tokens.tobytes()))


def token_document(tokens: Tokens, index: int, patch_size: int) -> dict[str, Any]:
    """A token's time and events, and its volume: [2][buckets][row][column] numbers of events, off and on."""
    one = tokens.between(index, index + 1)
    volume = log_time_volume(one, patch_size, _BUCKETS)[0]
    return {
        "index": index,
        "x": int(one.x[0]),
        "y": int(one.y[0]),
        "t": int(one.t[0]),
        "events": len(one.events),
        "on": int(np.count_nonzero(one.events["p"])),
        "span": int(one.events["t"][-1]) - int(one.events["t"][0]) if len(one.events) else 0,
        "volume": volume.astype(int).tolist(),
    }


def whole(asked: dict[str, Any], name: str, low: int, high: int) -> int:
    """A number that a page sent. Raises UsageError for anything else."""
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"{name} must be a number from {low} to {high}")
    return int(value)


def changed(now: TokenizerSettings, first: TokenizerSettings, asked: dict[str, Any]) -> TokenizerSettings:
    """The settings that a page asks for: some of them others than now, or, without any, those at first."""
    given = asked.get("settings")
    if given is None:
        return first
    if not isinstance(given, dict):
        raise UsageError("settings are names and numbers")
    return replace(now, **_numbers(given)).checked()


def _numbers(given: dict[str, Any]) -> dict[str, Any]:
    """Of a tokenizer. What they may be, the tokenizer says."""
    unknown = sorted(set(given) - set(CHANGEABLE))
    if unknown:
        raise UsageError(f"{unknown[0]} cannot be changed")
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() and name != "threshold" else value
        for name, value in given.items()
    }


def refused(error: SpedgeError) -> Answer:
    """For the page."""
    return Answer({"error": str(error)})
