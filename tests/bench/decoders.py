"""How fast the decoders are: from bytes in pieces of a file's chunk to event arrays, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge import evt2, evt3
from spedge.decoders import Decoder

PIECE = 1 << 18  # bytes
REPEATS = 7
PATCH = 16


def bench_decoders(events: NDArray[np.void], side: int) -> list[dict[str, Any]]:
    """Rows of million events per second and the multiple of np.bincount's time for the same number of events.

    events: what EVT2, EVT3 and eDVS hold (side x side pixels). Vectors are of random masks. The best of REPEATS.
    """
    columns = side // PATCH
    x, y = events["x"].copy(), events["y"].copy()
    counting = _best(
        lambda: np.bincount((y // PATCH).astype(np.int64) * columns + x // PATCH, minlength=columns * columns)
    ) / len(events)
    streams = {
        "EVT2": evt2.encode(events),
        "EVT21": _evt21(len(events) // 16),
        "EVT21 legacy": _evt21(len(events) // 16).reshape(-1, 2)[:, ::-1].tobytes(),
        "EVT3": evt3.encode(events),
        "EVT3 vectors": _evt3_vectors(len(events) // 6),
        "eDVS E4": _edvs(events),
    }
    rows = []
    for name, stream in streams.items():
        data = bytes(stream)
        count = _run(name, data)
        seconds = _best(lambda name=name, data=data: _run(name, data))  # type: ignore[misc]
        rows.append(
            {
                "format": name,
                "events": count,
                "mevents_per_s": round(count / seconds / 1e6, 1),
                "mbytes_per_s": round(len(data) / seconds / 1e6, 1),
                "times_bincount": round(seconds / count / counting, 2),
            }
        )
    return rows


def _run(name: str, data: bytes) -> int:
    decoder = Decoder(name.removesuffix(" vectors"))
    view = memoryview(data)
    return sum(len(decoder.feed(view[i : i + PIECE])) for i in range(0, len(data), PIECE))


def _evt21(words: int) -> NDArray[np.uint32]:
    """Masks and heads; a time word every 64."""
    random = np.random.default_rng(0)
    heads = (
        random.integers(0, 2, words) << 28 | random.integers(0, 40, words) * 32 << 11 | random.integers(0, 720, words)
    )
    heads[::64] = 8 << 28 | np.arange(len(heads[::64]))
    masks = random.integers(0, 1 << 32, words)
    return np.stack([masks, heads], axis=1).astype("<u4").ravel()


def _evt3_vectors(words: int) -> bytes:
    """Rows of three vectors: time, row, base, 12, 12, 8."""
    random = np.random.default_rng(0)
    rows = np.empty((words // 6, 6), "<u2")
    rows[:, 0] = 0x6000 | np.arange(len(rows)) % 4096
    rows[:, 1] = random.integers(0, 720, len(rows))
    rows[:, 2] = 0x3000 | random.integers(0, 2, len(rows)) << 11 | random.integers(0, 40, len(rows)) * 32
    rows[:, 3:5] = 0x4000 | random.integers(0, 4096, (len(rows), 2))
    rows[:, 5] = 0x5000 | random.integers(0, 256, len(rows))
    return b"\x00\x80" + rows.tobytes()


def _edvs(events: NDArray[np.void]) -> bytes:
    rows = np.empty((len(events), 6), np.uint8)
    rows[:, 0] = 0x80 | events["y"] % 128
    rows[:, 1] = events["p"] << 7 | (events["x"] % 128).astype(np.uint8)
    rows[:, 2:] = events["t"].astype(">u4").view(np.uint8).reshape(-1, 4)
    return rows.tobytes()


def _best(function: Callable[[], object]) -> float:
    """Seconds of the quickest run."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
