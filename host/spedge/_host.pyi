from typing import Any

import numpy as np
from numpy.typing import NDArray

#: x, y, t, offsets, events of tokens
Fired = tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint64], NDArray[np.int64], NDArray[np.void]]

class BadEvent(Exception):
    index: int

class Tokenizer:
    last_t: int
    def __init__(
        self,
        width: int,
        height: int,
        patch_size: int,
        discrete: bool,
        threshold: float,
        absolute_refractory_us: int,
        relative_refractory_us: int,
        relative_scale: float,
        decay_per_us: float,
        duration_us: int,
    ) -> None: ...
    def push(self, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> Fired | None: ...
    def push_records(self, events: NDArray[np.void]) -> Fired | None: ...
    def reset(self) -> None: ...
    def stats(self) -> dict[str, int]: ...

def voxels(
    t: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    p: NDArray[Any],
    width: int,
    height: int,
    patch_size: int,
    threshold: int,
    duration_us: int,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint64], NDArray[np.int64], NDArray[np.void], int]: ...
