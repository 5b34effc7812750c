from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from spedge.tokens.settings import TokenizerSettings

def serve(
    digest: bytes,
    name: bytes,
    tokenizer: tuple[int, int, TokenizerSettings],
    time_scale_us: float,
    buckets: int,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    tokens: int,
    outputs: Sequence[tuple[bytes, tuple[int, ...]]],
    stateful: bool,
    run: Callable[[NDArray[np.float32], int, NDArray[np.float32]], None],
) -> None: ...
