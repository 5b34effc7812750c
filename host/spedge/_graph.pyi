from typing import Any

import numpy as np
from numpy.typing import NDArray

def neighbours(
    points: NDArray[np.floating[Any]],
    centres: NDArray[np.uint32] | None,
    radius: float,
    cap: int,
    rule: int,
    own: bool,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]: ...
def sample(points: NDArray[np.floating[Any]], start: int, count: int) -> NDArray[np.uint32]: ...
