"""A small detection set that anybody can make: N-MNIST's real digits move across a sensor of 304x240 pixels.

Written as GEN1 is: `{train,val,test}/NAME_td.dat` with `NAME_bbox.npy`, boxes on the last µs of a step of 50 ms. The
digits of one part are in no other.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge import recordings
from spedge.base.files import whole
from spedge.events.arrays import concatenate, copied, empty_events
from spedge.model.parts import Sensor

from . import nmnist
from .base import About, Description, Sample
from .boxes import BoxRules
from .driving import DrivingSet

VERSION = 2
SENSOR = Sensor(304, 240)
DESCRIPTION = Description("nmnist-det", "moving digits of N-MNIST", SENSOR, nmnist.LABELS)
ABOUT = About(
    "made of N-MNIST by 'python -m spedge.training.data.moving_digits'",
    "3 MB a recording of 6 s",
    "CC BY-SA 4.0, as N-MNIST",
    "{train,val,test}/*_td.dat with *_bbox.npy",
)
RULES = BoxRules(side=10, diagonal=20)
_SET = DrivingSet(DESCRIPTION, ABOUT, RULES, ".dat")
find, glance, chunks = _SET.find, _SET.glance, _SET.chunks
STEP_US = 50_000
LABEL_EVERY = 2  #: steps from one label to the next
FULL, SCENE = 24, 10  #: digits of a recording to learn from, which teach more in the same time, and of others
ROUNDS = 10  #: flights of each digit that is learned from
NOISE_HZ = 0.1  #: events of each pixel that show nothing
#: A box as Prophesee's files have it.
BBOX_DTYPE = np.dtype(
    [
        ("ts", "<u8"), ("x", "<f4"), ("y", "<f4"), ("w", "<f4"), ("h", "<f4"), ("class_id", "u1"),
        ("confidence", "<f4"), ("track_id", "<u4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Flight:
    """A digit that moves in a straight line: its upper left corner is at start + speed * (t - begin) while it is seen,
    from begin to end, µs. Pixels, and pixels a second. Its events are repeated as long as that takes."""

    sample: Sample
    begin: int
    end: int
    start: tuple[float, float]
    speed: tuple[float, float]

    def corner(self, t: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where it is, of times in µs."""
        since = (np.asarray(t, np.float64) - self.begin) * 1e-6
        return self.start[0] + self.speed[0] * since, self.start[1] + self.speed[1] * since

    def events(self) -> NDArray[Any]:
        """What the sensor sees of it."""
        own = self.sample.events
        period = int(own["t"][-1]) + 1
        rounds = -(-(self.end - self.begin) // period)
        out = concatenate([own] * rounds)
        t = np.repeat(np.arange(rounds, dtype=np.uint64) * np.uint64(period), len(own)) + out["t"]
        x, y = self.corner(t + np.uint64(self.begin))
        x, y = np.floor(x + out["x"]), np.floor(y + out["y"])
        seen = (x >= 0) & (x < SENSOR.width) & (y >= 0) & (y < SENSOR.height) & (t < self.end - self.begin)
        out = out.compress(seen)
        out["t"], out["x"], out["y"] = t[seen] + np.uint64(self.begin), x[seen], y[seen]
        return out

    def boxes(self, track: int) -> NDArray[Any]:
        """Its box at every label time at which its middle is on the sensor: around 99 of 100 of its events."""
        first = -(-self.begin // (LABEL_EVERY * STEP_US))
        times = np.arange(first, self.end // (LABEL_EVERY * STEP_US) + 1) * (LABEL_EVERY * STEP_US) - 1
        times = times[(times >= self.begin) & (times < self.end)]
        left, right = np.percentile(self.sample.events["x"], [0.5, 99.5])
        top, bottom = np.percentile(self.sample.events["y"], [0.5, 99.5])
        x, y = self.corner(times)
        boxes = np.zeros(len(times), BBOX_DTYPE)
        boxes["ts"], boxes["x"], boxes["y"] = times, x + left, y + top
        boxes["w"], boxes["h"] = right - left + 1, bottom - top + 1
        boxes["class_id"], boxes["confidence"], boxes["track_id"] = self.sample.label, 1, track
        middle_x, middle_y = boxes["x"] + boxes["w"] / 2, boxes["y"] + boxes["h"] / 2
        kept: NDArray[Any] = boxes[
            (middle_x >= 0) & (middle_x < SENSOR.width) & (middle_y >= 0) & (middle_y < SENSOR.height)
        ]
        return kept


def flights(digits: Sequence[Sample], seconds: float, random: np.random.Generator) -> list[Flight]:
    """Of each digit one, in any direction, through a place on the sensor at a time of the recording."""
    out = []
    for sample in digits:
        angle, speed = random.uniform(0, 2 * np.pi), random.uniform(30, 120)
        velocity = (speed * np.cos(angle), speed * np.sin(angle))
        middle = (random.uniform(0, SENSOR.width - 34), random.uniform(0, SENSOR.height - 34))
        at, half = random.uniform(0, seconds), random.uniform(0.5, 1.5)
        begin, end = max(0.0, at - half), min(seconds, at + half)
        start = (middle[0] + velocity[0] * (begin - at), middle[1] + velocity[1] * (begin - at))
        out.append(Flight(sample, int(begin * 1e6), int(end * 1e6), start, velocity))
    return out


def scene(digits: Sequence[Sample], seconds: float, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """One recording: events (EVENT_DTYPE), sorted, and boxes (BBOX_DTYPE), sorted by time."""
    flown = flights(digits, seconds, random)
    count = random.poisson(NOISE_HZ * SENSOR.width * SENSOR.height * seconds)
    noise = empty_events(count)
    noise["t"] = random.integers(0, int(seconds * 1e6), count)
    noise["x"], noise["y"] = random.integers(0, SENSOR.width, count), random.integers(0, SENSOR.height, count)
    noise["p"] = random.integers(0, 2, count)
    events = concatenate([noise, *(flight.events() for flight in flown)])
    events = copied(events[np.argsort(events["t"], kind="stable")])
    boxes = np.concatenate([flight.boxes(track) for track, flight in enumerate(flown)])
    return events, boxes[np.argsort(boxes["ts"], kind="stable")]


def write(
    folder: str | os.PathLike[str],
    parts: Mapping[str, Sequence[Sample]],
    seed: int,
    *,
    seconds: float = 6.0,
    per_recording: int | None = None,
    rounds: Mapping[str, int] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> int:
    """Write recordings of the digits of each part (train, val, test); returns how many.

    per_recording: digits of a recording; without it FULL of train, SCENE of others. rounds: how often each digit of a
    part is used, each time anew; once without it. The same digits and seed give the same files.
    """
    chosen: list[tuple[str, int, list[Sample]]] = []
    for part, digits in parts.items():
        for turn in range((rounds or {}).get(part, 1)):
            order = np.random.default_rng((seed, len(chosen), turn)).permutation(len(digits))
            many = per_recording or (FULL if part == "train" else SCENE)
            for start in range(0, len(order), many):
                chosen.append((part, len(chosen), [digits[i] for i in order[start : start + many]]))
    for part, number, digits in chosen:
        events, boxes = scene(digits, seconds, np.random.default_rng((seed, number, 1)))
        path = Path(folder) / part / f"digits_{number:04d}_td.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        recordings.write(path, events, SENSOR.width, SENSOR.height)
        with whole(path.with_name(path.name.replace("_td.dat", "_bbox.npy"))) as partial, partial.open("wb") as file:
            np.save(file, boxes)
        if on_progress is not None:
            on_progress((number + 1) / len(chosen))
    return len(chosen)


def main() -> None:
    """Make the set of a file or folder of N-MNIST digits; its own parts, or a tenth each to validate and to test."""
    parser = argparse.ArgumentParser(prog="python -m spedge.training.data.moving_digits", description=main.__doc__)
    parser.add_argument("digits", help="N-MNIST, a folder or a zip file")
    parser.add_argument("out", help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the paths (0)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each digit of train is used ({ROUNDS})")
    given = parser.parse_args()
    digits = nmnist.load(given.digits)
    count = write(
        given.out, parts_of(digits.train, digits.test, given.seed), given.seed, rounds={"train": given.rounds}
    )
    print(f"{count} recordings in {given.out}")


def parts_of(train: Sequence[Sample], test: Sequence[Sample], seed: int) -> dict[str, list[Sample]]:
    """Digits of each part: a tenth of `train` validates, and as many more test where there is no `test`."""
    mixed = [train[i] for i in np.random.default_rng((seed, 2)).permutation(len(train))]
    tenth = -(-len(mixed) // 10)
    held = list(test) or mixed[tenth : 2 * tenth]
    return {"train": mixed[tenth if test else 2 * tenth :], "val": mixed[:tenth], "test": held}


if __name__ == "__main__":
    main()
