import numpy as np
from numpy.typing import NDArray

COLUMNS_MAX: int

def read_lines(
    data: bytes | bytearray | memoryview,
    columns: bytes,
    separator: int,
    exponent: int,
    whole_times: bool,
    capacity: int,
) -> tuple[NDArray[np.void], int, int]: ...
