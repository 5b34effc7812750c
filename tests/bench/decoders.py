"""How fast the decoders are here: `spedge bench decoder` over all formats, and over words full of events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.bench.decoder import host_cost
from spedge.bench.streams import encode


def bench_decoders(events: NDArray[np.void], side: int) -> list[dict[str, Any]]:
    """Rows of million events per second and the multiple of np.bincount's time for the same events.

    events: what EVT2, EVT3 and eDVS hold (side x side pixels). Vectors are of random masks.
    """
    words = len(events) // 16
    streams = {
        "evt2": encode(events, "evt2"),
        "evt2.1": _evt21(words).tobytes(),
        "evt2.1-legacy": _evt21(words).reshape(-1, 2)[:, ::-1].tobytes(),
        "evt3": encode(events, "evt3"),
        "evt3 vectors": _evt3_vectors(len(events) // 6),
        "edvs-e4": encode(events, "edvs-e4"),
    }
    rows = []
    for name, data in streams.items():
        cost = host_cost(name.removesuffix(" vectors"), data)
        rows.append(
            {
                "format": name,
                "events": cost.events,
                "mevents_per_s": round(cost.events_per_second / 1e6, 1),
                "mbytes_per_s": round(cost.bytes / cost.seconds / 1e6, 1),
                "times_bincount": round(cost.times_bincount, 2),
            }
        )
    return rows


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
