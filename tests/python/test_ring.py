"""A ring that a DMA fills (firmware/port/ring.h): what it has written over is counted, in front of the next byte."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c_library import c_library

STREAM = bytes(i * 7 % 251 for i in range(4000))


class Ring:
    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))

    def open(self) -> None:
        self._c.fake_open()

    def dma(self, data: bytes) -> None:
        self._c.fake_dma(data, len(data))

    def overrun(self) -> None:
        self._c.fake_overrun()

    def take(self, n: int = 256) -> bytes:
        out = ctypes.create_string_buffer(n)
        got = self._c.fake_take(out, n)
        return out.raw[:got]

    def lost(self) -> int:
        return int(self._c.fake_lost())

    @property
    def level(self) -> int:
        return int(self._c.fake_level())


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Ring:
    return Ring(c_library(tmp_path_factory.mktemp("ring") / "ring.so", "dma_ring.c"))


@given(pieces=st.lists(st.tuples(st.integers(1, 150), st.integers(0, 70)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_byte_comes_out_or_is_counted_in_its_place(ring: Ring, pieces: list[tuple[int, int]]) -> None:
    """(bytes that the DMA writes, bytes that are taken then)."""
    ring.open()
    sent = taken = 0
    for size, most in [*pieces, (1, 256)]:
        ring.dma(STREAM[sent : sent + size])
        sent += size
        at = taken + ring.lost()
        data = ring.take(most)
        assert data == STREAM[at : at + len(data)]
        taken += len(data)
    assert taken + ring.lost() == sent


def test_what_is_written_over_is_not_taken_before_it_was_asked_for(ring: Ring) -> None:
    ring.open()
    ring.dma(STREAM[:65])
    assert ring.take() == b"" and ring.level == 255
    assert ring.lost() == 33  # half of the ring is left
    assert ring.take() == STREAM[33:65]
    assert ring.level == 0


def test_a_byte_that_the_dma_was_too_late_for_is_counted_where_it_was(ring: Ring) -> None:
    ring.open()
    ring.dma(STREAM[:10])
    ring.overrun()
    ring.overrun()
    ring.dma(STREAM[12:30])
    assert ring.lost() == 0 and ring.take() == STREAM[:10]
    assert ring.take() == b""
    assert ring.lost() == 2 and ring.take() == STREAM[12:30]
