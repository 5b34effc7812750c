"""What the tokenizer costs: events per second on this machine, instructions per event on an emulated board."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CheckFailed, DeviceRefused
from spedge.bench.host import AgainstBincount, against_bincount
from spedge.bench.preloaded import run_preloaded
from spedge.boards.manifest import Board
from spedge.events.arrays import Columns, columns, cropped
from spedge.events.evt2 import encode
from spedge.link.protocol import pack_tokenizer
from spedge.tokens.tokenizer import Tokenizer, Tokens

REPEATS = 15
_POOL_EVENTS = 1 << 17  # of the board's pool: more than recordings leave pending


@dataclass(frozen=True)
class HostCost(AgainstBincount):
    """Of the quickest of REPEATS runs, one thread, from arrays to flat tokens with their events.

    times_bincount: that, as a multiple of the time of
    `np.bincount((y // 16).astype(np.int64) * columns + x // 16, minlength=patches)` on the same arrays.
    """

    events: int
    tokens: int
    seconds: float
    bincount_seconds: float


@dataclass(frozen=True)
class BoardCost:
    """Instructions for decoding EVT2 words in memory, tokenizing, and storing the events."""

    events: int
    tokens: int
    instructions: int

    @property
    def instructions_per_event(self) -> float:
        return self.instructions / self.events


def host_cost(events: NDArray[Any] | Columns, make: Callable[[], Tokenizer], repeats: int = REPEATS) -> HostCost:
    """Time new tokenizers on all events at once. make: gives a new tokenizer.

    events: structured, or Columns, which are quickest as contiguous arrays of the dtypes of EVENT_DTYPE's fields.
    """
    c = columns(events)
    config = make().config
    tokens = 0

    def tokenize() -> None:
        nonlocal tokens
        tokens = len(make().push(events))

    seconds, counting = against_bincount(tokenize, c.x, c.y, config.width, config.height, repeats)
    return HostCost(len(c.t), tokens, seconds, counting)


def board_cost(
    events: NDArray[Any], tokenizer: Tokenizer, board: Board, on_progress: Callable[[str], None] | None = None
) -> BoardCost:
    """Put a recording into an emulated board's memory and count what decoding and tokenizing it takes.

    tokenizer: new; its settings are the board's too. The board's tokens have to be this tokenizer's.
    Raises UsageError for a board that QEMU does not run or a recording that does not fit, CheckFailed for other tokens,
    DeviceError when the board fails, and what build.build raises.
    """
    config = tokenizer.config
    words = encode(events)
    pool = config.pool_events or _POOL_EVENTS
    if config.kind == "voxel":  # a bin may hold them all, some in blocks that are not full
        pool = max(pool, len(events) + 16 * config.columns * config.rows)
    image = b"SPB1" + struct.pack("<I", len(words)) + pack_tokenizer(config) + struct.pack("<II", pool, 0) + words
    say = on_progress or (lambda _: None)
    count, tokens, lost, cost, crc = run_preloaded(board, "bench/tokenizer", image, say)
    if count != len(events) or lost:
        raise DeviceRefused(f"{board.name} took {count} of {len(events)} events and lost {lost} to its pool of {pool}")
    expected = tokenizer.push(events)
    if (tokens, crc) != (len(expected), tokens_crc(expected)):
        raise CheckFailed(f"{board.name} made {tokens} tokens which are not the {len(expected)} tokens made here")
    return BoardCost(count, tokens, cost)


def tokens_crc(tokens: Tokens) -> int:
    """CRC-32 over each token's x u16, y u16, t u64, n u32 and its events' t u64, x u16, y u16, p u8, little-endian."""
    heads = np.empty(len(tokens), [("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")])
    heads["x"], heads["y"], heads["t"], heads["n"] = tokens.x, tokens.y, tokens.t, tokens.n
    crc = 0
    for i in range(len(tokens)):
        crc = zlib.crc32(tokens.events_of(i).tobytes(), zlib.crc32(heads[i].tobytes(), crc))
    return crc


def crop(events: NDArray[Any], size: tuple[int, int], part: tuple[int, int]) -> NDArray[Any]:
    """The events of the middle of a recording, as a smaller sensor there would have given them.

    events: structured. size, part: width and height, pixels, of the sensor and of its part; along an axis that the part
    does not cut, the recording stays whole, in the middle of the part.
    """
    left, top = (-((p - s) // 2) for s, p in zip(size, part, strict=True))
    return cropped(events, left, top, *part)
