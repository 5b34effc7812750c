"""External triggers: edges on a camera's input, with their times. Kept in RAW, HDF5 and NPZ.

In RAW they are words between the others, whose time is that of the stream there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import EVENT_DTYPE
from spedge.events.decoders import Decoder

#: t: µs of the sensor's clock; id: of the input; p: 1 for a rising edge, 0 for a falling one.
TRIGGER_DTYPE = np.dtype([("t", "<u8"), ("id", "u1"), ("p", "u1")])
_KIND = 0xA  # of a word, in its upper four bits, in all encodings
_MOST_ID = {"evt2": 31, "evt3": 15}
_BLOCK_BYTES = 1 << 20


def no_triggers() -> NDArray[np.void]:
    return np.empty(0, TRIGGER_DTYPE)


def of_numbers(t: NDArray[Any], id: NDArray[Any], p: NDArray[Any], where: str) -> NDArray[np.void]:
    """Columns of a file. Raises InputError, saying where, for numbers that are none of triggers."""
    good = (t >= 0) & (id >= 0) & (id < 256) & (p >= -1) & (p <= 1)
    if not good.all():
        at = int(np.argmin(good))
        raise InputError(f"{where}: trigger {at} (t={t[at]}, id={id[at]}, p={p[at]}) is none; the file is damaged")
    triggers = np.empty(len(t), TRIGGER_DTYPE)
    triggers["t"], triggers["id"], triggers["p"] = t, id, p > 0
    return triggers


# ---------------------------------------------------------------- words


def of_raw(path: Path, begin: int, format: str) -> NDArray[np.void]:
    """Those between the words of a RAW file from a byte on, but for those before the first time word."""
    if not any(_heads(block, format)[1].any() for block in _blocks(path, begin)):
        return no_triggers()  # no need to know times
    decoder = Decoder(format)
    found: list[tuple[int, int, int]] = []
    for block in _blocks(path, begin):
        heads, marked = _heads(block, format)
        size, at = len(block) // max(len(heads), 1), 0
        for i in np.flatnonzero(marked).tolist():
            decoder.feed(block[at : (i + 1) * size])
            at = (i + 1) * size
            head = int(heads[i])
            if decoder.timed:
                t = decoder.time if format == "evt3" else decoder.time | head >> 22 & 63
                found.append((t, head >> 8 & (15 if format == "evt3" else 31), head & 1))
        decoder.feed(block[at:])
    return np.array(found, TRIGGER_DTYPE)


def _blocks(path: Path, begin: int) -> Iterator[bytes]:
    """Of whole words, whatever their size."""
    with path.open("rb") as file:
        file.seek(begin)
        while block := file.read(_BLOCK_BYTES):
            yield block[: len(block) // 8 * 8] if len(block) == _BLOCK_BYTES else block


def _heads(block: bytes, format: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """What each word begins with, type and times, and which are triggers."""
    size = {"evt2": 4, "evt3": 2}.get(format, 8)
    block = block[: len(block) // size * size]
    if size == 2:
        heads = np.frombuffer(block, "<u2")
        return heads, heads >> 12 == _KIND
    heads = np.frombuffer(block, "<u4")
    if size == 8:
        heads = heads[0 if format.endswith("legacy") else 1 :: 2]
    return heads, heads >> 28 == _KIND


def with_words(
    events: NDArray[np.void], triggers: NDArray[np.void], encoding: str, encode: Callable[[NDArray[np.void]], bytes]
) -> bytes:
    """Words of the events with those of triggers, by time: as events of their times, of which the last word is another.

    Raises InputError for a number of an input that the encoding cannot hold.
    """
    if len(triggers) == 0:
        return encode(events)
    most = _MOST_ID[encoding]
    if int(triggers["id"].max()) > most:
        raise InputError(f"a trigger is of input {triggers['id'].max()}, and {encoding} holds up to {most}")
    stand_ins = np.zeros(len(triggers), EVENT_DTYPE)
    stand_ins["t"] = triggers["t"]
    both = np.concatenate([stand_ins, events])
    order = np.argsort(both["t"], kind="stable")
    which = np.flatnonzero(order < len(triggers))
    words = np.frombuffer(encode(both[order]), "<u2" if encoding == "evt3" else "<u4").copy()
    bits = 12 if encoding == "evt3" else 28
    kinds = words >> bits
    at = np.flatnonzero(kinds == 2 if encoding == "evt3" else kinds <= 1)[which]
    source = triggers[order[which]]
    times = 0 if encoding == "evt3" else words[at] & (63 << 22)
    words[at] = (_KIND << bits | source["id"].astype(words.dtype) << 8 | source["p"] | times).astype(words.dtype)
    return words.tobytes()
