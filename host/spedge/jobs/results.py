"""What a device that infers as the stream goes on has to say: its results, computed again from its tokens.

A device makes results at multiples of a stream time and after numbers of tokens (firmware/lib/SPEC.md, "Results that
were not asked for"). Both depend on the bytes alone, so a host that knows the bytes can say which results there have to
be, and one that knows only the tokens can check each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.link.protocol import CAUSES, Configuration, Result
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.tokens.tokenizer import Tokens

_EVERY_US, _EVERY_TOKENS = CAUSES[1:3]


@dataclass(frozen=True)
class Expected:
    """A result that a device has to make: its cause, stream time t (µs), and how many tokens had fired by then."""

    cause: str
    t: int
    newest: int


def stream_times(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The stream's time after each word that takes it further: µs, ascending, from EVT2 words that begin with a time.

    Wraps of the clock are added, as by a decoder.
    """
    kind, low = words >> 28, ((words >> 22) & 63).astype(np.int64)
    is_time, is_event = kind == 8, kind <= 1
    high = (words[is_time] & 0x0FFFFFFF).astype(np.int64) << 6
    wraps = np.concatenate([[0], np.cumsum(np.diff(high) < -(1 << 33))])
    base = (high + (wraps << 34))[np.maximum(np.cumsum(is_time) - 1, 0)] if len(high) else low
    times = np.where(is_event, base | low, base)[is_time | is_event]
    times = np.maximum.accumulate(times)
    return times[np.concatenate([[True], np.diff(times) > 0])] if len(times) else times


def expected_results(
    token_times: NDArray[Any],
    times: NDArray[np.int64],
    every_us: int = 0,
    every_tokens: int = 0,
    fired: NDArray[np.int64] | None = None,
) -> list[Expected]:
    """All results of a stream, in order. token_times: the stream's time at each token, that of the event that made it;
    times: as `stream_times` gives them; fired: the time that made it, where that is a later one."""
    told = token_times.astype(np.int64)
    fired = told if fired is None else fired
    found = []
    if every_us and len(times):
        steps = times // every_us
        crossing = np.flatnonzero(np.diff(steps)) + 1  # words that take the time over a boundary
        for at in crossing:
            newest = int(np.searchsorted(fired, times[at], "left"))
            found.append(Expected(_EVERY_US, int(steps[at]) * every_us, newest))
    if every_tokens:
        found += [
            Expected(_EVERY_TOKENS, int(told[n - 1]), n) for n in range(every_tokens, len(told) + 1, every_tokens)
        ]
    return sorted(found, key=lambda e: (e.newest, e.cause == _EVERY_US, e.t))


def window_of(reference: Reference, tokens: Tokens, newest: int, since: int) -> Tokens:
    """What the model saw when `newest` of the tokens had fired: the last of these, none with a time before `since`."""
    count = reference.bundle.window_tokens(newest)
    first = max(newest - count, int(np.searchsorted(tokens.t[:newest], since, "left")))
    a, b = tokens.offsets[first], tokens.offsets[newest]
    part = slice(first, newest)
    return Tokens(
        tokens.x[part], tokens.y[part], tokens.t[part], tokens.offsets[first : newest + 1] - a, tokens.events[a:b]
    )


def seen_outputs(
    reference: Reference, tokens: Tokens, result: Result, window_us: int
) -> Mapping[str, NDArray[np.float32]]:
    """What the host computes for the window that this result is of. tokens: as for `result_difference`."""
    return reference.outputs(_seen(reference, tokens, result, window_us))


def _seen(reference: Reference, tokens: Tokens, result: Result, window_us: int) -> Tokens:
    return window_of(reference, tokens, result.newest, max(result.t - window_us, 0) if window_us else 0)


