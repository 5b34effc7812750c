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

class EventStreamDecoder:
    held: int
    consumed: int
    exposures: int
    outside: int
    damaged: bool
    def __init__(self, kind: int, width: int, height: int, drop: bool = False) -> None: ...
    def feed(self, data: bytes | bytearray | memoryview) -> NDArray[np.void]: ...

def ecf_decode(data: bytes) -> NDArray[np.void]: ...
