"""Detection's samples read, changed and made into batches: random windows and streamed ranges, half and half.

Experiments.md B. Streams carry state from batch to batch (a tokenizer here, the LSTM's with the model), so a batch
belongs to a worker: number n to worker n mod workers, which has slots and a share of the recordings of its own. What a
batch holds depends on the seed, its number and the number of workers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from spedge.model.spec import ModelSpec
from spedge.tokens.tokenizer import Tokenizer

from ..augment.paper import BoxedChange, draw_boxed
from ..data.windows import SEQUENCE, Piece, labelled_ranges, random_windows, streamed
from ..represent.collate_steps import Sequenced, StepBatch, collate_steps
from ..represent.steps import Chunked, Stepper

_RANDOM, _STREAM = 1, 2  # so that their draws differ


class Recording(Protocol):
    """Chunks of a recording on its grid of time, the numbers of those with boxes, ascending, and all its boxes."""

    labelled: Any

    @property
    def boxes(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, number: slice) -> Sequence[Chunked]: ...


@dataclass
class _Slot:
    """Where a stream is: what its recording's chunks are tokenized with and changed by; pieces not yet tokenized."""

    tokenizer: Tokenizer | None
    change: BoxedChange | None
    behind: list[Piece]


class LearnSteps(IterableDataset[StepBatch]):
    """Batches `first` to before `last` of a run: half of a batch's sequences are random windows, the rest streams.

    batch: sequences. mirror: whether a mirrored box has the same label. workers: processes that load. rank, ranks: of
    processes that train, each with its own recordings.
    """

    def __init__(
        self,
        part: Sequence[Recording],
        spec: ModelSpec,
        batch: int,
        seed: int,
        *,
        augment: bool = True,
        mirror: bool = True,
        first: int = 0,
        last: int = 0,
        workers: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._part, self._spec, self._seed = part, spec, seed
        self._augment, self._mirror = augment, mirror
        self._first, self._last = first, last
        self.workers, self._rank, self._ranks = max(1, workers), rank, ranks
        self.windows, self.slots = batch // 2, batch - batch // 2
        self._labelled = [recording.labelled.tolist() for recording in part]
        self._random = random_windows(self._labelled)
        self._stepper = Stepper(spec, training=True)

    @property
    def in_epoch(self) -> int:
        """Batches until the windows and the ranges have all been seen, of all processes together the same."""
        pieces = sum(
            -(-(last - first) // SEQUENCE) for chunks in self._labelled for first, last in labelled_ranges(chunks)
        )
        of_windows = -(-len(self._random) // max(1, self.windows * self._ranks)) if self.windows else 0
        return max(1, of_windows, -(-pieces // (self.slots * self._ranks)))

    @property
    def states(self) -> int:
        """Slots whose LSTM has a state: of each worker one for each sequence."""
        return self.workers * (self.windows + self.slots)

    def __iter__(self) -> Iterator[StepBatch]:
        info = get_worker_info()
        worker = (self._first + (0 if info is None else info.id)) % self.workers  # the loader begins with process 0
        slots: dict[int, _Slot] = {}
        pieces = self._pieces(worker)
        for number in range(worker, self._last, self.workers):
            streams = [next(pieces) for _ in range(self.slots)]
            if number < self._first:
                for piece in streams:
                    self._pass(slots, piece)
                continue
            base = worker * (self.windows + self.slots)
            sequences = [self._window(number, i, base + i) for i in range(self.windows)]
            sequences += [self._streamed(slots, piece, base + self.windows) for piece in streams]
            yield collate_steps(sequences)

    # ------------------------------------------------------------ random windows

    def _window(self, number: int, place: int, slot: int) -> Sequenced:
        """The place-th of a batch's."""
        order = (number * self._ranks + self._rank) * self.windows + place
        epoch, index = divmod(order, len(self._random))
        shuffled = np.random.default_rng((self._seed, _RANDOM, epoch)).permutation(len(self._random))
        piece = self._random[int(shuffled[index])]
        random = np.random.default_rng((self._seed, _RANDOM, epoch, int(shuffled[index])))
        chunks = self._part[piece.recording][piece.first : piece.last]
        steps = self._stepper(chunks, self._stepper.tokenizer(), None, random)
        if self._augment:
            sensor = self._spec.sensor
            change = draw_boxed(random, sensor.width, sensor.height, stream=False, mirror=self._mirror)
            changed = self._stepper(chunks, self._stepper.tokenizer(), change, random)
            steps = steps if self._stepper.undone(steps, changed) else changed
        return Sequenced(piece.recording, slot, True, steps)

    # ------------------------------------------------------------ streams

    def _pieces(self, worker: int) -> Iterator[Piece]:
        """Of a worker's own recordings, again and again, shuffled anew each time; a round is one of each slot.

        A piece's recording counts on with every time, so that its changes are drawn anew.
        """
        shares = np.array_split(np.arange(len(self._part)), self.workers * self._ranks)
        own = shares[self._rank * self.workers + worker]
        if not any(self._labelled[recording] for recording in own):
            own = np.arange(len(self._part))  # fewer recordings than workers: each has them all
        ranges = {int(r): labelled_ranges(self._labelled[r]) for r in own}

        def endless() -> Iterator[tuple[int, list[tuple[int, int]]]]:
            turn = 0
            while True:
                for recording in np.random.default_rng((self._seed, _STREAM, turn)).permutation(own).tolist():
                    yield turn * len(self._part) + recording, ranges[recording]
                turn += 1

        return streamed(endless(), self.slots)

    def _streamed(self, slots: dict[int, _Slot], piece: Piece, base: int) -> Sequenced:
        slot = self._slot(slots, piece)
        number = piece.recording % len(self._part)
        recording = self._part[number]
        for missed in slot.behind:
            self._stepper.skip(recording[missed.first : missed.last], slot.tokenizer, slot.change)
        slot.behind = []
        random = np.random.default_rng((self._seed, _STREAM, piece.recording, piece.first))
        steps = self._stepper(recording[piece.first : piece.last], slot.tokenizer, slot.change, random)
        return Sequenced(number, base + piece.slot, piece.reset, steps)

    def _pass(self, slots: dict[int, _Slot], piece: Piece) -> None:
        """A piece of a batch that was learned from before: its events are read only if its range goes on."""
        self._slot(slots, piece).behind.append(piece)

    def _slot(self, slots: dict[int, _Slot], piece: Piece) -> _Slot:
        """A range begins anew; its recording's change is the same for all of it."""
        if piece.reset:
            change = None
            if self._augment:
                random = np.random.default_rng((self._seed, _STREAM, piece.recording))
                change = draw_boxed(
                    random, self._spec.sensor.width, self._spec.sensor.height, stream=True, mirror=self._mirror
                )
            slots[piece.slot] = _Slot(self._stepper.tokenizer(), change, [])
        return slots[piece.slot]


class LookSteps(IterableDataset[StepBatch]):
    """All chunks of all recordings, streamed in `slots` slots of each worker, as they are."""

    def __init__(self, part: Sequence[Recording], spec: ModelSpec, slots: int, workers: int = 1) -> None:
        self._part, self._slots, self.workers = part, slots, max(1, workers)
        self._stepper = Stepper(spec)

    @property
    def states(self) -> int:
        """Slots whose LSTM has a state."""
        return self.workers * self._slots

    def __iter__(self) -> Iterator[StepBatch]:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        own = np.array_split(np.arange(len(self._part)), self.workers)[worker].tolist()
        whole = ((r, [(0, len(self._part[r]))]) for r in own if len(self._part[r]))
        tokenizers: dict[int, Tokenizer | None] = {}
        batch: list[Sequenced] = []
        for piece in streamed(whole, self._slots):
            if batch and piece.slot + worker * self._slots <= batch[-1].slot:
                yield collate_steps(batch)
                batch = []
            if piece.reset:
                tokenizers[piece.slot] = self._stepper.tokenizer()
            steps = self._stepper(self._part[piece.recording][piece.first : piece.last], tokenizers[piece.slot])
            batch.append(Sequenced(piece.recording, worker * self._slots + piece.slot, piece.reset, steps))
        if batch:
            yield collate_steps(batch)
