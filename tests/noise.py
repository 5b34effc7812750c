"""Bytes that are no frames: a device drops them, counts them, and is as before."""

from __future__ import annotations

import dataclasses

import numpy as np

from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.link.counts import Stats
from spedge.link.frames import Frame, Type
from spedge.link.protocol import Configuration
from tests.events import scattered


def require_unmoved(device: Device, count: int, damaged: int) -> None:
    """Send so many random bytes, and damaged frames, into the middle of a session of a device with a model: no count,
    token or logit changes, and it answers and goes on. Asserts."""
    random = np.random.default_rng(0)
    device.configure(Configuration(report_tokens=64))
    device.send(encode_words(scattered(1000, 50_000)))
    tokens, logits, before = device.tokens().tolist(), device.infer().logits.tolist(), device.stats()
    for data in (random.bytes(count), *(fragments(random, device.session.id) for _ in range(damaged))):
        while data:
            data = data[device.link.transport.exchange(data, 1.0)[0] :]
    assert state(device.stats()) == state(before)
    assert device.tokens().tolist() == tokens
    assert device.infer().logits.tolist() == logits
    after = device.stats()
    assert after.corrupted + after.oversized + after.truncated > before.corrupted + count // 1000
    device.send(encode_words(scattered(1000, 50_000, start=50_000)))
    assert device.flush().tokens > before.tokens


def fragments(random: np.random.Generator, session: int) -> bytes:
    """Good frames of the present session with one bit or byte wrong, or an end missing."""
    kind = int(random.choice([Type.EVENTS, Type.RESET, Type.CONFIGURE, Type.TOKENS, Type.INFER]))
    wire = bytearray(Frame(kind, int(random.integers(4)), session, random.bytes(int(random.integers(90)))).encode())
    at = int(random.integers(len(wire) - 1))
    if random.random() < 0.5:
        wire[at] ^= 1 << int(random.integers(8))
    else:
        del wire[at : at + int(random.integers(1, 9))]
    return bytes(wire.rstrip(b"\0")) + b"\0"


def state(stats: Stats) -> dict:
    """All that is not about frames and time."""
    frames = ("frames", "corrupted", "oversized", "truncated", "repeated", "refused")
    return {name: value for name, value in dataclasses.asdict(stats).items() if name not in frames}
