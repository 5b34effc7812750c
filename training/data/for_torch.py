"""Data sets as torch's: what `spedge.training.data.open` gives."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spedge.tokens.embedding import log_time_volume
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer

from .base import Description, Sample
from .chunks import ChunkedRecording

Transform = Callable[[Any], Any]


class LabelledEvents(Dataset[tuple[Any, int]]):
    """Samples of a part: `set[i]` is (events, label), as are those of any order that a loader asks for.

    events: EVENT_DTYPE, sorted, times in µs from the sample's start, or what `transform` makes of them. label: index
    into `about.labels`. groups: of each sample, which recording it is a slice of, where that is known.
    Reading raises InputError, naming the file, where it is damaged.
    """

    def __init__(self, about: Description, samples: Sequence[Sample], transform: Transform | None) -> None:
        self.about, self._samples, self._transform = about, samples, transform

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        sample: Sample = self._samples[range(len(self))[number]]
        return sample.events if self._transform is None else self._transform(sample.events), sample.label


class ChunksWithBoxes(Dataset[tuple[Any, Any]]):
    """Chunks of a part's recordings, one after another: `set[i]` is (events, boxes).

    events: EVENT_DTYPE, sorted, times in µs from the chunk's start, or what `transform` makes of them; may be empty.
    boxes: BOX_DTYPE, times alike. recordings: as `ChunkedRecording`, for those who want chunks in a row.
    Reading raises InputError, naming the file, where it is damaged.
    """

    def __init__(self, about: Description, recordings: Sequence[ChunkedRecording], transform: Transform | None) -> None:
        self.about, self.recordings, self._transform = about, recordings, transform
        self._ends = list(accumulate(len(recording) for recording in recordings))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        number = range(len(self))[number]
        which = bisect_right(self._ends, number)
        recording = self.recordings[which]
        chunk = recording[number - (self._ends[which] - len(recording))]
        events, boxes = chunk.events.copy(), chunk.boxes.copy()
        events["t"] -= np.uint64(chunk.start_us)
        boxes["t"] -= chunk.start_us
        return events if self._transform is None else self._transform(events), boxes


class TokenVolumes:
    """A transform: events to the tokens of a tokenizer and what each has seen.

    Gives (tokens, volumes). tokens: int64 [n, 3], patch column, patch row and time in µs. volumes: float32
    [n, 2, buckets, P, P], log(1 + events) by polarity, age and pixel (section "log-time volume" of arXiv 2510.26614).
    settings: of the tokenizer, the sensor's size among them; `preset("DG-T-SP").spec().token_input.tokenizer` has the
    paper's. Raises UsageError for settings that are out of range.
    """

    def __init__(self, settings: TokenizerSettings, buckets: int = 10) -> None:
        self.settings, self.buckets = settings.checked(), buckets
        self._tokenizer: Tokenizer | None = None

    def __call__(self, events: Any) -> tuple[Tensor, Tensor]:
        if self._tokenizer is None:  # in each process its own
            self._tokenizer = Tokenizer.by(self.settings, self.settings.pool_events)
        self._tokenizer.reset()
        tokens = self._tokenizer.push(events)
        places = np.stack([tokens.x.astype(np.int64), tokens.y.astype(np.int64), tokens.t.astype(np.int64)], axis=1)
        volumes = np.log1p(log_time_volume(tokens, self.settings.patch_size, self.buckets).astype(np.float32))
        return torch.from_numpy(places), torch.from_numpy(volumes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokenizer": None}
