import numpy as np
from numpy.typing import NDArray

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
