"""Detection's samples: which chunks, in which order. Equal to the authors', and to what is promised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from spedge.training.data.windows import SEQUENCE, Piece, labelled_ranges, random_windows, streamed
from tests.golden_models import Case, cases


def labelled_of(case: Case) -> list[list[int]]:
    return [case["labelled"][case["labelled"][:, 0] == r, 1].tolist() for r in range(len(case["length"]))]


def labels_in(piece: Piece, labelled: list[list[int]]) -> int:
    return sum(piece.first <= chunk < piece.last for chunk in labelled[piece.recording])


@pytest.mark.parametrize("name", cases(4, array="^streaming$"))
def test_samples_and_their_order_are_the_authors(name: str) -> None:
    case = Case(name)
    assert case.about["sequence_length"] == SEQUENCE
    labelled = labelled_of(case)
    random = random_windows(labelled)
    got = [[p.recording, p.last - 1, p.first, p.last, labels_in(p, labelled)] for p in random]
    assert got == case["random"].tolist()
    ranges = [(r, labelled_ranges(chunks)) for r, chunks in enumerate(labelled)]
    assert [[r, *own] for r, those in ranges for own in those] == case["ranges"].tolist()
    every = [(r, [(0, int(n))]) for r, n in enumerate(case["length"])]
    for what, taken in (("streaming", ranges), ("evaluation", every)):
        slots = 1 + int(case[what][:, 0].max())
        pieces = streamed(taken, slots)
        got = [[p.slot, p.recording, p.first, p.last, p.reset, labels_in(p, labelled)] for p in pieces]
        assert got == case[what].tolist()


@pytest.mark.parametrize("slots", [1, 2, 5, 40])
def test_every_chunk_is_streamed_once_in_its_slot_and_no_slot_twice_in_a_round(slots: int) -> None:
    random = np.random.default_rng(slots)
    ranges = []
    for recording in range(12):
        bounds = np.cumsum(random.integers(1, 30, 2 * int(random.integers(0, 4)))).reshape(-1, 2)
        ranges.append((recording, [(int(a), int(b)) for a, b in bounds]))
    seen: dict[int, list[int]] = {}
    slot_of: dict[int, int] = {}
    last = -1
    rounds: list[set[int]] = [set()]
    for piece in streamed(ranges, slots):
        if piece.slot <= last:
            rounds.append(set())
        last = piece.slot
        assert piece.slot not in rounds[-1]
        rounds[-1].add(piece.slot)
        assert slot_of.setdefault(piece.recording, piece.slot) == piece.slot
        assert piece.reset == any(piece.first == first for first, _ in ranges[piece.recording][1])
        seen.setdefault(piece.recording, []).extend(range(piece.first, piece.last))
    assert seen == {r: [c for a, b in own for c in range(a, b)] for r, own in ranges if own}
    assert all(later <= earlier for earlier, later in pairwise(rounds))


def test_recordings_without_labels_give_nothing() -> None:
    assert labelled_ranges([]) == []
    assert random_windows([[], []]) == []
    assert list(streamed([(0, []), (1, [])], 3)) == []
