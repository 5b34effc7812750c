"""Tokens as a device reports them: not their events, but a CRC over them."""

from __future__ import annotations

import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spedge.tokens.tokenizer import Tokens

#: A token as the device reports it. `crc` is the CRC-32 of its events: t u64, x u16, y u16, p u8, little-endian.
TOKEN_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4"), ("crc", "<u4")])

#: What the CRC of a token is taken over, per event.
_PACKED_EVENT = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])


def as_reported(tokens: Tokens) -> NDArray[np.void]:
    """Tokens as a device reports them: TOKEN_DTYPE [n], with a CRC over the events of each."""
    out = np.empty(len(tokens), TOKEN_DTYPE)
    out["x"], out["y"], out["t"], out["n"] = tokens.x, tokens.y, tokens.t, tokens.n
    packed = np.empty(len(tokens.events), _PACKED_EVENT)
    for name in ("t", "x", "y", "p"):
        packed[name] = tokens.events[name]
    data, size = memoryview(packed.tobytes()), packed.itemsize
    out["crc"] = [zlib.crc32(data[a:b]) for a, b in pairwise((tokens.offsets * size).tolist())]
    return out
