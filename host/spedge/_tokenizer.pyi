from typing import Any

import numpy as np
from numpy.typing import NDArray

class Tokenizer:
    last_t: int
    def __init__(
        self,
        width: int,
        height: int,
        patch_size: int,
        threshold: float,
        absolute_refractory_us: int,
        relative_refractory_us: int,
        relative_scale: float,
        decay_per_us: float,
        pool_events: int,
        kind: int,
        duration_us: int,
    ) -> None: ...
    def push(
        self, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], end: bool = True
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint64], NDArray[np.int64], NDArray[np.void]]: ...
    def reset(self) -> None: ...
    def stats(self) -> dict[str, int]: ...

def tokenizer_size(
    width: int, height: int, patch_size: int, threshold: float, absolute_refractory_us: int, pool_events: int
) -> int: ...
