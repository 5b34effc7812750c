"""What a look at the held-out part saw, for who looks on: `looked.json` beside the checkpoint of the same step.

Nothing goes on from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from spedge.base.errors import InputError
from spedge.base.files import whole

NAME = "looked.json"


@dataclass(frozen=True)
class SeenRecording:
    """A recording of the held-out part: numbers of its slices there, its class, and the one that it was taken for with
    that share of their probability."""

    name: str
    numbers: tuple[int, ...]
    label: int
    said: int
    share: float


@dataclass(frozen=True)
class Seen:
    """What a look saw, to be shown. recordings: by a classifier. precision: of a detector, mAP and mAP@.50 by class."""

    recordings: tuple[SeenRecording, ...] = ()
    precision: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def write_seen(folder: Path, step: int, seen: Seen) -> None:
    """Say what a look at that step saw. Raises UsageError where that cannot be written."""
    with whole(folder / NAME) as part:
        part.write_text(json.dumps({"step": step, **asdict(seen)}) + "\n")


def read_seen(folder: Path) -> tuple[int, Seen]:
    """The last look of a run, and its step; of none step 0. Raises InputError where the file is damaged."""
    path = folder / NAME
    try:
        document = json.loads(path.read_text())
        recordings = tuple(SeenRecording(**{**one, "numbers": tuple(one["numbers"])}) for one in document["recordings"])
        precision = {label: (float(a), float(b)) for label, (a, b) in document["precision"].items()}
        return int(document["step"]), Seen(recordings, precision)
    except FileNotFoundError:
        return 0, Seen()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, and the next look writes it anew.") from None
