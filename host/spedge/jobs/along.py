"""What the host's reference says of a recording on the way, when a device would say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.events.arrays import since
from spedge.events.evt2 import encode_words, time_base
from spedge.jobs.results import expected_results, stream_times, window_of
from spedge.model.reference import Reference


@dataclass(frozen=True)
class Said:
    """A result. t: the recording's time, µs. tokens: fired until then; window: of them, what the model saw.

    logits: float32 [classes]; confidence: softmax of the label's.
    """

    t: int
    tokens: int
    window: int
    label: str
    confidence: float
    logits: NDArray[np.float32]


def along(reference: Reference, events: NDArray[Any], every_us: int = 100_000, window_us: int = 0) -> Iterator[Said]:
    """The results of a recording (EVENT_DTYPE, sorted, at least one) each `every_us` of its time, and one at its end.

    They are those that `jobs.run.Session` gets of a device that loses nothing. Raises UsageError for no time between
    results.
    """
    if every_us <= 0:
        raise UsageError("the time between results must be more than 0")
    base = time_base(int(events["t"][0]))
    heard = since(events, base)
    tokens, _ = reference.tokenize(heard)
    times = stream_times(encode_words(heard))
    expected = [(result.t, result.newest) for result in expected_results(tokens.t, times, every_us)]
    for t, newest in (*expected, (int(heard["t"][-1]), len(tokens))):
        seen = window_of(reference, tokens, newest, max(t - window_us, 0) if window_us else 0)
        logits = reference.logits(seen)
        label, confidence = reference.bundle.verdict(logits)
        yield Said(t + base, newest, len(seen), label, confidence, logits)
