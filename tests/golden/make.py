"""Make the small token vectors in this folder with the slow oracle: `python -m tests.golden.make` from the root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.python import tokenizer_oracle

HERE = Path(__file__).resolve().parent
EVENT_DTYPE = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")]
VECTORS: dict[str, dict[str, Any]] = {
    "integer": {"width": 46, "height": 37, "patch_size": 8, "threshold": 20.5},
    "refractory": {"width": 46, "height": 37, "patch_size": 5, "threshold": 12.0, "absolute_refractory_us": 20_000},
    "real": {
        "width": 46,
        "height": 37,
        "patch_size": 16,
        "threshold": 9.25,
        "absolute_refractory_us": 500,
        "relative_refractory_us": 4000,
        "relative_scale": 0.3,
        "decay_per_us": 2e-4,
    },
    "pool": {"width": 46, "height": 37, "patch_size": 8, "threshold": 24.0, "pool_events": 300},
}


def stream(width: int, height: int, n: int = 3000) -> NDArray[np.void]:
    """A spot that wanders, over noise, with a few long pauses (one beyond 2^34 us)."""
    rng = np.random.default_rng(2026)
    steps = rng.integers(0, 200, n).astype(np.uint64)
    steps[[800, 1600, 2400]] = (1 << 23, 1 << 32, 1 << 34)
    events = np.zeros(n, EVENT_DTYPE)
    events["t"] = np.cumsum(steps)
    angle = np.linspace(0, 20, n)
    noise = rng.random(n) < 0.2
    for name, size, way in (("x", width, np.cos(angle)), ("y", height, np.sin(angle))):
        spot = np.clip(size / 2 + size / 3 * way + rng.normal(0, 2, n), 0, size - 1)
        events[name] = np.where(noise, rng.integers(0, size, n), spot)
    events["p"] = rng.integers(0, 2, n)
    return events


def main() -> None:
    for name, parameters in VECTORS.items():
        events = stream(parameters["width"], parameters["height"])
        tokens = tokenizer_oracle.continuous(events, **parameters)
        np.savez_compressed(
            HERE / f"tokens_{name}.npz",
            parameters=json.dumps(parameters),
            events=events,
            x=np.array(tokens.x, np.uint16),
            y=np.array(tokens.y, np.uint16),
            t=np.array(tokens.t, np.uint64),
            n=np.array([len(own) for own in tokens.events], np.uint32),
            order=np.array([index for own in tokens.events for index in own], np.uint32),
        )
        print(f"{name}: {len(tokens.t)} tokens, {tokens.pool_lost} events lost to the pool")


if __name__ == "__main__":
    main()
