"""Writes the corpus of the fuzzers: small streams of every kind of word, and a small recording of every format.

python -m tests.fuzz.make_corpus
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from cobs import cobs

from tests import recording_files

FOLDER = Path(__file__).resolve().parent / "corpus"
READERS = FOLDER.with_name("corpus_readers")
#: Sensor (index of the fuzzer's list of sides, twice), bytes a piece - 1, room for events - 1.
PLANS = ((5, 5, 255, 39), (0, 0, 0, 0), (3, 3, 6, 2), (6, 5, 2, 11))
#: Kind and sensor, patch size and pool, threshold, duration and refractory periods, two of their sizes, cut, unused.
TOKENIZERS = (
    (20, 26, 5, 0, 0, 0, 6, 0),
    (42, 19, 9, 12, 9, 40, 0, 0),
    (37, 28, 4, 6, 8, 0, 250, 0),
    (41, 9, 0, 2, 0, 0, 4, 0),
)
#: What fuzz_app.c makes a CONFIGURE of: lossless; live with pushed results; the camera; discrete with a camera's bytes.
SESSIONS = (
    (6, 0, 0, 4, 4, 40, 30, 4, 3, 0, 0),
    (21, 0, 0, 4, 40, 30, 4, 3, 0, 12, 5, 2),
    (21, 0, 0, 4, 40, 30, 4, 3, 0, 4, 5),
    (4, 0, 0, 4, 40, 30, 4, 3, 0, 50, 7),
)
HELLO, OUTPUTS, CONFIGURE, RESET, EVENTS, FLUSH, TOKENS, INFER, STATS, RESULTS, RAW, VALUES = range(1, 13)
BOXES = 15


def evt2(rng: random.Random, n: int) -> bytes:
    words, high = [], rng.choice([0, 5, 0x0FFFFFFE])
    for _ in range(n):
        kind = rng.choices([0, 1, 8, 10, 14, 15, 4], [6, 6, 3, 1, 1, 1, 1])[0]
        high = (high + rng.choice([1, 1, 1, 3, 1 << 20])) % (1 << 28) if kind == 8 else high
        rest = high if kind == 8 else rng.randrange(64) << 22 | rng.randrange(1300) << 11 | rng.randrange(800)
        words.append(kind << 28 | rest)
    return struct.pack(f"<{n}I", *words)


def evt21(rng: random.Random, n: int, legacy: bool = False) -> bytes:
    heads = struct.unpack(f"<{n}I", evt2(rng, n))
    masks = [rng.choice([0, 1, 0x80000001, 0xFFFFFFFF, rng.getrandbits(32)]) for _ in heads]
    pairs = zip(heads, masks, strict=True) if legacy else zip(masks, heads, strict=True)
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


def evt3(rng: random.Random, n: int) -> bytes:
    words, high = [], rng.choice([0, 7, 4094])
    for i in range(n):
        kind = (
            8
            if i == 0
            else rng.choices([0, 2, 3, 4, 5, 6, 7, 8, 10, 14, 15, 1], [4, 4, 3, 4, 2, 3, 1, 2, 1, 1, 1, 1])[0]
        )
        high = (high + rng.choice([0, 1, 2, 2100])) % 4096 if kind == 8 else high
        words.append(kind << 12 | (high if kind == 8 else rng.choice([rng.randrange(1300), rng.getrandbits(12)])))
    return struct.pack(f"<{n}H", *(word & 0xFFFF for word in words))


def edvs(rng: random.Random, n: int, mode: int) -> bytes:
    data = b""
    for _ in range(n):
        data += bytes([0x80 | rng.randrange(128), rng.randrange(256)])
        if mode == 1:
            size = rng.randrange(1, 5)
            data += bytes([rng.randrange(128) for _ in range(size - 1)]) + bytes([0x80 | rng.randrange(128)])
        elif mode:
            data += rng.randbytes(mode)
        if rng.random() < 0.1:
            data += rng.randbytes(rng.randrange(4))
    return data


def frame(rng: random.Random, n: int) -> bytes:
    data = b""
    for _ in range(n // 8):
        body = struct.pack("<BBHI", rng.randrange(12), 0, rng.randrange(9), rng.randrange(3)) + rng.randbytes(
            rng.randrange(20)
        )
        data += cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"
    return data


def tokenizer(rng: random.Random, n: int) -> bytes:
    """Bursts of events on 34 x 34 pixels, sorted but for a few."""
    words, t, high = [], rng.choice([0, 1 << 23, 1 << 33]), -1
    for _ in range(2 * n):
        t += rng.choice([0, 0, 1, 3, 60, 900])
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high & 0x0FFFFFFF)
        words.append(rng.randrange(2) << 28 | (t & 63) << 22 | rng.randrange(35) << 11 | rng.randrange(35))
    return struct.pack(f"<{len(words)}I", *words)


def app(rng: random.Random, n: int, configuration: tuple[int, ...]) -> bytes:
    """A program of fuzz_app.c: a session of that configuration, and everything a host may ask in it."""

    def frame(type: int, *body: int) -> bytes:
        return bytes([63, type - 1, 1, 1, 0, 0, *body])

    def events() -> list[int]:
        pixels = [value for _ in range(31) for value in (rng.randrange(64), rng.randrange(30), rng.randrange(32))]
        return [31, 0, rng.randrange(9), *pixels]

    data = frame(HELLO, 3, 3) + frame(OUTPUTS, 0, 0) + frame(CONFIGURE, *configuration)
    for _ in range(n // 8):
        data += frame(EVENTS, *events(), 0) + bytes([40, 124]) + rng.randbytes(124)  # the latter from the camera
        data += (
            frame(TOKENS, 0, 9) + frame(INFER) + frame(VALUES, 80) + frame(BOXES, 0) + frame(RESULTS, 0) + frame(RAW, 0)
        )
        data += frame(STATS) + frame(FLUSH, 8)
    return data + frame(RESET)


def main() -> None:
    makers: dict[str, Callable[[random.Random, int], bytes]] = {
        "evt2": evt2,
        "evt21": evt21,
        "evt21_legacy": lambda rng, n: evt21(rng, n, legacy=True),
        "evt3": evt3,
        "tokenizer": tokenizer,
        "frame": frame,
    }
    makers |= {f"edvs_e{mode}": lambda rng, n, mode=mode: edvs(rng, n, mode) for mode in range(5)}  # type: ignore[misc]
    for name, make in makers.items():
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, plan in enumerate(TOKENIZERS if name == "tokenizer" else PLANS):
            head = bytes(plan[2:]) if name == "frame" else bytes(plan)
            (folder / f"seed{i}").write_bytes(head + make(random.Random(i), (40, 8, 60, 100)[i]))
    for i, configuration in enumerate(SESSIONS):
        for name in ("app", "app_detector"):
            (FOLDER / name).mkdir(parents=True, exist_ok=True)
            (FOLDER / name / f"seed{i}").write_bytes(app(random.Random(i), 24, configuration))
    for format in recording_files.FORMATS:
        (READERS / format).mkdir(parents=True, exist_ok=True)
        recording_files.write(READERS / format / "seed0", format, recording_files.some_events(60, 34, 34))


if __name__ == "__main__":
    main()
