from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENT_DTYPE: np.dtype[np.void]

def strerror(code: int) -> str: ...
def encode_frame(type: int, flags: int, seq: int, session: int, payload: bytes | memoryview) -> bytes: ...
def check_order(t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], last_t: int, width: int, height: int) -> int: ...

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
        self, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint64], NDArray[np.int64], NDArray[np.void]]: ...
    def reset(self) -> None: ...
    def stats(self) -> dict[str, int]: ...

def tokenizer_size(
    width: int, height: int, patch_size: int, threshold: float, absolute_refractory_us: int, pool_events: int
) -> int: ...
def trimmed(records: NDArray[np.void], count: int) -> NDArray[np.void]: ...
def volumes(
    events: NDArray[np.void], offsets: NDArray[np.int64], patch_size: int, buckets: int
) -> NDArray[np.uint16]: ...
def cells(
    events: NDArray[np.void], offsets: NDArray[np.int64], patch_size: int, buckets: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int64]]: ...
def embed(
    events: NDArray[np.void],
    offsets: NDArray[np.int64],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    patch_size: int,
    buckets: int,
) -> NDArray[np.float32]: ...
def positions(
    x: NDArray[np.uint64], y: NDArray[np.uint64], t: NDArray[np.uint64], hidden: int, time_scale: float
) -> NDArray[np.float32]: ...
