"""What a data set is here: a description, and labelled recordings in two parts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.parts import Sensor

_SHORT = 4  # bytes kept of a digest


@dataclass(frozen=True)
class Sample:
    """One labelled recording.

    events: structured (t u8 in us, x u2, y u2, p u1), sorted by t. label: index into the data set's labels.
    name: where it came from, for messages. group: the recording of which this is a slice, and with whose other slices
    it votes; a sample of its own without one.
    """

    events: NDArray[Any]
    label: int
    name: str
    group: str = ""


@dataclass(frozen=True)
class Description:
    """What a data set is, whether or not it is there. labels: of what its recordings or boxes show.

    mirrored: classes that are each other's mirror image; None where a mirrored sample would be wrong.
    """

    name: str
    title: str
    sensor: Sensor
    labels: tuple[str, ...]
    mirrored: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class About:
    """What one who looks for the data has to know. layout: folders and files, a line each."""

    link: str
    size: str
    licence: str
    layout: str


@dataclass(frozen=True)
class Dataset:
    """Samples with their parts: those a data set has none of are empty. A part's samples are read when asked for.

    validation: to choose by while training; its samples are none of `train`. key: the fingerprint, where it is known.
    """

    name: str
    width: int
    height: int
    labels: tuple[str, ...]
    train: Sequence[Sample]
    test: Sequence[Sample]
    validation: Sequence[Sample] = ()
    key: str = ""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that are the same for the same recordings of `train`, wherever they lie."""
        if self.key:
            return self.key
        digests = sorted(_digest(sample) for sample in self.train)
        return hashlib.sha256(b"".join(digests)).hexdigest()[:16]

    def split(self, holdout: float, seed: int) -> tuple[Sequence[Sample], Sequence[Sample]]:
        """Samples to learn from and samples held out.

        The data's own validation part, or test part, where there is one; else a share `holdout` of every class, chosen
        by content and `seed`, so that the same recordings are held out wherever and in whatever order they lie.
        Raises UsageError when a part would be empty.
        """
        learn: Sequence[Sample] = self.train
        held: Sequence[Sample] = self.validation or self.test
        if not held:
            learn, held = _stratified(self.train, holdout, seed)
        if not learn or not held:
            raise UsageError(
                f"{len(self.train)} samples are too few to hold out a share of {holdout:g}: give more samples."
            )
        return learn, held


def sizes_of(part: Sequence[Sample]) -> NDArray[np.int64]:
    """Events of each sample of a part; one that keeps them says so without reading the events."""
    sizes = getattr(part, "sizes", None)
    return np.asarray([len(sample.events) for sample in part] if sizes is None else sizes, np.int64)


def pack_digests(samples: Sequence[Sample]) -> str:
    """Four bytes of each recording's digest, in base64: what a bundle keeps to know the samples it has learned."""
    return base64.b64encode(b"".join(sorted(_digest(sample)[:_SHORT] for sample in samples))).decode()


def unseen(samples: Sequence[Sample], digests: str) -> list[Sample]:
    """The samples that are not among those packed."""
    packed = base64.b64decode(digests)
    known = {packed[i : i + _SHORT] for i in range(0, len(packed), _SHORT)}
    return [sample for sample in samples if _digest(sample)[:_SHORT] not in known]


def _digest(sample: Sample, salt: bytes = b"") -> bytes:
    return hashlib.sha256(salt + sample.label.to_bytes(2, "little") + sample.events.tobytes()).digest()


def _stratified(samples: Sequence[Sample], holdout: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    salt = b"%d:" % seed
    learn: list[Sample] = []
    held: list[Sample] = []
    for label in sorted({sample.label for sample in samples}):
        members = sorted((s for s in samples if s.label == label), key=lambda s: _digest(s, salt))
        count = round(holdout * len(members))
        held += members[:count]
        learn += members[count:]
    return learn, held
