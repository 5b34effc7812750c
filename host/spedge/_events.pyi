from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENT_DTYPE: np.dtype[np.void]

def check_order(t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], last_t: int, width: int, height: int) -> int: ...
def trimmed(records: NDArray[np.void], count: int) -> NDArray[np.void]: ...