def result_difference(
    reference: Reference, tokens: Tokens, result: Result, window_us: int, tolerance: float
) -> tuple[float, str | None]:
    """The largest difference of a number of this result from the host's, and a sentence when something does not agree.

    tokens: the host's, of the whole stream, with the times that the device has.
    """
    name = f"result {result.index} (at {result.t} µs)"
    if result.code:
        return np.inf, f"{name}: the model failed with code {result.code}"
    if result.newest > len(tokens):
        return np.inf, f"{name} is of {result.newest} tokens and the host made {len(tokens)}"
    seen = _seen(reference, tokens, result, window_us)
    if len(seen) != result.window:
        return np.inf, f"{name}: the host's window has {len(seen)} tokens and the device's {result.window}"
    host = reference.outputs(seen)
    difference = max(largest_difference(tensor, result.outputs.get(output)) for output, tensor in host.items())
    problem = output_difference(host, result.outputs, tolerance)
    return difference, problem and f"{name}: {problem}"


def largest_difference(host: NDArray[np.float32], device: NDArray[np.float32] | None) -> float:
    """Infinity when the device has none or one of another shape; no number when one of its numbers is none."""
    if device is None or host.shape != device.shape:
        return math.inf
    return float(np.abs(host - device).max())


def output_difference(
    host: Mapping[str, NDArray[np.float32]], device: Mapping[str, NDArray[np.float32]], tolerance: float
) -> str | None:
    """None when the outputs agree, else a sentence on the first that does not.

    tolerance: of a logit; other outputs may have larger numbers (pixels, say), and theirs is that share of the largest.
    """
    for name, tensor in host.items():
        difference = largest_difference(tensor, device.get(name))
        scale = 1.0 if name == "logits" else max(1.0, float(np.abs(tensor).max()))
        if not difference <= tolerance * scale:
            what = "a logit" if name == "logits" else f"the output {name!r}"
            return f"the largest difference of {what} is {difference:.3g}"
    return None


def results_difference(expected: Sequence[Expected], results: Sequence[Result]) -> str | None:
    """None when these are the results that had to be made (index, cause, time, tokens), else the first difference."""
    for index, (want, got) in enumerate(zip(expected, results, strict=False)):
        have = Expected(got.cause, got.t, got.newest)
        if got.index != index:
            return f"result {index} is missing: the next one has the index {got.index}"
        if have != want:
            return f"result {index}: the host expects {_shown(want)} and the device made {_shown(have)}"
    if len(expected) != len(results):
        return f"the host expects {len(expected)} results and the device made {len(results)}"
    return None


def _shown(e: Expected) -> str:
    return f"{e.cause} at {e.t} µs after {e.newest} tokens"


def _made(
    bundle: Bundle, tokens: Tokens, clock: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64] | None]:
    """The stream's time at each token, and what made it where that was a later time: of voxels the first one behind
    their bin. clock: times, ascending."""
    settings = bundle.token_input.tokenizer
    if settings.kind != "voxel":
        return tokens.t, None
    behind = np.searchsorted(clock, tokens.t.astype(np.int64) + (settings.duration_us or 0), "left")
    return clock[behind - 1].astype(np.uint64), clock[behind]


def check_results(
    reference: Reference,
    tokens: Tokens,
    results: Sequence[Result],
    configuration: Configuration,
    tolerance: float,
    words: NDArray[np.uint32] | None = None,
    seen_at: NDArray[Any] | None = None,
) -> str | None:
    """None when the device's results are the host's, else a sentence on the first that is not.

    tokens: the host's. words: the EVT2 words that the device was given, losing none; None where they are not known,
    and then only what each result says of itself is checked. seen_at: times of the events that the tokenizer has seen,
    where these are not all.
    """
    if words is not None:
        times = stream_times(words)
        at, fired = _made(reference.bundle, tokens, times if seen_at is None else seen_at.astype(np.int64))
        expected = expected_results(at, times, configuration.every_us, configuration.every_tokens, fired)
        if (problem := results_difference(expected, results)) is not None:
            return problem
    for result in results:
        _, problem = result_difference(reference, tokens, result, configuration.window_us, tolerance)
        if problem is not None:
            return problem
    return None
