from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPE: np.dtype[Any]

def keep(
    given: NDArray[np.float32],
    scores: NDArray[np.float32],
    score: float,
    iou: float,
    width: int,
    height: int,
    capacity: int,
) -> tuple[NDArray[Any], int]: ...
def decode(
    head: NDArray[np.float32],
    levels: NDArray[np.uint16],
    score: float,
    iou: float,
    width: int,
    height: int,
    capacity: int,
) -> tuple[NDArray[Any], int]: ...
